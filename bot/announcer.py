"""The channel message that shows how a retraining goes: posted, edited while it goes on, and once at its end.

Whatever happens to a message, the retraining goes on.
"""

import asyncio
import logging
import re
from typing import TYPE_CHECKING, NoReturn, Self

import aiohttp
import discord

from bot.speaking import Speaking, command
from persona_chat.errors import trace
from persona_chat.language import _, speaking
from persona_chat.retraining.report import card, outcome, progress, standing
from persona_chat.retraining.retraining import Retraining
from persona_chat.store.jobs import Job

if TYPE_CHECKING:
    from bot.client import PersonaBot

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""How often a message is edited; Discord allows about one a second."""

LONGEST = 1900

# Neither a dropped connection nor 503 is retried by discord.py: the next look does it.
_FOR_NOW = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordServerError)


class Announcer:
    """Keeps the messages of one bot's jobs up to date. `edits` counts what was sent."""

    def __init__(self, client: "PersonaBot", retraining: Retraining) -> None:
        self._client = client
        self._retraining = retraining
        self._sent: dict[int, str] = {}
        self._gone: set[int] = set()
        self.edits = 0

    async def post(self, channel_id: int, job: Job) -> bool:
        """Post the message of a job that has just begun; False when that channel takes none."""
        with speaking(self._locale(channel_id)):
            text, view = message_of(job), _buttons(job)
        try:
            message = await self._client.get_partial_messageable(channel_id).send(
                text, view=view, allowed_mentions=discord.AllowedMentions.none()
            )
        except (*_FOR_NOW, discord.DiscordException) as error:
            log.warning("retraining %s could not be announced: %s", job.number, type(error).__name__)
            return False
        self._sent[job.number] = text
        await self._retraining.note_message(job.number, message.id)
        return True

    async def run(self) -> NoReturn:
        """Look and edit every few seconds, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # Nobody awaits this task, so it goes on: the database may be there again next time.
                log.error("the messages of retrainings could not be edited: %s", trace(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Edit every message that does not show where its job stands."""
        for job in await self._retraining.to_show():
            if job.number not in self._gone or not job.state.under_way:
                await self._show(job)

    async def _show(self, job: Job) -> None:
        with speaking(self._locale(job.order.channel_id)):
            text, view = message_of(job), _buttons(job)
        if job.state.under_way and self._sent.get(job.number) == text:
            return
        if job.number not in self._gone:
            try:
                await self._edit(job, text, view)
            except _FOR_NOW as error:
                log.info("the message of retraining %s is edited later: %s", job.number, type(error).__name__)
                return
            except discord.DiscordException as error:
                log.warning("the message of retraining %s is gone: %s", job.number, type(error).__name__)
                self._gone.add(job.number)
        if not job.state.under_way:
            await self._retraining.note_shown(job)

    async def _edit(self, job: Job, text: str, view: discord.ui.View) -> None:
        if job.order.channel_id is None or job.message_id is None:
            return
        channel = self._client.get_partial_messageable(job.order.channel_id)
        await channel.get_partial_message(job.message_id).edit(
            content=text,
            view=view if job.state.under_way else None,
            allowed_mentions=discord.AllowedMentions.none(),
        )
        self._sent[job.number] = text
        self.edits += 1

    def _locale(self, channel_id: int | None) -> str:
        """Everybody in the channel reads it, long after the command: the language is the server's."""
        channel = self._client.get_channel(channel_id or 0)
        guild = channel.guild if isinstance(channel, discord.abc.GuildChannel | discord.Thread) else None
        return self._client.languages.of(guild)


class CancelButton(
    Speaking,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"retrain:cancel:(?P<number>\d{1,18})",
):
    """Cancels the job that its own id names, so that it works after a restart of the bot too."""

    def __init__(self, number: int) -> None:
        super().__init__(
            discord.ui.Button(label=_("Cancel"), style=discord.ButtonStyle.danger, custom_id=f"retrain:cancel:{number}")
        )
        self._number = number

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """Make the button that was pressed."""
        return cls(int(match["number"]))

    async def callback(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Cancel, if whoever pressed it may."""
        bot = interaction.client
        try:
            bot.admins.check(interaction.user)
            await interaction.response.defer(ephemeral=True, thinking=True)
            await bot.retraining.cancel(self._number)
            await interaction.edit_original_response(content=_("It is being cancelled."))
        except Exception as error:
            await bot.failed(interaction, error)


def message_of(job: Job) -> str:
    """Write a job's message: where it stands, how far it is, at the end the card and what happened."""
    lines = [_("**Retraining {number}** · {standing}").format(number=job.number, standing=standing(job))]
    lines += [progress(job)] if job.state.under_way else [outcome(job, command("adapter use")), *card(job)]
    text = "\n".join(lines)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _buttons(job: Job) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(CancelButton(job.number))
    return view
