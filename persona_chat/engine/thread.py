"""The one model thread: it owns every torch call. Jobs come in through a bounded queue and go out as futures.

It knows nothing of models. A thread of our own instead of ThreadPoolExecutor: that one's queue has no bound, its
workers are joined at interpreter exit, and a worker that died is not noticed.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from persona_chat.errors import EngineBusy, EngineFailed

T = TypeVar("T")

THREAD_NAME = "persona-chat-model"

_log = logging.getLogger(__name__)


class _Job:
    """One piece of work and the future that somebody on an event loop awaits."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> None:
        """Do the work and hand out its result or exception; only what ends the thread is raised."""
        if self.future.cancelled():
            return
        try:
            result = self._work()
        except Exception as error:
            self.fail(error)
        except BaseException:
            self.fail(EngineFailed())
            raise
        else:
            self._hand_out(lambda: self.future.set_result(result))

    def fail(self, error: Exception) -> None:
        """Give the awaiter this error. A future cannot hold StopIteration."""
        fitting = EngineFailed() if isinstance(error, StopIteration) else error
        self._hand_out(lambda: self.future.set_exception(fitting))

    def _hand_out(self, resolve: Callable[[], None]) -> None:
        def when_open() -> None:
            if not self.future.done():
                resolve()

        try:
            self._loop.call_soon_threadsafe(when_open)
        except RuntimeError:  # the loop is closed: nobody awaits any more
            _log.debug("a job ended after its event loop")


class ModelThread:
    """A daemon thread that does jobs one after the other. `queue_size` jobs may wait besides the running one."""

    def __init__(self, queue_size: int) -> None:
        self._queue_size = queue_size
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running: _Job | None = None
        self._closed = False
        # Guards "closed or dead" against a job that is being queued: no job is left behind unanswered.
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], *, always: bool = False) -> asyncio.Future[T]:
        """Queue the work and return a future of the running event loop; it is always resolved.

        Raises EngineBusy when the queue is full, unless it is to be taken `always`, and EngineFailed when the
        thread is closed or has died.
        """
        job = _Job(work)
        with self._door:
            if self._closed or not self._thread.is_alive():
                raise EngineFailed
            if self._jobs.qsize() >= self._queue_size and not always:
                raise EngineBusy
            self._jobs.put(job)
        return job.future

    def waiting(self) -> int:
        """Return how many jobs wait, without the running one."""
        return self._jobs.qsize()

    def close(self) -> None:
        """Take no more jobs and fail everyone who waits, the running job's awaiter included. Returns at once."""
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._fail_all()
            self._jobs.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                self._running = job
                job.run()
                self._running = None
        finally:
            with self._door:
                self._closed = True
                self._fail_all()

    def _fail_all(self) -> None:
        if self._running is not None:
            self._running.fail(EngineFailed())
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.fail(EngineFailed())
