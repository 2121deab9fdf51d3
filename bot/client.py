"""The Discord client: what it listens to, what it may never do, and the one funnel for errors."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import discord
from discord import app_commands

from bot import text
from bot.adapters import AdapterCommands
from bot.admins import Admins, NotAdmin
from bot.announcer import Announcer, CancelButton
from bot.answered import Answered
from bot.conversation import ChatCommands
from bot.draft import Draft, StopButton
from bot.faults import DISCORD_FAULTS
from bot.help import help_command
from bot.persona_list import RestoreButton
from bot.personas import PersonaCommands
from bot.places import said_at
from bot.privacy import OPTED_OUT, PrivacyCommands, notice
from bot.reply_menus import reply_menus
from bot.reply_view import ReplyButton, reply_view
from bot.retraining import RetrainCommands
from bot.status import status_command
from bot.telling import tell, typing
from persona_chat.chat import Chat
from persona_chat.engine.reply import Wait, plainly
from persona_chat.errors import AgeRestricted, PersonaChatError, Stopped, trace
from persona_chat.heard import Heard
from persona_chat.manners import set_aside
from persona_chat.privacy import Privacy
from persona_chat.retraining.retraining import Retraining
from persona_chat.rework import Rework

log = logging.getLogger(__name__)

PERMISSIONS = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True, read_message_history=True
)
"""All that the bot needs; the README names the integer and a test compares them."""

WENT_WRONG = "Something went wrong on my side. It has been noted; please try again."
ONLY_ADDRESSED = "I can only read messages here that mention me or reply to me."
PAUSED = "I am silent here for now. `/chat resume` ends that."
SAY_SOMETHING = "I am here. Say something and I will answer."


def intents(*, message_content: bool) -> discord.Intents:
    """Guilds and messages; nothing privileged but, if wanted, the content of messages."""
    chosen = discord.Intents.none()
    chosen.guilds = True
    chosen.guild_messages = True
    chosen.dm_messages = True
    chosen.message_content = message_content
    return chosen


def invite_url(application_id: int) -> str:
    """The link with which somebody adds the bot to a server."""
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands"))


class PersonaBot(discord.Client):
    """Listens, asks the core, sends. It pings nobody, whatever a text holds."""

    def __init__(
        self,
        chat: Chat,
        rework: Rework,
        retraining: Retraining,
        privacy: Privacy,
        *,
        admin_ids: Iterable[int] = (),
        message_content: bool = True,
        stream: bool = True,
        buttons: bool = True,
        wait: Wait = plainly,
    ) -> None:
        super().__init__(
            intents=intents(message_content=message_content),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
        )
        self.chat = chat
        self.retraining = retraining
        self.privacy = privacy
        self.admins = Admins(admin_ids)
        self.announcer = Announcer(self, retraining)
        self.answered = Answered(self, rework, buttons=buttons)
        self._stream = stream
        self._buttons = buttons
        self._wait = wait
        self._answering = 0
        self.drafts = 0  # how often a draft was posted or edited
        self._settled = asyncio.Event()
        self._settled.set()
        self.tree = app_commands.CommandTree(self)
        notes = (None if message_content else ONLY_ADDRESSED, notice(privacy.days))
        self.tree.add_command(PersonaCommands(chat, *notes))
        self.tree.add_command(PrivacyCommands(privacy))
        self.tree.add_command(ChatCommands(chat, rework))
        for menu in reply_menus(self.answered):
            self.tree.add_command(menu)
        self.tree.add_command(
            status_command(chat, retraining.registry, needed=PERMISSIONS, message_content=message_content)
        )
        self.tree.add_command(help_command(self.tree, self.admins))
        self.tree.add_command(RetrainCommands(retraining, self.announcer, self.admins))
        self.tree.add_command(AdapterCommands(retraining.registry, retraining.swap, self.admins))
        self.tree.error(self._command_failed)

    async def setup_hook(self) -> None:
        """Tell Discord our commands, once a start, and learn who runs this bot."""
        if self.application is not None:
            self.admins.add_owners(self.application)
        self.add_dynamic_items(CancelButton, ReplyButton, RestoreButton, StopButton)
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        """Answer a person's message that is for a persona."""
        me = self.user
        if me is None or not text.from_person(message):
            return
        if self.privacy.opted_out(message.author.id):
            if message.guild is None:  # elsewhere they may be talking to somebody else
                await self._say(message, OPTED_OUT)
            return
        addressed = text.addressed(message, me)
        place = said_at(message)
        if set_aside(message.content) or not self.chat.listening.hears(place, addressed=addressed):
            if addressed and self.chat.listening.manners(place).paused:
                await self._say(message, PAUSED)
            return
        heard = text.heard(message, me)
        if heard.text:
            with self._under_way():
                await self._answer(message, heard, addressed=addressed)
        elif addressed and not message.attachments:
            await self._say(message, SAY_SOMETHING)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Whoever takes a question back wants no answer any more, and what is deleted is not remembered."""
        await self._deleted((payload.message_id,))

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """The same for many."""
        await self._deleted(tuple(payload.message_ids))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """What somebody says now is what is remembered, and if it is the last message, what is answered."""
        said = payload.message
        if self.user is not None and text.from_person(said) and not self.privacy.opted_out(said.author.id):
            with self._under_way():
                await self.answered.question_edited(payload.message, self.user)

    async def _deleted(self, message_ids: tuple[int, ...]) -> None:
        for message_id in message_ids:
            self.chat.stop(message_id, keep=False)
        await self.answered.messages_deleted(message_ids)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """Keep count of the answers that `settled` waits for."""
        self._answering += 1
        self._settled.clear()
        try:
            yield
        finally:
            self._answering -= 1
            if not self._answering:
                self._settled.set()

    async def settled(self, grace_s: float) -> None:
        """Wait until every message has its answer or its line, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), grace_s)

    async def _answer(self, message: discord.Message, heard: Heard, *, addressed: bool) -> None:
        draft = Draft(
            message,
            lambda words, view: self._send(message, words, f"{message.id}.0", view),
            self._wait,
            self._count_draft,
        )
        try:
            await self.chat.answer(
                heard,
                addressed=addressed,
                thinking=self._thinking(message, draft),
                follow=draft.follow,
                deliver=lambda reply: self._deliver(message, reply, draft),
            )
        except Stopped:
            await draft.vanish()
        except PersonaChatError as error:
            log.info("message %s gets no reply: %s", message.id, type(error).__name__)
            if isinstance(error, AgeRestricted) and not addressed:
                return  # the channel was not so when the persona was set; nobody asked for a line at every message
            await self._say(message, str(error), draft)
        except DISCORD_FAULTS as error:
            # The reply is saved; the text of the error may hold what Discord was sent.
            log.warning("the reply to message %s could not be sent: %s", message.id, type(error).__name__)
        except Exception as error:
            log.error("message %s could not be answered: %s", message.id, trace(error))
            await self._say(message, WENT_WRONG, draft)

    def _count_draft(self) -> None:
        self.drafts += 1

    @asynccontextmanager
    async def _thinking(self, message: discord.Message, draft: Draft) -> AsyncIterator[None]:
        async with typing(message.channel):
            if self._stream:
                async with draft.showing():
                    yield
            else:
                yield

    async def _deliver(self, message: discord.Message, reply: str, draft: Draft) -> AsyncIterator[int]:
        """Send the reply as a Discord reply, further parts after it. A nonce keeps a retried send single."""
        for number, part in enumerate(text.split(reply)):
            view = reply_view() if number == 0 and self._buttons else None
            sent = await draft.become(part, view) if number == 0 else None
            if sent is None:
                # A draft that could not be finished has used its nonce: Discord would give back that message.
                spent = number == 0 and draft.message is not None
                nonce = f"{message.id}.{number}{'x' if spent else ''}"
                sent = await self._send(message, part, nonce, view, reply=number == 0)
            yield sent.id

    async def _say(self, message: discord.Message, line: str, draft: Draft | None = None) -> None:
        """Tell the person something that is not the persona's, if that can be sent at all."""
        if draft is not None and await draft.become(line) is not None:
            return
        try:
            await self._send(message, line, f"{message.id}.e")
        except DISCORD_FAULTS as error:
            log.warning("message %s could not be told so: %s", message.id, type(error).__name__)

    async def _send(
        self,
        message: discord.Message,
        part: str,
        nonce: str,
        view: discord.ui.View | None = None,
        *,
        reply: bool = True,
    ) -> discord.Message:
        return await message.channel.send(
            part,
            reference=message.to_reference(fail_if_not_exists=False) if reply else None,  # type: ignore[arg-type]
            mention_author=False,
            allowed_mentions=discord.AllowedMentions.none(),
            nonce=nonce,
            view=view,  # type: ignore[arg-type]  # None is what no view is
        )

    async def _command_failed(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        await self.failed(interaction, error.original if isinstance(error, app_commands.CommandInvokeError) else error)

    async def failed(self, interaction: discord.Interaction, error: Exception) -> None:
        """The funnel for commands and buttons: a line for the person, and the rest to the log."""
        if isinstance(error, PersonaChatError | NotAdmin):
            line = str(error)
        else:
            log.error("interaction %s failed: %s", interaction.id, trace(error))
            line = WENT_WRONG
        await tell(interaction, line)

    async def on_error(self, event_method: str, /, *_args: object, **_kwargs: object) -> None:
        """Log what no other place caught; arguments may hold people's words and are left out."""
        error = sys.exception()
        log.error("the handler of %s failed: %s", event_method, trace(error) if error else "")
