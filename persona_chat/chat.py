"""One message in, one reply out. Knows the store and the engine; knows no Discord, no SQL and no model."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from persona_chat.cast import Cast, check_age
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import Follow, Prompt, Reply, ReplyEngine, ReplyRequest, Wait, plainly, stopped_at
from persona_chat.errors import EngineBusy, InputError, PersonaChatError, Stopped
from persona_chat.heard import Heard
from persona_chat.language import N_, _
from persona_chat.listening import Listening
from persona_chat.persona import Persona
from persona_chat.place import Place
from persona_chat.settings import Settings
from persona_chat.store.seating import Seated
from persona_chat.store.store import Store

NO_PERSONA = N_("Nobody is here to talk to yet. Set a persona with `/persona set`.")

Thinking = Callable[[Persona], AbstractAsyncContextManager[object]]
"""Entered while the model works for that persona."""

Deliver = Callable[[Persona, str], AsyncIterator[int]]
"""Sends a persona's reply, in parts if it must, and yields the id of each message as soon as it is sent."""


@dataclass(eq=False)
class _Begun:
    """A message that is being answered, or waits for its turn. `events` are how many handlers have it.

    From `in_turn` on something of it may be kept, until it is `over`.
    """

    person_id: int
    events: int = 0
    in_turn: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Reply] | None = None
    stopped: bool = False
    keep: bool = False


class Chat:
    """The path of a message through store and engine; `cast` is who talks where, `listening` to whom.

    A channel's messages are answered one after the other, in the order in which `answer` was called; each
    sees the reply before it. Channels do not wait for each other here.
    """

    def __init__(self, store: Store, engine: ReplyEngine, settings: Settings, *, wait: Wait = plainly) -> None:
        self.cast = Cast(store, engine)
        self.listening = Listening(store, self.cast)
        self._wait = wait
        self._store = store
        self._engine = engine
        self._settings = settings
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[int] = Counter()
        self._begun: dict[int, _Begun] = {}

    async def start(self) -> None:
        """Read where somebody talks, and how. Call once, before anything else."""
        await self.cast.start()
        await self.listening.start()

    @property
    def waiting(self) -> int:
        """How many messages are being answered, or wait for it."""
        return sum(self._waiting.values())

    async def history(self, place: Place, turns: int) -> Dialogue:
        """Return the newest turns that the persona of this place remembers, oldest first."""
        _, past = await asyncio.to_thread(self._store.talk, place, turns)
        return past

    async def trial(self, persona: Persona, text: str, place: Place) -> Reply:
        """Let a persona answer one message of which nothing is kept. Raises what the engine raises."""
        return await self.write(self.request(persona, (Turn(Speaker.A, text),), place))

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
        their turn.

        The reply is saved before `deliver` sends it. `thinking` is entered while the model works, and `follow` is told
        how the reply comes along. Raises PersonaChatError with a line for the person when there is no reply to give,
        and Stopped when nobody wants one any more.
        """
        begun = self._begun.setdefault(heard.message_id, _Begun(heard.place.person_id))
        begun.events += 1
        try:
            await self._answer(heard, begun, follow, addressed=addressed, thinking=thinking, deliver=deliver)
        finally:
            begun.events -= 1
            if not begun.events:
                del self._begun[heard.message_id]
                begun.over.set()

    def stop(self, message_id: int, *, keep: bool) -> bool:
        """End the reply to a message within one step; whether there was one to end.

        With `keep` what is there of it is the reply; without, as when the question is taken back, there is none.
        """
        begun = self._begun.get(message_id)
        if begun is None or begun.stopped:
            return False
        begun.stopped, begun.keep = True, keep
        if begun.task is not None:
            begun.task.cancel()
        return True

    async def stop_all_of(self, person_id: int) -> None:
        """End the replies to all messages of a person, and wait until nothing more of them is kept."""
        theirs = [begun for begun in self._begun.values() if begun.person_id == person_id]
        for begun in theirs:
            begun.stopped, begun.keep = True, False
            if begun.task is not None:
                begun.task.cancel()
        for begun in theirs:
            if begun.in_turn:
                await begun.over.wait()

    async def _answer(
        self,
        heard: Heard,
        begun: "_Begun",
        follow: Follow,
        *,
        addressed: bool,
        thinking: Thinking,
        deliver: Deliver,
    ) -> None:
        async with self.in_turn(heard.place.channel_id):
            if not addressed and not self.listening.still_hears(heard.place):
                return
            if begun.stopped:
                raise Stopped
            begun.in_turn = True
            if not await asyncio.to_thread(self._store.claim, heard):
                return
            try:
                seated, request = await self._asked(heard)
                async with thinking(seated.persona):
                    reply = await self._written(request, begun, follow)
                if begun.stopped and not begun.keep:  # after its last word
                    raise Stopped
            except PersonaChatError as error:
                await asyncio.to_thread(self._store.refuse, heard.message_id, type(error).__name__)
                raise
            save, made = self._store.save_reply, how(request, reply)
            await asyncio.to_thread(save, heard.message_id, seated.revision_id, reply.text, reply.adapter, made)
            part = 0
            async for sent_id in deliver(seated.persona, reply.text):
                await asyncio.to_thread(self._store.mark_sent, heard.message_id, part, sent_id)
                part += 1

    async def _asked(self, heard: Heard) -> tuple[Seated, ReplyRequest]:
        """Who answers, and what the engine is asked."""
        seated, past = await asyncio.to_thread(self._store.talk, heard.place, self._settings.history_turns)
        if seated is None:
            raise InputError(_(NO_PERSONA))
        check_age(heard.place, seated.persona)
        request = self.request(seated.persona, (*past, Turn(Speaker.A, heard.text, heard.speaker_name)), heard.place)
        return seated, request

    def request(self, persona: Persona, dialogue: Dialogue, place: Place) -> ReplyRequest:
        """Return what an engine is asked, with a seed of its own, so that it can be asked the same again."""
        sampling = self._settings.sampling
        if sampling.seed is None:
            sampling = replace(sampling, seed=random.getrandbits(31))
        return ReplyRequest(persona, dialogue, sampling, self._settings.deadline_s, place.channel_id)

    async def write(self, request: ReplyRequest) -> Reply:
        """Let the engine answer."""
        reply: Reply = await self._wait(self._engine.reply(request))
        return reply

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return what the engine would read."""
        return await self._engine.prompt(request)

    async def _written(self, request: ReplyRequest, begun: "_Begun", follow: Follow) -> Reply:
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

    @asynccontextmanager
    async def in_turn(self, channel_id: int) -> AsyncIterator[None]:
        """Wait for the channel's earlier messages; EngineBusy when too many of them wait already."""
        if self._waiting[channel_id] >= self._settings.channel_queue:
            raise EngineBusy
        lock = self._locks.setdefault(channel_id, asyncio.Lock())
        self._waiting[channel_id] += 1
        try:
            await self._wait(lock.acquire())
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[channel_id] -= 1
            if not self._waiting[channel_id]:
                del self._waiting[channel_id]


def how(request: ReplyRequest, reply: Reply) -> dict[str, Any]:
    """What a reply was made with, as it is kept beside it."""
    return {
        **{name: value for name, value in asdict(request.sampling).items() if name != "whole"},
        "turns": reply.turns,
        "remembered": len(request.dialogue),
        "prompt_tokens": reply.prompt_tokens,
        "finish": reply.finish.value,
    }
