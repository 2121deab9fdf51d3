"""One message in, one reply out. Knows the store and the engine; knows no Discord, no SQL and no model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from persona_chat.asking import Asking, how
from persona_chat.bursts import Burst, Bursts, together
from persona_chat.cast import Cast
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import Follow, Prompt, Reply, ReplyEngine, ReplyRequest, Wait, plainly, stopped_at
from persona_chat.errors import Filtered, GaveUp, PersonaChatError, Stopped
from persona_chat.guests import called
from persona_chat.heard import Heard
from persona_chat.inbox import Inbox
from persona_chat.keeping import Keeping, patiently
from persona_chat.language import N_, _
from persona_chat.listening import Listening
from persona_chat.memory import Memory
from persona_chat.moderation import Moderation
from persona_chat.persona import Persona
from persona_chat.place import Place
from persona_chat.redrawing import clean, held_back
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.underway import Begun, Turns, UnderWay

NOT_READ = N_("There is a word in that which this server's filter stops, so I do not answer it and keep nothing of it.")

ATTEMPTS = 3
"""How often it is begun to answer a message. One that brought the bot down so often does it no more."""

Thinking = Callable[[Persona], AbstractAsyncContextManager[object]]
"""Entered while the model works for that persona."""

Deliver = Callable[[Persona, str], AsyncIterator[int]]
"""Sends a persona's reply, in parts if it must, and yields the id of each message as soon as it is sent."""


