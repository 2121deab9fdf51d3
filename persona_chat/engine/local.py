"""The engine that runs the model in this process, on one thread of its own. Importing it imports no torch."""

import asyncio
import dataclasses
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from persona_chat import adapters, template
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores
from persona_chat.engine.reply import EngineFacts, Progress, Reply, ReplyRequest, Sampling, Wait, plainly
from persona_chat.engine.thread import ModelThread
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import BaseUnavailable, EngineFailed, PersonaChatError, ReplyTimeout, trace
from persona_chat.persona import Persona
from persona_chat.settings import Settings

if TYPE_CHECKING:
    from persona_chat.engine.generation import Completion, Limits

T = TypeVar("T")

_RETRY_TEMPERATURE = 0.7
_JOIN_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loaded:
    """What the model thread works with. `served` is the base's model, or the same under an adapter."""

    base: base.LoadedBase
    served: Any
    adapter: str | None
    closed: Any  # mask of the tokens that no reply may begin with


class LocalEngine:
    """A ReplyEngine on a model in this process.

    `progress` is told how far loading is, from the model thread. `wait` wraps the future that a caller awaits: an
    offline Discord that counts busy tasks hands in its own; everywhere else it changes nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        progress: Progress | None = None,
        wait: Wait = plainly,
    ) -> None:
        self._settings = settings
        self.progress = progress
        self._wait = wait
        self._thread: ModelThread | None = None
        self._loaded: _Loaded | None = None
        self._tokens: Tokens | None = None
        self._tokens_lock = threading.Lock()
        self._closing = threading.Event()

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
            return template.check_persona(persona, self._settings.persona_tokens, self._tokenizer().count)

        if self._tokens is None:  # loading belongs to the model thread, which `close` can end
            return await self._run(self._opened().submit(count))
        # Counting does not wait behind replies: Discord wants an answer within 3 s.
        return await asyncio.to_thread(count)

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
        settings = self._settings
        choice = base.choose(settings)  # before any other import of torch: it says how threads wait

        import torch

        from persona_chat.engine.generation import closed_tokens

        torch.set_num_threads(settings.threads or available_cores())
        adapter = adapters.read_adapter(settings.adapter) if settings.adapter is not None else None
        tokens = self._tokenizer()
        loaded = base.load(choice, settings.data_dir, tokens.tokenizer, self._tell)
        self._check_room(choice, loaded)
        served = loaded.model
        if adapter is not None:
            from persona_chat.engine.lora import attach

            served = attach(served, adapter, choice.base)
        openings = tokens.openings()
        if not openings:
            raise BaseUnavailable(f"The base {choice.base} has no words that begin with a space, as replies do.")
        name = adapter.name if adapter is not None else None
        self._loaded = _Loaded(loaded, served, name, closed_tokens(openings, loaded))
        return EngineFacts(
            base=choice.base,
            adapter=name,
            device=choice.device_name,
            precision=choice.precision,
            why=choice.why,
        )

    def _tell(self, share: float, doing: str) -> None:
        """Pass progress on, and end the preparation when nobody wants the engine any more."""
        if self._closing.is_set():
            raise EngineFailed
        if self.progress is not None:
            self.progress(share, doing)

    def _check_room(self, choice: base.BaseChoice, loaded: base.LoadedBase) -> None:
        most = loaded.room - self._settings.max_new_tokens
        if self._settings.context_tokens > most:
            raise BaseUnavailable(
                f"The base {choice.base} has room for {most:,} prompt tokens. "
                f"Set PERSONA_CHAT_CONTEXT_TOKENS to that or less."
            )

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
        names = self._settings.show_names
        turns = template.fit(
            request.persona, request.dialogue, self._settings.context_tokens, tokens.count, show_names=names
        )
        return template.render(request.persona, turns, show_names=names), len(turns)

    def _answer(self, request: ReplyRequest, asked: float, stop: threading.Event) -> Reply:
        from persona_chat.engine.generation import Limits

        limits = Limits(asked + request.deadline_s, (stop, self._closing))
        _go_on(limits, request)
        if self._loaded is None:  # start() failed
            raise EngineFailed
        started = time.monotonic()
        tokens = self._tokenizer()
        prompt, turns = self._fit(tokens, request)
        prompt_ids = tokens.encode(prompt)
        first = self._complete(self._loaded, prompt_ids, request.sampling, limits)
        completion = first
        if not template.read_reply(first.text):
            _go_on(limits, request)
            completion = self._complete(self._loaded, prompt_ids, _another(request.sampling), limits)
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
            adapter=self._loaded.adapter,
        )
        _log.info("%d + %d tokens in %.2f s", reply.prompt_tokens, reply.reply_tokens, reply.total_s)
        return reply

    def _complete(self, loaded: _Loaded, prompt_ids: list[int], sampling: Sampling, limits: "Limits") -> "Completion":
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
