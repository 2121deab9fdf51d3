"""The engine that runs the model in this process, on one thread of its own. Importing it imports no torch."""

import asyncio
import dataclasses
import logging
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from persona_chat import template
from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.engine.loaded import Loaded, form_of, load, with_adapter
from persona_chat.engine.memory import give_back
from persona_chat.engine.reply import EngineFacts, Progress, Reply, ReplyRequest, Sampling, Wait, plainly
from persona_chat.engine.thread import ModelThread
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import (
    BaseUnavailable,
    EngineFailed,
    EngineResting,
    PersonaChatError,
    ReplyTimeout,
    trace,
)
from persona_chat.persona import Persona
from persona_chat.settings import Settings

if TYPE_CHECKING:
    from persona_chat.engine.generation import Completion, Limits

T = TypeVar("T")

_RETRY_TEMPERATURE = 0.7
_JOIN_S = 5.0

_log = logging.getLogger(__name__)


class LocalEngine:
    """A ReplyEngine on a model in this process. `adapter` is the folder of the one that it starts with.

    `progress` is told how far loading is, from the model thread. `wait` wraps the future that a caller awaits: an
    offline Discord that counts busy tasks hands in its own; everywhere else it changes nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        adapter: Path | None = None,
        progress: Progress | None = None,
        wait: Wait = plainly,
    ) -> None:
        self._settings = settings
        self._adapter = adapter
        self.progress = progress
        self._wait = wait
        self._thread: ModelThread | None = None
        self._loaded: Loaded | None = None
        self._tokens: Tokens | None = None
        self._tokens_lock = threading.Lock()
        self._closing = threading.Event()
        self._resting = False

    async def start(self) -> EngineFacts:
        """Load the base and the adapter. Raises BaseUnavailable or AdapterRefused."""
        try:
            return await self._run(self._opened().submit(self._load))
        except EngineFailed:
            raise BaseUnavailable(
                f"The base {self._settings.base} could not be loaded, for a reason that is in the log. "
                "PERSONA_CHAT_BASE=embedded is the one that always can."
            ) from None

    async def reply(self, request: ReplyRequest) -> Reply:
        """Answer the dialogue's last turn; see ReplyEngine."""
        if self._thread is None:
            raise EngineFailed
        if self._resting:
            raise EngineResting
        asked = time.monotonic()
        stop = threading.Event()
        try:
            return await self._run(self._thread.submit(lambda: self._answer(request, asked, stop)))
        finally:
            stop.set()  # matters when the awaiting task was cancelled

    async def prompt(self, request: ReplyRequest) -> str:
        """Return exactly the text that `reply` would give the model. Needs the tokenizer only, not `start`."""
        return await self._run(self._opened().submit(lambda: self._fit(self._tokenizer(), request)[0]))

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in tokens; raise PersonaTooLong when it does not fit alone."""

        def count() -> int:
            allowed, counted = self._settings.persona_tokens, self._tokenizer().count
            return template.check_persona(persona, allowed, counted, form=self._form())

        if self._tokens is None:  # loading belongs to the model thread, which `close` can end
            return await self._run(self._opened().submit(count))
        # Counting does not wait behind replies: Discord wants an answer within 3 s.
        return await asyncio.to_thread(count)

    async def use(self, adapter: Path | None) -> str | None:
        """Serve another adapter from the next reply on; see ReplyEngine. Raises EngineFailed before `start`."""
        if self._thread is None:
            raise EngineFailed
        return await self._run(self._thread.submit(lambda: self._exchange(adapter), always=True))

    async def rest(self) -> None:
        """Let go of the model until `wake`, after the replies that wait already; see ReplyEngine."""
        if self._thread is None:
            raise EngineFailed
        self._resting = True
        await self._run(self._thread.submit(self._let_go, always=True))

    async def wake(self) -> None:
        """Load the model again; see ReplyEngine."""
        await self.start()
        self._resting = False

    async def close(self) -> None:
        """Let go of the model. Whoever still waits gets EngineFailed. Safe to call twice."""
        self._closing.set()
        if self._thread is not None:
            self._thread.close()
            if not await asyncio.to_thread(self._thread.join, _JOIN_S):
                _log.info("the model thread is still busy after %g s", _JOIN_S)
        self._loaded = None

    def _opened(self) -> ModelThread:
        if self._thread is None:
            self._thread = ModelThread(self._settings.queue_size)
        return self._thread

    async def _run(self, future: asyncio.Future[T]) -> T:
        """Await a job; what was not foreseen becomes EngineFailed, logged without any text of a message."""
        try:
            result: T = await self._wait(future)
        except PersonaChatError:
            raise
        except Exception as error:
            _log.error("the model thread failed with %s", trace(error))
            raise EngineFailed from None
        return result

    # What follows runs on the model thread, except where it says otherwise.

    def _load(self) -> EngineFacts:
        self._loaded = load(self._settings, self._adapter, self._tokenizer, self._tell)
        return self._loaded.facts

    def _let_go(self) -> None:
        if self._loaded is not None:
            self._adapter = self._loaded.adapter.folder if self._loaded.adapter is not None else None
            self._loaded = None
            give_back()

    def _exchange(self, folder: Path | None) -> str | None:
        if self._loaded is None:
            raise EngineFailed
        self._loaded = with_adapter(self._loaded, folder)
        return self._loaded.adapter_name

    def _form(self) -> str:
        """Return the form of the prompts: that of the adapter which serves, or is to. Called from several threads."""
        if (loaded := self._loaded) is not None:
            return loaded.form
        return form_of(read_adapter(self._adapter) if self._adapter is not None else None)

    def _tell(self, share: float, doing: str) -> None:
        """Pass progress on, and end the preparation when nobody wants the engine any more."""
        if self._closing.is_set():
            raise EngineFailed
        if self.progress is not None:
            self.progress(share, doing)

    def _tokenizer(self) -> Tokens:
        """Return the tokenizer, loading it once. Called from several threads."""
        with self._tokens_lock:
            if self._tokens is None:
                settings = self._settings
                choice = base.choose(settings)
                self._tokens = Tokens(base.load_tokenizer(choice, settings.data_dir, self._tell))
            return self._tokens

    def _fit(self, tokens: Tokens, request: ReplyRequest) -> tuple[str, int]:
        """Return the prompt and how many turns are in it. Called from several threads."""
        names, form, budget = self._settings.show_names, self._form(), self._settings.context_tokens
        turns = template.fit(request.persona, request.dialogue, budget, tokens.count, show_names=names, form=form)
        return template.render(request.persona, turns, show_names=names, form=form), len(turns)

    def _answer(self, request: ReplyRequest, asked: float, stop: threading.Event) -> Reply:
        from persona_chat.engine.generation import Limits

        limits = Limits(asked + request.deadline_s, (stop, self._closing))
        _go_on(limits, request)
        if (loaded := self._loaded) is None:  # start() failed
            raise EngineFailed
        started = time.monotonic()
        tokens = self._tokenizer()
        prompt, turns = self._fit(tokens, request)
        prompt_ids = tokens.encode(prompt)
        first = self._complete(loaded, prompt_ids, request.sampling, limits)
        completion = first
        if not template.read_reply(first.text):
            _go_on(limits, request)
            completion = self._complete(loaded, prompt_ids, _another(request.sampling), limits)
        text = template.read_reply(completion.text)
        if limits.stopped() or not text:
            _go_on(limits, request)
            raise EngineFailed
        reply = Reply(
            text=text,
            finish=completion.finish,
            turns=turns,
            prompt_tokens=len(prompt_ids),
            reply_tokens=completion.tokens,
            waited_s=started - asked,
            first_token_s=first.first_token_at - started,
            total_s=time.monotonic() - started,
            adapter=loaded.adapter_name,
        )
        _log.info("%d + %d tokens in %.2f s", reply.prompt_tokens, reply.reply_tokens, reply.total_s)
        return reply

    def _complete(self, loaded: Loaded, prompt_ids: list[int], sampling: Sampling, limits: "Limits") -> "Completion":
        from persona_chat.engine.generation import complete

        return complete(loaded.served, loaded.base, self._tokenizer(), prompt_ids, loaded.closed, sampling, limits)


def _go_on(limits: "Limits", request: ReplyRequest) -> None:
    """Raise when the reply is not wanted any more, or the deadline has passed."""
    if limits.stopped():
        raise EngineFailed
    if limits.passed():
        raise ReplyTimeout(request.deadline_s)


def _another(sampling: Sampling) -> Sampling:
    """Return how to draw when the first try came out empty: not the same again."""
    return dataclasses.replace(
        sampling,
        temperature=sampling.temperature or _RETRY_TEMPERATURE,
        seed=_another_seed(sampling),
    )


def _another_seed(sampling: Sampling) -> int:
    """Greedy replies stay the same every time, also when the first try was empty."""
    if sampling.seed is not None:
        return sampling.seed + 1
    return secrets.randbits(63) if sampling.temperature > 0 else 0
