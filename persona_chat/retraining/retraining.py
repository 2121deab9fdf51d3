"""Retraining as the bot and the shell ask for it: plan, start, cancel, look. One worker does the jobs of a process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from persona_chat.engine import base as bases
from persona_chat.engine.memory import free_bytes
from persona_chat.engine.reply import ReplyEngine
from persona_chat.errors import InputError
from persona_chat.language import _
from persona_chat.process import this_process
from persona_chat.registry import Registry
from persona_chat.retraining.plan import Machine, Plan, make_plan
from persona_chat.retraining.report import standing
from persona_chat.retraining.run import Run
from persona_chat.settings import Settings
from persona_chat.store.jobs import Job, Order, State
from persona_chat.store.store import Store
from persona_chat.swap import Swap

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    job: Job
    plan: Plan


class Retraining:
    """Jobs of one database. `engine` is the one that replies in this process; the shell has none."""

    def __init__(self, settings: Settings, store: Store, registry: Registry, engine: ReplyEngine | None = None) -> None:
        self.registry = registry
        self.swap = Swap(settings, registry, engine)
        self._settings = settings
        self._store = store
        self._engine = engine
        self._asked: asyncio.Queue[_Task] = asyncio.Queue()
        self._ended: dict[int, asyncio.Event] = {}

    async def plan(self, *, steps: int | None = None, rows: int | None = None, data: Sequence[str] = ()) -> Plan:
        """Say what a retraining would do. Raises InputError: one is under way, nothing to learn from, or no room."""
        return await asyncio.to_thread(self._plan, steps, rows, data)

    async def start(self, plan: Plan, *, requested_by: int | None = None, channel_id: int | None = None) -> Job:
        """Begin a job and return it; the worker does it. Raises InputError when one is under way."""
        order = Order(
            base=plan.base,
            sources=tuple(source.called for source in plan.sources),
            steps=plan.steps,
            seed=plan.seed,
            rows=plan.rows,
            in_service=plan.serving.name,
            requested_by=requested_by,
            channel_id=channel_id,
        )
        job = await asyncio.to_thread(self._begin, order)
        self._ended[job.number] = asyncio.Event()
        self._asked.put_nowait(_Task(job, plan))
        return job

    async def ended(self, number: int) -> Job:
        """Wait for the end of a job that this process began, and return it. Raises InputError without such a job."""
        if number in self._ended:
            await self._ended[number].wait()
        return await self.find(number)

    async def find(self, number: int) -> Job:
        """Return a job. Raises InputError when there is none of this number."""
        job = await asyncio.to_thread(self._store.jobs.find, number)
        if job is None:
            raise InputError(_("There is no retraining {number}.").format(number=number))
        return job

    async def under_way(self) -> Job | None:
        """Return the job that is under way, in whichever process."""
        return await asyncio.to_thread(self._store.jobs.under_way)

    async def history(self, limit: int = 10) -> tuple[Job, ...]:
        """Return the last jobs, the newest first."""
        return await asyncio.to_thread(self._store.jobs.newest, limit)

    async def to_show(self) -> tuple[Job, ...]:
        """Return the jobs whose message in Discord does not show how they ended, and the one that goes on."""
        return await asyncio.to_thread(self._store.jobs.to_show)

    async def note_message(self, number: int, message_id: int) -> None:
        """Note the message in Discord that shows how a job goes."""
        await asyncio.to_thread(self._store.jobs.note_message, number, message_id)

    async def note_shown(self, job: Job) -> None:
        """Note that the job's message shows how it ended, or never will."""
        await asyncio.to_thread(self._store.jobs.note_shown, job.number, job.state)

    async def cancel(self, number: int) -> Job:
        """Ask for the end of a job, in whichever process it runs; return it as it is then.

        Raises InputError when it has ended, or its adapter is being put in service already.
        """
        await self.recover()
        if not await asyncio.to_thread(self._store.jobs.ask_to_cancel, number):
            job = await self.find(number)
            if job.state.under_way:
                text = _("Retraining {number} is putting its adapter in service, so there is nothing to cancel.")
            else:
                text = _("Retraining {number} has ended already ({state}), so there is nothing to cancel.")
            raise InputError(text.format(number=number, state=standing(job)))
        return await self.find(number)

    async def recover(self) -> Job | None:
        """See that a job whose process is gone counts as interrupted, and that nothing of it runs any more.

        Returns it, when there was one. To be called when a process starts; `plan` and `start` do it too.
        """
        return await asyncio.to_thread(self._recover)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Do the jobs that are begun inside the block. At its end one that still runs is interrupted."""
        worker = asyncio.create_task(self._work(), name="retraining")
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        while True:
            task = await self._asked.get()
            run = Run(task.job, task.plan, self._settings, self._store, self.registry, self.swap, self._engine)
            try:
                await run.go()
            finally:
                self._ended[task.job.number].set()

    def _plan(self, steps: int | None, rows: int | None, data: Sequence[str]) -> Plan:
        self._recover()
        if (job := self._store.jobs.under_way()) is not None:
            raise _busy(job)
        choice = bases.choose(self._settings)
        return make_plan(
            self._settings,
            choice.base,
            self.swap.serving(),
            Machine(choice.device.partition(":")[0], free_bytes(choice.device)),
            pace=self._store.jobs.pace(choice.base),
            steps=steps,
            rows=rows,
            data=data,
            can_pause=self._engine is not None,
        )

    def _begin(self, order: Order) -> Job:
        self._recover()
        job = self._store.jobs.begin(order, this_process())
        if job is None:
            raise _busy(self._store.jobs.under_way())
        return job

    def _recover(self) -> Job | None:
        job = self._store.jobs.under_way()
        if job is None or job.owner.alive:
            return None
        if job.child is not None:
            job.child.end()
        serves = self.registry.in_service() or "the plain base"
        reason = f"The program that ran it ended while it was {job.state}. In service is {serves}."
        if not self._store.jobs.end(job.number, State.INTERRUPTED, reason):
            return None
        log.warning("retraining %s was interrupted while %s", job.number, job.state)
        return self._store.jobs.find(job.number)


def _busy(job: Job | None) -> InputError:
    called = _("Retraining {number}").format(number=job.number) if job is not None else _("A retraining")
    text = _("{retraining} is under way, and there is one at a time. Wait for its end, or cancel it.")
    return InputError(text.format(retraining=called))
