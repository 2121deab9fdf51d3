"""The Discord client: what it listens to, what it may never do, and the one funnel for errors."""

import asyncio
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot import text
from bot.admins import Admins, NotAdmin
from bot.admission import Tree, admits
from bot.announcer import Announcer, CancelButton
from bot.answered import Answered
from bot.answering import WENT_WRONG, Answering
from bot.commands import commands
from bot.discord_clock import DiscordClock
from bot.draft import StopButton
from bot.drain import Drain
from bot.faces import Faces
from bot.identifies import Identifies
from bot.listener import Listener
from bot.log_channel import LogChannel
from bot.meanwhile import Meanwhile
from bot.outgoing import Outgoing
from bot.pace import Pace
from bot.persona_list import RestoreButton
from bot.places import parent_of
from bot.reactions import Reactions
from bot.reply_view import ReplyButton
from bot.reports import DoneButton, Reporting
from bot.speaking import Languages, Names
from bot.telling import line_of, tell
from persona_chat.chat import Chat
from persona_chat.engine.reply import Wait, plainly
from persona_chat.errors import Filtered, PersonaChatError, trace
from persona_chat.feedback import Feedback
from persona_chat.language import N_, _, load, speak
from persona_chat.manners import set_aside
from persona_chat.place import Place
from persona_chat.privacy import Privacy
from persona_chat.retraining.retraining import Retraining
from persona_chat.rework import Rework

log = logging.getLogger(__name__)

NEEDED = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True, read_message_history=True
)
"""All that the bot needs."""

PERMISSIONS = NEEDED | discord.Permissions(manage_webhooks=True)
"""And that personas have names and pictures of their own; the README names the integer and a test compares them."""

LONGEST_WAIT_S = 40.0
"""discord.py gives up on a connection that takes a minute to begin its session."""


