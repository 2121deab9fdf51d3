"""Who a message seems to be from: a persona with its own name and picture, or the bot. It alone sends what they say.

Name and picture come with each message of a channel's webhook, which all personas there share. Where there can be none,
the bot speaks itself, and the name leads the line. It knows Discord, and nothing of engine and store.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import discord
from discord.utils import MISSING, escape_markdown

from bot import text
from bot.faults import DISCORD_FAULTS, PASSING, again_and_again
from bot.webhooks import Webhooks, allowed, home_of, thread_of
from persona_chat.language import N_, _
from persona_chat.persona import Persona

log = logging.getLogger(__name__)

REMEMBERED = 1000
"""Of so many messages it is remembered whom they answer, for when they change."""

LACKING = N_(
    "{name} speaks here under my name. With the permission Manage Webhooks I can give it its own name and picture."
)

_NOBODY = discord.AllowedMentions.none()


@dataclass
class _Flight:
    """A message that is being sent: where, what, and the ids under which Discord says that it came."""

    channel_id: int
    words: str
    seen: list[int] = field(default_factory=list)


class Faces:
    """Speaks for personas. With `webhooks` off the bot says everything itself, as itself.

    `several` says whether more than one persona talks in a channel.
    """

    def __init__(self, client: discord.Client, *, webhooks: bool, several: Callable[[Any], bool]) -> None:
        self._client = client
        self._several = several
        self._on = webhooks
        self._webhooks = Webhooks(client, make=webhooks)
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._flights: dict[int, _Flight] = {}  # by the webhook's id
        self._newest: dict[int, int] = {}  # the last message of each webhook
        self._whom: OrderedDict[int, str] = OrderedDict()
        self._told: set[int] = set()

    def is_ours(self, message: discord.Message) -> bool:
        """Whether a persona of this bot said it with a name of its own."""
        if message.webhook_id is None:
            return False
        return message.application_id == self._client.application_id or self._webhooks.knows(message.webhook_id)

    def knows(self, author_id: int | None) -> bool:
        """The same by the author's id, as long as the bot runs: the author of a webhook's message is the webhook."""
        return self._webhooks.knows(author_id)

    def lacking(self, interaction: discord.Interaction, persona: Persona) -> str | None:
        """What to say where only a permission is missing; once in a channel and process."""
        home = home_of(interaction.channel)
        if not self._on or home is None or home.id in self._told or interaction.app_permissions.manage_webhooks:
            return None
        self._told.add(home.id)
        return _(LACKING).format(name=escape_markdown(persona.name))

    async def send(
        self,
        channel: Any,
        words: str,
        persona: Persona,
        *,
        part: int = 0,
        asked: discord.Message | None = None,
        nonce: str | None = None,
        view: discord.ui.View | None = None,
    ) -> int:
        """Say it, and return the id of the message. `part` is which part of a reply it is, `asked` what it answers.

        `nonce` keeps a retried send single where the bot speaks itself.
        """
        sent = await self.put_on(channel, words, persona, asked=asked, view=view)
        if sent is not None:
            return sent
        said = self.lead(channel, persona, part) + words
        reference = asked.to_reference(fail_if_not_exists=False) if asked is not None else None

        async def once() -> int:
            message: discord.Message = await channel.send(
                said, reference=reference, mention_author=False, allowed_mentions=_NOBODY, nonce=nonce, view=view
            )
            if text.goes_on(message.content) and not text.goes_on(said):
                # Discord knew the nonce: of a draft that it took while we were told that it did not.
                await message.edit(content=said, view=view, allowed_mentions=_NOBODY)
            return message.id

        return await (once() if nonce is None else again_and_again(once))

    async def put_on(
        self,
        channel: Any,
        words: str,
        persona: Persona,
        *,
        asked: discord.Message | None = None,
        view: discord.ui.View | None = None,
    ) -> int | None:
        """Say it with the persona's name and picture, and return the message's id; None where that cannot be."""
        home = home_of(channel)
        if not self._on or home is None or not allowed(home):
            return None
        for _attempt in range(2):  # somebody may have deleted the webhook: then by another one
            webhook = await self._webhooks.of(channel)
            if webhook is None:
                return None
            try:
                return await self._execute(webhook, channel, _whom(channel, asked), words, persona, view)
            except discord.DiscordServerError:
                raise
            except discord.HTTPException as error:
                if not self._webhooks.forget_if_gone(channel, error):
                    log.info("channel %s takes nothing from a webhook: code %s", channel.id, error.code)
                    return None
        return None

    async def edit(
        self,
        channel: Any,
        message_id: int,
        words: str,
        persona: Persona,
        *,
        part: int = 0,
        view: discord.ui.View | None = None,
    ) -> bool:
        """Let a message say something else, with these buttons or none. False when it is gone, or ours no more."""
        webhook = await self._webhooks.of(channel)
        if webhook is not None:
            said = self._whom.get(message_id, "") + words
            # An empty view, because with none at all discord.py tells Discord to leave the buttons alone.
            view_ = view or discord.ui.View(timeout=None)
            thread = thread_of(channel)
            try:
                await webhook.edit_message(
                    message_id, content=said, view=view_, allowed_mentions=_NOBODY, thread=thread
                )
                return True
            except discord.NotFound as error:
                self._webhooks.forget_if_gone(channel, error)
        try:
            said = self.lead(channel, persona, part) + words
            await channel.get_partial_message(message_id).edit(content=said, view=view, allowed_mentions=_NOBODY)
        except (discord.NotFound, discord.Forbidden):
            return False
        return True

    async def delete(self, channel: Any, message_id: int) -> None:
        """Take a message away. That it cannot be is no fault."""
        try:
            webhook = await self._webhooks.of(channel)
            if webhook is not None:
                try:
                    await webhook.delete_message(message_id, thread=thread_of(channel))
                    return
                except discord.NotFound as error:
                    self._webhooks.forget_if_gone(channel, error)
            await channel.get_partial_message(message_id).delete()
        except DISCORD_FAULTS as error:
            log.info("message %s could not be deleted: %s", message_id, type(error).__name__)

    def heard(self, message: discord.Message) -> None:
        """Note that a webhook's message came, in case that it comes twice."""
        flight = self._flights.get(message.webhook_id or 0)
        if flight is not None and (message.channel.id, message.content) == (flight.channel_id, flight.words):
            flight.seen.append(message.id)

    async def _execute(
        self,
        webhook: discord.Webhook,
        channel: Any,
        whom: str,
        words: str,
        persona: Persona,
        view: discord.ui.View | None,
    ) -> int:
        """Send it once. After a fault discord.py tries again, and there is no nonce that would tell Discord so.

        One that came twice shows in the events: its id is between the message before and the one we are told of. So
        does one that came while we are told that it did not.
        """
        me = self._client.user
        async with self._locks[webhook.id]:
            flight = self._flights[webhook.id] = _Flight(channel.id, whom + words)
            try:
                message = await webhook.send(
                    whom + words,
                    username=text.legal_name(persona.name),
                    avatar_url=persona.avatar_url or (me.display_avatar.url if me is not None else MISSING),
                    allowed_mentions=_NOBODY,
                    view=view or MISSING,
                    thread=thread_of(channel),
                    wait=True,
                )
                sent = message.id
            except PASSING:
                if not flight.seen:
                    raise
                sent = max(flight.seen)
            finally:
                del self._flights[webhook.id]
            before, self._newest[webhook.id] = self._newest.get(webhook.id, 0), sent
        for twin in flight.seen:
            if before < twin < sent:
                await self.delete(channel, twin)
        if whom:
            self._whom[sent] = whom
            if len(self._whom) > REMEMBERED:
                self._whom.popitem(last=False)
        return sent

    def lead(self, channel: Any, persona: Persona, part: int = 0) -> str:
        """The name before what the bot says for the persona, where it may speak for several."""
        home = home_of(channel)
        me = self._client.user if home is None else home.guild.me
        shown = me is not None and persona.name.casefold() == me.display_name.casefold()
        alone = (not self._on or home is None) and not self._several(channel)
        return "" if part or shown or alone else text.leading(persona.name)


def _whom(channel: Any, asked: discord.Message | None) -> str:
    """A line that says whom a message answers, when another one came between: a webhook cannot reply."""
    if asked is None or channel.last_message_id == asked.id:
        return ""
    return f"-# ↪ {escape_markdown(asked.author.display_name)}\n"
