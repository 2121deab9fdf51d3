"""The engine that runs the model in this process, on one thread of its own. Importing it imports no torch."""

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

from persona_chat import notes, template
from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.engine.line import Asked
from persona_chat.engine.loaded import form_of, load, with_adapter
from persona_chat.engine.memory import give_back
from persona_chat.engine.reply import (
    EngineFacts,
    EngineState,
    Follow,
    Progress,
    Prompt,
    Reply,
    ReplyRequest,
    Wait,
    plainly,
)
from persona_chat.engine.row import Limits
from persona_chat.engine.thread import ModelThread
from persona_chat.engine.tokens import Tokens
from persona_chat.engine.writer import Job, Writer
from persona_chat.errors import BaseUnavailable, EngineFailed, EngineLost, EngineResting, PersonaChatError, trace
from persona_chat.persona import Persona
from persona_chat.settings import Settings

T = TypeVar("T")

HANG_S = 60.0
"""A step takes less than a second; one that takes so long does not end any more."""

RESTARTS = 3
"""So often in a row, with no reply between, the model is begun again before it is given up."""

RELOAD_S = 600.0
"""It was loaded once, so nothing is fetched any more; loading that takes so long does not end."""

LOOK_S = 1.0
RETRY_S = 30.0

_JOIN_S = 5.0

_log = logging.getLogger(__name__)