def intents(*, message_content: bool) -> discord.Intents:
    """Guilds, messages and reactions; nothing privileged but, if wanted, the content of messages."""
    chosen = discord.Intents.none()
    chosen.guilds = True
    chosen.guild_messages = True
    chosen.dm_messages = True
    chosen.guild_reactions = True
    chosen.dm_reactions = True
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
        feedback: Feedback,
        *,
        admin_ids: Iterable[int] = (),
        message_content: bool = True,
        stream: bool = True,
        buttons: bool = True,
        webhooks: bool = False,
        pace: Pace | None = None,
        identifies: Identifies | None = None,
        wait: Wait = plainly,
        replay: str = "persona-chat replay {message}",
        **options: Any,
    ) -> None:
        """`replay` gives a message's reply once more in a shell.

        `options` are what discord.py takes besides: its shards, a trace of its requests.
        """
        trace = options.setdefault("http_trace", aiohttp.TraceConfig())
        self.outgoing, self.clock = Outgoing(), DiscordClock()
        self.outgoing.watch(trace)
        self.clock.watch(trace)
        super().__init__(
            intents=intents(message_content=message_content),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            **options,
        )
        self.chat = chat
        self.retraining = retraining
        self.privacy = privacy
        self.feedback = feedback
        self.admins = Admins(admin_ids)
        self.announcer = Announcer(self, retraining)
        self.faces = Faces(self, webhooks=webhooks, several=self._several)
        self.log_channel = LogChannel(self, chat.moderation)
        self.reporting = Reporting(chat.moderation.reports, self.log_channel, privacy)
        opted_out = privacy.opted_out
        self.answered = Answered(
            self, rework, self.faces, buttons=buttons, opted_out=opted_out, admins=self.admins, replay=replay
        )
        self._reactions = Reactions(self, chat.cast, rework, self.faces, self.answered, feedback)
        self._answering = Answering(chat, self.faces, self.log_channel, stream=stream, buttons=buttons, wait=wait)
        self.meanwhile = Meanwhile(self, chat.inbox, self._answering)
        self.pace = pace or Pace(0, 0)
        self._identifies = identifies
        self._listener = Listener(self, self._answering)
        self.errors = Counter[str]()
        """How often something unforeseen went wrong, by its class."""
        self.drain = Drain()
        self.languages = Languages()
        self.tree = Tree(self)
        wanted = PERMISSIONS if webhooks else NEEDED
        for command in commands(self, rework, wanted=wanted, message_content=message_content):
            self.tree.add_command(command)
        self.tree.error(self.command_failed)

    @property
    def connected(self) -> bool:
        """Whether Discord's gateway is connected, and said who we are."""
        # Before the first connection it is None, whatever its type says.
        return self.is_ready() and self.ws is not None and self.ws.open

    def holds(self, _channel: Any) -> bool:
        """Whether a channel is this process's to answer in."""
        return True

    @property
    def outcomes(self) -> Counter[str]:
        """How many messages were answered, and what became of the others."""
        return self._answering.outcomes

    @property
    def drafts(self) -> int:
        """How often a reply was shown while it was written."""
        return self._answering.drafts

    async def setup_hook(self) -> None:
        """Tell Discord our commands, once a start, and learn who runs this bot."""
        if self.application is not None:
            self.admins.add_owners(self.application)
        self.add_dynamic_items(CancelButton, DoneButton, ReplyButton, RestoreButton, StopButton)
        await asyncio.to_thread(load)
        await self.tree.set_translator(Names())
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Begin no session that Discord would find one too many."""
        await super().before_identify_hook(shard_id, initial=initial)
        if self._identifies is None:
            return
        if not await self._identifies.wait(LONGEST_WAIT_S):
            await _let_go_of_socket(shard_id)
            raise discord.gateway.ReconnectWebSocket(shard_id, resume=False)  # comes here again, on a new socket
        await self._identifies.count()

    async def on_message(self, message: discord.Message) -> None:
        """Answer a person's message that is for a persona."""
        self.faces.heard(message)
        me = self.user
        if me is None or not text.from_person(message):
            return
        with self.chat.inbox.hearing(message.channel.id, message.id) as hearing:
            if hearing.first:
                await self._listener.hear(message, me, hearing)

    def dispatch(self, event: str, /, *arguments: Any, **more: Any) -> None:
        """Let nothing begin after the end: discord.py says READY two seconds late, also when all is closed."""
        if not self.is_closed():
            super().dispatch(event, *arguments, **more)

    async def on_connect(self) -> None:
        """In a new session it is not known what was said meanwhile."""
        self.chat.inbox.hold()

    async def on_ready(self) -> None:
        """Find out, now that Discord said where the bot is."""
        await self.meanwhile.look()

    async def on_guild_channel_update(self, _before: object, after: discord.abc.GuildChannel) -> None:
        """Where we were refused we may be allowed to speak now; the same in all that follow."""
        self._permissions_changed(after.guild)

    async def on_guild_role_update(self, _before: object, after: discord.Role) -> None:
        """See there."""
        self._permissions_changed(after.guild)

    async def on_member_update(self, _before: object, after: discord.Member) -> None:
        """See there; Discord tells it of us without an intent."""
        if after == after.guild.me:
            self._permissions_changed(after.guild)

    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        """See there."""
        self.outgoing.try_again((payload.thread_id,))

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """See there."""
        self._permissions_changed(guild)

    def _permissions_changed(self, guild: discord.Guild) -> None:
        self.outgoing.try_again(channel.id for channel in (*guild.channels, *guild.threads))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Whoever takes a question back wants no answer any more, and what is deleted is not remembered."""
        await self._deleted((payload.message_id,))

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """The same for many."""
        await self._deleted(tuple(payload.message_ids))

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """What was said in a channel goes with it, and with its threads."""
        threads = getattr(channel, "threads", ())
        await self.privacy.forget_places([channel.id, *(thread.id for thread in threads)])

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """The same for a thread."""
        await self.privacy.forget_places([payload.thread_id])

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """A server that we left is forgotten. One that is only out of reach does not come here."""
        places = [place.id for place in (*guild.channels, *guild.threads)]
        count = await self.privacy.forget_places(places, guild.id)
        log.info("server %s was left: %d messages and all that was set there are forgotten", guild.id, count)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """What somebody says now is what is remembered, and if it is the last message, what is answered."""
        said, me = payload.message, self.user
        speak(self.languages.of(said.guild, said.author.id))
        if me is None or not text.from_person(said) or self.privacy.opted_out(said.author.id):
            return
        moderation = self.chat.moderation
        if not admits(moderation, said) or moderation.words(payload.guild_id).stops_input(text.heard(said, me).text):
            return
        if set_aside(said.content) and self.chat.stop(said.id, keep=False):
            return  # it is for other people now, and was not answered yet
        with self.drain.under_way():
            await self.answered.question_edited(said, me, lambda: self._listener.answers_anew(said))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """Some reactions to a reply say what to do with it."""
        speak(self.languages.to(payload.user_id, self.get_guild(payload.guild_id or 0)))
        await self._reactions.added(payload)

    def _several(self, channel: Any) -> bool:
        """Whether more than one persona talks there."""
        return bool(self.chat.cast.guests.at(Place(channel.id, 0, parent_id=parent_of(channel))))

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """What a reaction said is taken back with it."""
        await self._reactions.removed(payload)

    async def _deleted(self, message_ids: tuple[int, ...]) -> None:
        for message_id in message_ids:
            self.chat.stop(message_id, keep=False)
        await self.answered.messages_deleted(message_ids)

    async def command_failed(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        """Take the error out that a command raised."""
        await self.failed(interaction, error.original if isinstance(error, app_commands.CommandInvokeError) else error)

    async def failed(self, interaction: discord.Interaction, error: Exception) -> None:
        """The funnel for commands and buttons: a line for the person, and the rest to the log."""
        if isinstance(error, PersonaChatError):
            line = line_of(error)
        elif isinstance(error, NotAdmin):
            line = str(error)
        else:
            self.errors[type(error).__name__] += 1
            log.error("interaction %s failed: %s", interaction.id, trace(error))
            line = _(WENT_WRONG)
        await tell(interaction, line)
        if isinstance(error, Filtered):
            listed, text = error.listed, N_("asked for words that the word filter stopped ({listed})")
            await self.log_channel.note(interaction, lambda: _(text).format(listed=_(listed)))

    async def on_error(self, event_method: str, /, *_args: object, **_kwargs: object) -> None:
        """Log what no other place caught; arguments may hold people's words and are left out."""
        error = sys.exception()
        self.errors[type(error).__name__] += 1
        log.error("the handler of %s failed: %s", event_method, trace(error) if error else "")


async def _let_go_of_socket(shard_id: int | None) -> None:
    """Close the socket that was about to begin a session: discord.py forgets it here, and its heart would beat on."""
    hearts = [one for one in threading.enumerate() if isinstance(one, discord.gateway.KeepAliveHandler)]
    for heart in hearts:
        if heart.shard_id == shard_id and heart.ws.session_id is None:
            await heart.ws.close()
