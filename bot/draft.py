"""The message in which a reply comes along while somebody waits: a place in the line, then words, each time more."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import discord

from bot import text
from bot.faces import Faces
from bot.faults import DISCORD_FAULTS
from bot.speaking import Speaking
from bot.text import GOES_ON
from persona_chat.engine.reply import Follow, Wait
from persona_chat.language import N_, _
from persona_chat.persona import Persona

if TYPE_CHECKING:
    from bot.client import PersonaBot

log = logging.getLogger(__name__)

AFTER_S = 1.5
"""A reply that is there sooner comes whole: a message that changes is read twice."""

EVERY_S = 1.1
"""Discord allows about one edit a second."""

FAR_BACK = 3
"""Whoever stands further back in the line is told at once; the others only when it takes long."""


class Draft:
    """A message that appears when a persona's reply takes long, and is edited until it is there.

    What goes wrong with it costs no reply: then the reply comes as a message of its own.
    """

    def __init__(self, question: discord.Message, faces: Faces, wait: Wait, shown: Callable[[], None]) -> None:
        """Begin with nothing to show. `shown` is called whenever something was sent."""
        self._faces = faces
        self._count = shown
        self._wait = wait
        self._question = question
        self._place, self._words = 0, ""
        self._shown = ""
        self._next_at = time.perf_counter() + AFTER_S
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = False
        self._persona = Persona("")
        self.sent: int | None = None  # the message's id

    @property
    def follow(self) -> Follow:
        """What an engine tells of the reply."""
        return Follow(self._placed, self._grown)

    @asynccontextmanager
    async def showing(self, persona: Persona) -> AsyncIterator[Self]:
        """Show how the persona's reply comes along, inside the block."""
        self._persona = persona
        task = asyncio.create_task(self._show_along())
        try:
            yield self
        finally:
            self._over = True
            self._wake()
            await self._wait(task)

    async def become(self, final: str, view: discord.ui.View | None = None) -> int | None:
        """Let the message be this text from now on; None when there is none, so that it must be sent."""
        if self.sent is None:
            return None
        try:
            if await self._edit(final, view):
                return self.sent
            log.info("the draft %s is gone", self.sent)
        except DISCORD_FAULTS as error:
            log.info("a draft could not be finished: %s", type(error).__name__)
        await self.vanish()
        return None

    async def vanish(self) -> None:
        """Take the message away, if there is one."""
        if self.sent is not None:
            await self._faces.delete(self._question.channel, self.sent)

    def _placed(self, place: int) -> None:
        self._place = place
        self._wake()

    def _grown(self, words: str) -> None:
        self._words = words
        self._wake()

    def _wake(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def _wanted(self) -> str:
        """What should be seen now; nothing new when it is what is seen already."""
        if self._words:
            return text.parts(self._words, self._persona.name)[0] + GOES_ON
        return (
            _("*{place} in line{goes_on}*").format(place=ordinal(self._place), goes_on=GOES_ON)
            if self._place > 1
            else ""
        )

    async def _show_along(self) -> None:
        # Without timers: news come with every token, and an offline Discord takes a bot that sleeps for a busy one. It
        # has a clock of its own too, which `monotonic` shows there.
        while True:
            await self._wait(self._news)
            if self._over:
                return
            self._news = asyncio.get_running_loop().create_future()
            if not self._due():
                continue
            try:
                if not await self._show(self._wanted()):
                    return
            except DISCORD_FAULTS as error:
                log.info("a reply is not shown while it is written: %s", type(error).__name__)
                return
            self._next_at = time.perf_counter() + EVERY_S

    def _due(self) -> bool:
        """Whether something new is to be shown now. Far back in the line that is known from the start."""
        if self._wanted() in ("", self._shown):
            return False
        return time.perf_counter() >= self._next_at or (self.sent is None and self._place > FAR_BACK)

    async def _show(self, wanted: str) -> bool:
        """Show it; whether there is still a message to show it in."""
        view = discord.ui.View(timeout=None)
        view.add_item(StopButton(self._question.id, self._question.author.id))
        self._shown = wanted
        if self.sent is not None:
            return await self._edit(wanted, view)
        question, nonce = self._question, f"{self._question.id}.0"
        self.sent = await self._faces.send(
            question.channel, wanted, self._persona, asked=question, nonce=nonce, view=view
        )
        self._count()
        return True

    async def _edit(self, wanted: str, view: discord.ui.View | None) -> bool:
        if self.sent is None:
            return False
        there = await self._faces.edit(self._question.channel, self.sent, wanted, self._persona, view=view)
        self._count()
        return there


class StopButton(
    Speaking,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"reply:stop:(?P<question>\d{1,20}):(?P<asker>\d{1,20})",
):
    """Ends the reply to a message where it is; for who asked, and for moderators."""

    def __init__(self, question: int, asker: int) -> None:
        named = f"reply:stop:{question}:{asker}"
        super().__init__(discord.ui.Button(label=_("Stop"), style=discord.ButtonStyle.secondary, custom_id=named))
        self._question = question
        self._asker = asker

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """Make the button that was pressed."""
        return cls(int(match["question"]), int(match["asker"]))

    async def callback(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Stop, if whoever pressed it may."""
        bot = interaction.client
        try:
            if interaction.user.id != self._asker and not interaction.permissions.manage_messages:
                await interaction.response.send_message(_(NOT_YOURS), ephemeral=True)
                return
            bot.chat.stop(self._question, keep=True)
            await interaction.response.defer()
        except Exception as error:
            await bot.failed(interaction, error)


NOT_YOURS = N_("Only the person who asked, or a moderator, can stop this reply.")


def ordinal(number: int) -> str:
    """Write 1st, 2nd, 3rd, 4th …"""
    endings = {1: _("{number}st"), 2: _("{number}nd"), 3: _("{number}rd")}
    ordinary = _("{number}th")
    written = ordinary if 10 < number % 100 < 14 else endings.get(number % 10, ordinary)
    return written.format(number=number)