class LocalEngine:
    """A ReplyEngine on a model in this process. `adapter` is the folder of the one that it starts with.

    `progress` is told how far loading is, from the model thread. `wait` wraps the future that a caller awaits: an
    offline Discord that counts busy tasks hands in its own; everywhere else it changes nothing. `lost` is set when the
    model cannot be begun again.
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
        self._thread: ModelThread[Job] | None = None
        self._writer = Writer(self._fit)
        self._tokens: Tokens | None = None
        self._tokens_lock = threading.Lock()
        self._closing = threading.Event()
        self._watching: asyncio.Task[None] | None = None
        self._resting = False
        self._restarts = 0
        self.lost = asyncio.Event()

    async def start(self) -> EngineFacts:
        """Load the base and the adapter. Raises BaseUnavailable or AdapterRefused."""
        try:
            facts = await self._run(self._opened().submit(self._load))
        except EngineFailed:
            raise BaseUnavailable(
                f"The base {self._settings.base} could not be loaded, for a reason that is in the log. "
                "PERSONA_CHAT_BASE=embedded is the one that always can."
            ) from None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        return facts

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        """Answer the dialogue's last turn; see ReplyEngine."""
        if self._thread is None:
            raise EngineFailed
        if self._resting:
            raise EngineResting
        stop = threading.Event()
        limits = Limits(time.perf_counter() + request.deadline_s, (stop, self._closing))
        # Those without a channel share nothing with each other.
        owner = request.channel if request.channel is not None else stop
        asked = Asked(owner, Job(request, limits, follow.grown), follow.placed)
        thread = self._thread
        thread.ask(asked)
        try:
            reply: Reply = await self._run(asked.promise.future)
            self._restarts = 0
            return reply
        except EngineLost:
            _log.critical("the model's device does nothing more in this process, which is given up")
            self.lost.set()
            raise EngineFailed from None
        finally:
            stop.set()  # matters when the awaiting task was cancelled
            thread.withdraw(asked)

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return exactly what `reply` would give the model. Needs the tokenizer only, not `start`."""

        def render() -> Prompt:
            fitted = self._window(request)
            return Prompt(self._render(request, fitted), len(fitted.turns), fitted.notes)

        return await self._run(self._opened().submit(render))

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in tokens; raise PersonaTooLong when it does not fit alone."""

        def count() -> int:
            allowed, counted = self._settings.persona_tokens, self._tokenizer().count
            return template.check_persona(persona, allowed, counted, form=self._form())

        if self._tokens is None:  # loading belongs to the model thread, which `close` can end
            return await self._run(self._opened().submit(count))
        # Counting does not wait behind replies: Discord wants an answer within 3 s.
        return await asyncio.to_thread(count)

    def state(self) -> EngineState:
        """Return what there is to do; see ReplyEngine."""
        thread, loaded = self._thread, self._writer.loaded
        if thread is None or loaded is None:
            return EngineState(ready=False)
        return EngineState(
            ready=thread.alive and not self._resting and not self.lost.is_set(),
            waiting=thread.waiting(),
            writing=sum(self._writer.served().values()),
            kept=len(loaded.batch.kept),
            kept_bytes=loaded.batch.kept.size,
        )

    async def use(self, adapter: Path | None) -> str | None:
        """Serve another adapter from the next reply on; see ReplyEngine. Raises EngineFailed before `start`."""
        if self._thread is None:
            raise EngineFailed
        return await self._run(self._thread.submit(lambda: self._exchange(adapter), after_all=True))

    async def rest(self) -> None:
        """Let go of the model until `wake`, after the replies that wait already; see ReplyEngine."""
        if self._thread is None:
            raise EngineFailed
        self._resting = True
        await self._run(self._thread.submit(self._let_go, after_all=True))

    async def wake(self) -> None:
        """Load the model again; see ReplyEngine."""
        await self.start()
        self._resting = False

    async def close(self) -> None:
        """Let go of the model. Whoever still waits gets EngineFailed. Safe to call twice."""
        self._closing.set()
        if self._watching is not None and not self._watching.done():
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        if self._thread is not None:
            self._thread.close()
            if not await asyncio.to_thread(self._thread.join, _JOIN_S):
                _log.info("the model thread is still busy after %g s", _JOIN_S)
        self._writer.loaded = None

    def _opened(self) -> ModelThread[Job]:
        if self._thread is None:
            self._thread = ModelThread(self._settings.queue_size, self._writer)
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

    async def _watch(self) -> None:
        """Where the model thread has died or hangs, let its callers go and begin again with a new one."""
        while not self.lost.is_set():
            await asyncio.sleep(LOOK_S)
            thread = self._thread
            if thread is None or (thread.alive and thread.stuck_for() < HANG_S):
                continue
            _log.error("the model thread %s; it is started again", "hangs" if thread.alive else "has died")
            self._leave(thread)
            if not self._resting:
                await self._restart()

    def _leave(self, thread: ModelThread[Job]) -> None:
        """Let a thread be, and have none."""
        thread.close()
        self._closing.set()  # what hangs may come to its senses
        self._closing, self._adapter = threading.Event(), self._served_folder()
        self._writer, self._thread = Writer(self._fit), None

    async def _restart(self) -> None:
        while self._may_restart():
            thread = self._opened()
            try:
                await asyncio.wait_for(self._run(thread.submit(self._load)), RELOAD_S)
            except TimeoutError:
                _log.error("the model thread hangs while it loads the model")
                self._leave(thread)
            except PersonaChatError as error:
                _log.error("the model thread could not be started again, the next try is in %g s: %s", RETRY_S, error)
                if not thread.alive:  # it died of loading
                    self._leave(thread)
                await asyncio.sleep(RETRY_S)
            else:
                _log.info("the model thread serves again")
                return

    def _may_restart(self) -> bool:
        """Count one more restart; after too many in a row the model is lost."""
        self._restarts += 1
        if self._restarts > RESTARTS:
            _log.critical("the model was begun again %d times and is given up", RESTARTS)
            self.lost.set()
        return not self.lost.is_set()

    # What follows runs on the model thread, except where it says otherwise.

    def _load(self) -> EngineFacts:
        loaded = load(self._settings, self._adapter, self._tokenizer, self._tell)
        self._writer.loaded = loaded
        return loaded.facts

    def _let_go(self) -> None:
        self._adapter = self._served_folder()
        self._writer.loaded = None
        give_back()

    def _served_folder(self) -> Path | None:
        """The folder of the adapter that serves, or is to when the model is there again. Called from any thread."""
        if (loaded := self._writer.loaded) is None:
            return self._adapter
        return loaded.adapter.folder if loaded.adapter is not None else None

    def _exchange(self, folder: Path | None) -> str | None:
        if (loaded := self._writer.loaded) is None:
            raise EngineFailed
        self._writer.loaded = exchanged = with_adapter(loaded, folder)
        return exchanged.adapter_name

    def _form(self) -> str:
        """Return the form of the prompts: that of the adapter which serves, or is to. Called from several threads."""
        if (loaded := self._writer.loaded) is not None:
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

    def _fit(self, request: ReplyRequest) -> tuple[tuple[int, ...], int]:
        """Return the tokens of the prompt, and how many turns are in it."""
        fitted = self._window(request)
        return tuple(self._tokenizer().encode(self._render(request, fitted))), len(fitted.turns)

    def _window(self, request: ReplyRequest) -> notes.Fitted:
        return notes.fit(request, self._settings.context_tokens, self._tokenizer().count, **self._how(request))

    def _render(self, request: ReplyRequest, fitted: notes.Fitted) -> str:
        return template.render(fitted.persona, fitted.turns, **self._how(request))

    def _how(self, request: ReplyRequest) -> dict[str, Any]:
        """How the prompt is written."""
        return {"show_names": self._settings.show_names, "form": self._form(), "begun": request.begun}
