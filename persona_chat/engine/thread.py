"""The one model thread: it owns every torch call. Calls and jobs come in, futures go out.

It knows nothing of models. A thread of our own instead of ThreadPoolExecutor: that one's queue has no bound, its
workers are joined at interpreter exit, and a worker that died is not noticed.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from persona_chat.engine.line import Asked, Line, Promise
from persona_chat.errors import EngineBusy, EngineFailed, trace

T = TypeVar("T")
J = TypeVar("J")

THREAD_NAME = "persona-chat-model"

_log = logging.getLogger(__name__)


class Work(Protocol[J]):
    """Does several jobs at once, step by step. All but `break_all` is called on the model thread."""

    def served(self) -> Mapping[object, int]:
        """Return how many jobs of each owner are under way; empty when there is nothing to do."""
        ...

    def takes(self) -> bool:
        """Whether another one may begin."""
        ...

    def begin(self, asked: Asked[J]) -> None:
        """Begin with one; its promise is kept or broken now or later."""
        ...

    def turn(self) -> None:
        """Go on with all of them by one step."""
        ...

    def break_all(self) -> None:
        """Fail all that are under way. From any thread."""
        ...


class _Call:
    """Something to be done on the thread. `barrier`: after all jobs with a lower number, and before all others."""

    def __init__(self, work: Callable[[], Any], barrier: int | None) -> None:
        self._work = work
        self.barrier = barrier
        self.promise = Promise()

    def run(self) -> None:
        """Do it and hand out its result or exception; only what ends the thread is raised."""
        if self.promise.future.cancelled():
            return
        try:
            result = self._work()
        except Exception as error:
            self.promise.fail(error)
        except BaseException:
            self.promise.fail(EngineFailed())
            raise
        else:
            self.promise.keep(result)


class ModelThread(Generic[J]):
    """A daemon thread that does calls one after the other, and steps of its work's jobs in between.

    `queue_size` jobs may wait besides those that are under way.
    """

    def __init__(self, queue_size: int, work: Work[J]) -> None:
        self._queue_size = queue_size
        self._work = work
        self._calls: deque[_Call] = deque()
        self._line: Line[J] = Line()
        self._asked = 0
        self._running: _Call | None = None
        self._step_began = 0.0
        self._closed = False
        # Guards all of this: no job is left behind unanswered when the thread is closed or dies.
        self._door = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], *, after_all: bool = False) -> asyncio.Future[T]:
        """Call something on the thread and return a future of the running event loop; it is always resolved.

        It is called between two steps of the jobs, or `after_all` that were asked for before; then those that are
        asked for later wait for it. Raises EngineFailed when the thread is closed or has died.
        """
        with self._door:
            self._check_open()
            call = _Call(work, self._asked if after_all else None)
            self._calls.append(call)
            self._door.notify()
        return call.promise.future

    def ask(self, asked: Asked[J]) -> None:
        """Take a job; its promise is always kept or broken.

        Raises EngineBusy when too many wait, and EngineFailed when the thread is closed or has died.
        """
        with self._door:
            self._check_open()
            if len(self._line) >= self._queue_size:
                raise EngineBusy
            asked.number, self._asked = self._asked, self._asked + 1
            self._line.join(asked)
            self._line.tell_places(self._work.served())
            self._door.notify()

    def withdraw(self, asked: Asked[J]) -> None:
        """Take a job that nobody wants any more out of the line."""
        with self._door:
            self._line.leave(asked)
            self._line.tell_places(self._work.served())
            self._door.notify()

    def waiting(self) -> int:
        """Return how many jobs wait, without those that are under way."""
        with self._door:
            return len(self._line)

    @property
    def alive(self) -> bool:
        """Whether it works, or waits for work."""
        return self._thread.is_alive() and not self._closed

    def stuck_for(self) -> float:
        """Return for how many seconds the present step of the jobs goes on, 0 for none. Calls may take long."""
        began = self._step_began
        return time.perf_counter() - began if began else 0.0

    def close(self) -> None:
        """Take nothing more and fail everyone who waits. Returns at once, also when the thread hangs."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._fail_all()
                self._door.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _check_open(self) -> None:
        if not self.alive:
            raise EngineFailed

    def _run(self) -> None:
        try:
            while True:
                with self._door:
                    self._door.wait_for(self._has_work)
                    if self._closed:
                        return
                    call = self._running = self._calls.popleft() if self._may_call() else None
                    asked = self._next() if call is None else None
                    if asked is not None:
                        self._line.take(asked)
                if call is not None:
                    call.run()
                    self._running = None
                else:
                    self._step(asked)
        finally:
            with self._door:
                self._closed = True
                self._fail_all()

    def _step(self, asked: Asked[J] | None) -> None:
        self._step_began = time.perf_counter()
        try:
            if asked is not None:
                self._work.begin(asked)
                with self._door:
                    self._line.tell_places(self._work.served())
            self._work.turn()
        except Exception as error:
            _log.error("the model thread failed with %s", trace(error))
            self._work.break_all()
            if asked is not None:
                asked.promise.fail(EngineFailed())
        except BaseException:
            if asked is not None:
                asked.promise.fail(EngineFailed())
            raise
        self._step_began = 0.0

    def _has_work(self) -> bool:
        return self._closed or self._may_call() or bool(self._work.served()) or self._next() is not None

    def _may_call(self) -> bool:
        """Whether the first call can be done now."""
        if not self._calls:
            return False
        barrier = self._calls[0].barrier
        return barrier is None or not (self._work.served() or self._line.next({}, barrier))

    def _next(self) -> Asked[J] | None:
        """The job that begins now."""
        if not len(self._line) or not self._work.takes():
            return None
        barrier = next((call.barrier for call in self._calls if call.barrier is not None), None)
        return self._line.next(self._work.served(), barrier)

    def _fail_all(self) -> None:
        """Fail everyone who waits. The door is held."""
        if self._running is not None:
            self._running.promise.fail(EngineFailed())
        for call in self._calls:
            call.promise.fail(EngineFailed())
        self._calls.clear()
        for asked in self._line.clear():
            asked.promise.fail(EngineFailed())
        self._work.break_all()
