"""A message and its answer: asked of the core, shown while it is written, sent, or told why there is none."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import discord
from discord.ext import commands

from bot import text
from bot.draft import Draft
from bot.faces import Faces
from bot.faults import DISCORD_FAULTS, again_and_again, may_pass
from bot.log_channel import LogChannel
from bot.reply_view import reply_view
from bot.telling import line_of, typing
from persona_chat.chat import NOT_READ, Chat
from persona_chat.engine.reply import Wait
from persona_chat.errors import AgeRestricted, Filtered, PersonaChatError, Stopped, trace
from persona_chat.heard import Heard
from persona_chat.language import N_, _
from persona_chat.persona import Persona
from persona_chat.store.inbox import Left

log = logging.getLogger(__name__)

WENT_WRONG = N_("Something went wrong on my side. It has been noted; please try again.")


TOLD_EVERY_S = 600.0
"""How seldom a person is told that a filter stopped a message."""


class Answering:
    """Answers messages. What is the persona's is said with its face, what is the bot's by the bot."""

    def __init__(
        self, chat: Chat, faces: Faces, log_channel: LogChannel, *, stream: bool, buttons: bool, wait: Wait
    ) -> None:
        self._chat = chat
        self._faces = faces
        self._log_channel = log_channel
        self._not_read = commands.CooldownMapping.from_cooldown(1, TOLD_EVERY_S, commands.BucketType.member)
        self._stream = stream
        self._buttons = buttons
        self._wait = wait
        self.outcomes = Counter[str]()  # what became of messages
        self.drafts = 0  # how often a draft was posted or edited

    async def answer(self, message: discord.Message, heard: Heard, *, addressed: bool) -> None:
        """Answer a message, or tell the person why not."""
        await self._answer(message, partial(self._chat.answer, heard, addressed=addressed), addressed=addressed)

    async def take_up(self, message: discord.Message, heard: Heard, *, draft: int | None) -> None:
        """Answer a message that was left; `draft` is the message in which a part of the reply is shown already."""
        await self._answer(message, partial(self._chat.take_up, heard), draft=draft)

    async def send_rest(
        self, message: discord.Message, left: Left, parts: Sequence[str], found: Mapping[int, int]
    ) -> None:
        """Send what is missing of a reply; the parts that were `found` are noted, and a draft among them finished."""
        persona = left.persona
        assert persona is not None
        async with self._chat.in_turn(left.channel_id):
            for number, part in enumerate(parts):
                if number in left.sent:
                    continue
                sent, view = found.get(number), self._view(number)
                if sent is not None and number == 0:
                    await self._faces.edit(message.channel, sent, part, persona, view=view)
                if sent is None:
                    asked, nonce = None if number else message, f"{message.id}.{number}"
                    sent = await self._faces.send(
                        message.channel, part, persona, part=number, asked=asked, nonce=nonce, view=view
                    )
                await self._chat.mark_sent(message.id, number, sent)

    async def _answer(
        self,
        message: discord.Message,
        asked: Callable[..., Awaitable[None]],
        *,
        addressed: bool = True,
        draft: int | None = None,
    ) -> None:
        shown = Draft(message, self._faces, self._wait, self._count_draft)
        shown.sent = draft
        sent: list[int] = []
        try:
            await asked(
                thinking=lambda persona: self._thinking(message, persona, shown),
                follow=shown.follow,
                deliver=lambda persona, reply: self._deliver(message, persona, reply, shown, sent),
            )
            self.outcomes["answered" if sent else "passed over"] += 1
        except Stopped:
            self.outcomes["stopped"] += 1
            await shown.vanish()
            for message_id in sent:  # the question was taken back while they were on their way
                await self._faces.delete(message.channel, message_id)
        except PersonaChatError as error:
            self.outcomes[type(error).__name__] += 1
            log.info("message %s gets no reply: %s", message.id, type(error).__name__)
            if isinstance(error, AgeRestricted) and not addressed:
                return  # the channel was not so when the persona was set; nobody asked for a line at every message
            await shown.vanish()
            await self.say(message, line_of(error))
            if isinstance(error, Filtered):
                await self._log_channel.not_said(message, error)
        except DISCORD_FAULTS as error:
            self.outcomes["unsent"] += 1
            # The reply is saved; the text of the error may hold what Discord was sent.
            log.warning("the reply to message %s could not be sent: %s", message.id, type(error).__name__)
            if may_pass(error):
                self._chat.inbox.try_again(message.id)
        except Exception as error:
            self.outcomes["failed"] += 1
            log.error("message %s could not be answered: %s", message.id, trace(error))
            await shown.vanish()
            await self.say(message, _(WENT_WRONG))

    async def not_read(self, message: discord.Message, listed: str) -> None:
        """Tell a person, not each time, that a word in a message stopped it; and moderators where they want to know."""
        if self._not_read.update_rate_limit(message, message.created_at.timestamp()) is None:
            await self.say(message, _(NOT_READ))
        await self._log_channel.not_read(message, listed)

    async def say(self, message: discord.Message, line: str) -> None:
        """Tell the person something that is the bot's and not the persona's, if that can be sent at all."""
        told = partial(
            message.channel.send,
            line,
            reference=message.to_reference(fail_if_not_exists=False),
            mention_author=False,
            allowed_mentions=discord.AllowedMentions.none(),
            nonce=f"{message.id}.e",
        )
        try:
            await again_and_again(told)
        except DISCORD_FAULTS as error:
            log.warning("message %s could not be told so: %s", message.id, type(error).__name__)

    def _view(self, number: int) -> discord.ui.View | None:
        """The buttons under that part of a reply."""
        return reply_view() if not number and self._buttons else None

    def _count_draft(self) -> None:
        self.drafts += 1

    @asynccontextmanager
    async def _thinking(self, message: discord.Message, persona: Persona, draft: Draft) -> AsyncIterator[None]:
        async with typing(message.channel):
            if self._stream:
                async with draft.showing(persona):
                    yield
            else:
                yield

    async def _deliver(
        self, message: discord.Message, persona: Persona, reply: str, draft: Draft, messages: list[int]
    ) -> AsyncIterator[int]:
        """Send the reply to the message, further parts after it; `messages` are the ids of what was sent."""
        for number, part in enumerate(text.parts(reply, persona.name)):
            first = number == 0
            view = self._view(number)
            sent = await draft.become(part, view) if first else None
            if sent is None:
                # A draft that could not be finished has used its nonce: Discord would give back that message.
                nonce = f"{message.id}.{number}{'x' if first and draft.sent is not None else ''}"
                asked = message if first else None
                sent = await self._faces.send(
                    message.channel, part, persona, part=number, asked=asked, nonce=nonce, view=view
                )
            messages.append(sent)
            yield sent