class Chat:
    """The path of a message through store and engine; `cast` is who talks where, `listening` to whom.

    `moderation` is what servers allow, `inbox` what is not over, `asking` what an engine is asked.

    A channel's messages are answered one after the other, in the order in which `answer` was called; each
    sees the reply before it. Channels do not wait for each other here.
    """

    def __init__(self, store: Store, engine: ReplyEngine, settings: Settings, *, wait: Wait = plainly) -> None:
        self.cast = Cast(store, engine)
        self.listening = Listening(store, self.cast)
        self.inbox = Inbox(store)
        keeping = Keeping(store)
        self._kept = keeping.kept
        self.memory = Memory(store, on=settings.memory)
        self.moderation = Moderation(store)
        self.asking = Asking(store, keeping, self.cast, self.memory, settings)
        self._wait = wait
        self._store = store
        self._engine = engine
        self._settings = settings
        self._turns = Turns(settings.channel_queue, wait)
        self._under_way = UnderWay()
        self._bursts = Bursts()

    async def start(self) -> None:
        """Read where somebody talks, and how. Call once, before anything else."""
        await self.cast.start()
        await self.listening.start()
        await self.moderation.start()
        await self.memory.start()
        await self.inbox.start()

    async def look_again(self) -> None:
        """Read that anew, but for what was heard: it was changed past these."""
        await self.cast.look_again()
        await self.listening.start()
        await self.moderation.start()
        await self.memory.start()

    @property
    def waiting(self) -> int:
        """How many messages are being answered, or wait for it."""
        return self._turns.waiting

    async def history(self, place: Place, turns: int) -> Dialogue:
        """Return the newest turns that the persona of this place remembers, oldest first."""
        _, past = await asyncio.to_thread(self._store.talk, place, turns)
        return past

    async def trial(self, persona: Persona, text: str, place: Place) -> Reply:
        """Let a persona answer one message of which nothing is kept. Raises what the engine raises, and Filtered."""
        if listed := self.moderation.words(place.guild_id).stops_input(text):
            raise Filtered(NOT_READ, listed)
        _, reply = await self.write(self.asking.request(persona, (Turn(Speaker.A, text),), place), place)
        return reply

    async def answer(
        self,
        heard: Heard,
        *,
        addressed: bool = False,
        thinking: Thinking,
        deliver: Deliver,
        follow: Follow = Follow(),  # noqa: B008  it is frozen
    ) -> None:
        """Answer a message once and for ever: a replayed event is passed over.

        `addressed` messages are for us wherever they stand; others only where the channel is on, when it is
        their turn. What one person says right after the other is answered together: Stopped is raised for all
        but the last.

        The reply is saved before `deliver` sends it. `thinking` is entered while the model works, and `follow` is told
        how the reply comes along. Raises PersonaChatError with a line for the person when there is no reply to give,
        and Stopped when nobody wants one any more.
        """
        with self._under_way.begun(heard.message_id, heard.place) as begun:
            await self._answer(heard, begun, follow, addressed=addressed, thinking=thinking, deliver=deliver)

    async def take_up(self, heard: Heard, *, thinking: Thinking, deliver: Deliver, follow: Follow = Follow()) -> None:  # noqa: B008
        """Answer a message that was claimed, by a process that is no more. Raises as `answer` does, and GaveUp."""
        with self._under_way.begun(heard.message_id, heard.place) as begun:
            async with self.in_turn(heard.place.channel_id):
                begun.in_turn = True
                inbox = self._store.inbox
                if not await asyncio.to_thread(inbox.take_up, heard.message_id, ATTEMPTS):
                    gave_up = await asyncio.to_thread(inbox.give_up, heard.message_id, GaveUp.__name__)
                    raise GaveUp if gave_up else Stopped
                await self._answer_claimed(Burst([heard]), heard, begun, follow, thinking=thinking, deliver=deliver)

    async def mark_sent(self, message_id: int, part: int, sent_id: int) -> None:
        """Note that a part (from 0) of a reply went out as that message of Discord's."""
        await self._kept(self._store.mark_sent, message_id, part, sent_id)

    def stop(self, message_id: int, *, keep: bool) -> bool:
        """End the reply to a message within one step; whether there was one to end.

        With `keep` what is there of it is the reply; without, as when the question is taken back, there is none.
        """
        if keep:
            self._bursts.close_with(message_id)
        else:
            self._bursts.drop(message_id)
        return self._under_way.stop(message_id, keep=keep)

    def rephrase(self, message_id: int, text: str) -> None:
        """Take over what a message says now that waits for its turn."""
        self._bursts.rephrase(message_id, text)

    async def stop_where(self, there: Callable[[Place], bool]) -> None:
        """End the replies to all messages that were said there, and wait until nothing more of them is kept."""
        self._bursts.close_where(there)
        await self._under_way.stop_where(there)

    async def _answer(
        self,
        heard: Heard,
        begun: Begun,
        follow: Follow,
        *,
        addressed: bool,
        thinking: Thinking,
        deliver: Deliver,
    ) -> None:
        burst = await self._gathered(heard)
        try:
            async with self.in_turn(heard.place.channel_id):
                if not addressed and not self.listening.still_hears(heard.place):
                    return
                if begun.stopped or burst.goes_on_after(heard.message_id):
                    raise Stopped
                begun.in_turn = True
                await self._answer_all(burst, begun, follow, thinking=thinking, deliver=deliver)
        finally:
            if not burst.goes_on_after(heard.message_id):
                self._bursts.close(burst)

    async def _gathered(self, heard: Heard) -> Burst:
        """The burst that the message belongs to, after the wait for more. Whose place it takes is not answered."""
        if not self._settings.burst_s:
            return Burst([heard])
        everybody, host = self.cast.everybody(heard.place)
        burst, before = self._bursts.join(heard, called(heard.text, everybody), host)
        if before is not None:
            self._under_way.stop(before, keep=False)
        await self._wait(asyncio.sleep(self._settings.burst_s))
        return burst

    async def _answer_all(
        self, burst: Burst, begun: Begun, follow: Follow, *, thinking: Thinking, deliver: Deliver
    ) -> None:
        """Answer the last message of a burst, in its channel's turn."""
        parts = tuple(burst.parts)
        heard = together(parts)  # what is taken back from here on is deleted in the store
        if not await self._kept(self._store.claim, heard, parts):
            return
        await self._answer_claimed(
            burst, heard, begun, follow, thinking=thinking, deliver=deliver, several=len(parts) > 1
        )

    async def _answer_claimed(
        self,
        burst: Burst,
        heard: Heard,
        begun: Begun,
        follow: Follow,
        *,
        thinking: Thinking,
        deliver: Deliver,
        several: bool = False,
    ) -> None:
        """Answer a message that was claimed, in its channel's turn."""
        try:
            if several and (listed := self.moderation.words(heard.place.guild_id).stops_input(heard.text)):
                raise Filtered(_(NOT_READ), listed)
            seated, request = await patiently(partial(self.asking.asked, heard))
            async with thinking(seated.persona):
                told = held_back(self.moderation, heard.place, follow)
                written = partial(self._written, begun=begun, follow=told)
                request, reply = await clean(self.moderation, heard.place, request, written)
            if begun.taken_back:  # after its last word
                raise Stopped
            self._bursts.close(burst)
        except PersonaChatError as error:
            await self._kept(self._store.refuse, heard.message_id, type(error).__name__)
            raise
        save, made = self._store.save_reply, how(request, reply)
        await self._kept(save, heard.message_id, seated.revision_id, reply.text, reply.adapter, made)
        part = 0
        if not begun.taken_back:
            async for sent_id in deliver(seated.persona, reply.text):
                await self.mark_sent(heard.message_id, part, sent_id)
                part += 1
        if begun.taken_back:  # while it was saved or sent
            await patiently(partial(asyncio.to_thread, self._store.answers.delete, [heard.message_id]))
            raise Stopped

    async def write(self, request: ReplyRequest, place: Place) -> tuple[ReplyRequest, Reply]:
        """Let the engine answer, and return what it was asked in the end. Raises what it raises, and Filtered."""

        async def asked(request: ReplyRequest) -> Reply:
            reply: Reply = await self._wait(self._engine.reply(request))
            return reply

        return await clean(self.moderation, place, request, asked)

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return what the engine would read."""
        return await self._engine.prompt(request)

    async def _written(self, request: ReplyRequest, begun: Begun, follow: Follow) -> Reply:
        """Let the engine write in a task that `stop` can end."""
        so_far = ""

        def grown(text: str) -> None:
            nonlocal so_far
            so_far = text
            if follow.grown is not None:
                follow.grown(text)

        if begun.stopped:
            raise Stopped
        begun.task = asyncio.ensure_future(self._engine.reply(request, Follow(follow.placed, grown)))
        try:
            reply: Reply = await self._wait(begun.task)
        except asyncio.CancelledError:
            begun.task.cancel()
            current = asyncio.current_task()
            if not begun.stopped or (current is not None and current.cancelling()):
                raise
            if not (begun.keep and so_far):
                raise Stopped from None
            return stopped_at(so_far)
        finally:
            begun.task = None
        return reply

    def in_turn(self, channel_id: int) -> AbstractAsyncContextManager[None]:
        """Wait for the channel's earlier messages; EngineBusy when too many of them wait already."""
        return self._turns.of(channel_id)
