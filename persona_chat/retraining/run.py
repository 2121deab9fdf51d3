"""One job from its first step to its end, in the process that owns it: train, compare, judge, swap."""

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from persona_chat.adapters import CARD
from persona_chat.engine.reply import ReplyEngine
from persona_chat.errors import AdapterRefused, PersonaChatError, TrainingFailed, trace
from persona_chat.process import Process
from persona_chat.registry import NONE, Registry
from persona_chat.retraining.gate import MEASURED, YARDSTICK, YARDSTICK_MEASURED, Verdict, judge
from persona_chat.retraining.plan import Plan
from persona_chat.retraining.program import run_program
from persona_chat.retraining.yardstick import own_dialogues, write_yardstick
from persona_chat.settings import Settings
from persona_chat.store.jobs import Job, State
from persona_chat.store.store import Store
from persona_chat.swap import PINNED, Swap

LOOK_S = 1.0
"""How often the store is told how a job goes, and asked whether it is to be cancelled."""

_HELD_OUT = "held_out.jsonl"  # as the trainer calls the rows that it never learns from
_YARDSTICK = "yardstick.jsonl"
_LAST_WORDS = "last_words.txt"

STOPPED = "The program that ran it was stopped."
UNFORESEEN = "Something unforeseen went wrong; it has been noted in the log."

log = logging.getLogger(__name__)


class _Cancelled(Exception):  # noqa: N818
    """Somebody asked for the job's end."""


class Run:
    """A job that is under way. `engine` is the one that replies in this process, if there is one."""

    def __init__(
        self,
        job: Job,
        plan: Plan,
        settings: Settings,
        store: Store,
        registry: Registry,
        swap: Swap,
        engine: ReplyEngine | None,
    ) -> None:
        self._job = job
        self._plan = plan
        self._settings = settings
        self._jobs = store.jobs
        self._registry = registry
        self._swap = swap
        self._engine = engine if plan.pauses else None
        self._name = ""
        self._folder = Path()
        self._noted_at = 0.0
        self._first: tuple[int, float] | None = None  # the first step that was told of, and when
        self._report: Mapping[str, Any] | None = None

    async def go(self) -> None:
        """Do the job to its end, which is noted whatever happens. Only being cancelled is raised."""
        try:
            state, reason = await self._work()
        except _Cancelled:
            state, reason = State.CANCELLED, None
        except PersonaChatError as error:
            state, reason = State.FAILED, str(error)
        except asyncio.CancelledError:
            await asyncio.shield(self._end(State.INTERRUPTED, STOPPED))
            raise
        except Exception as error:
            log.error("retraining %s failed: %s", self._job.number, trace(error))
            state, reason = State.FAILED, UNFORESEEN
        await self._end(state, reason)

    async def _work(self) -> tuple[State, str | None]:
        await asyncio.to_thread(self._make_folder)
        await self._note(run_folder=str(self._folder))
        try:
            if self._engine is not None:
                await self._engine.rest()
            await self._unless_cancelled(self._program(self._train_arguments()))
            await self._go_on(State.EVALUATING)
            verdict = await self._compare()
        finally:
            if self._engine is not None:
                await self._engine.wake()
        await asyncio.to_thread(self._registry.import_, str(self._folder), name=self._name)
        await self._note(candidate=self._name)
        return await self._promote(verdict)

    async def _compare(self) -> Verdict:
        try:
            scores, service, rows = await self._measure(self._folder / _HELD_OUT, MEASURED)
            own = own_dialogues()
            if own is not None and [source.address for source in self._plan.sources] != [str(own)]:
                file = self._folder / _YARDSTICK
                await asyncio.to_thread(write_yardstick, own, file)
                more, more_service, _ = await self._measure(file, YARDSTICK_MEASURED)
                scores |= {f"{YARDSTICK}{name}": value for name, value in more.items()}
                service |= {f"{YARDSTICK}{name}": value for name, value in more_service.items()}
        except TrainingFailed as error:
            return Verdict(False, (f"it could not be compared. {error}".removesuffix("."),), ())
        await self._note(candidate_scores=scores, service_scores=service)
        await asyncio.to_thread(self._write_scores, scores)
        return judge(scores, service, rows)

    async def _measure(self, data: Path, metrics: str) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Return what the candidate and the adapter in service reach on the data, and on how many rows."""
        self._report = None
        await self._unless_cancelled(self._program(self._evaluate_arguments(data, metrics)))
        report = self._report
        if report is None:
            raise TrainingFailed("The evaluator ended without a result.")
        try:
            return dict(report["metrics"]), dict(report["against"][0]["metrics"]), int(report["rows"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise TrainingFailed("The evaluator said something that is not understood.") from None

    async def _promote(self, verdict: Verdict) -> tuple[State, str | None]:
        """Put the candidate in service, or say why it stays parked."""
        if not verdict.passed:
            return State.PARKED, f"It did not pass: {'; '.join(verdict.reasons)}."
        serving = await asyncio.to_thread(self._swap.serving)
        if not serving.followed:
            return State.PARKED, PINNED
        if serving.name != self._plan.serving.name:
            return State.PARKED, f"Meanwhile {serving.name or 'the plain base'} was put in service."
        await self._go_on(State.PROMOTING)
        try:
            await self._swap.use(self._name, f"retraining {self._job.number}")
        except AdapterRefused as error:
            return State.PARKED, str(error)
        return State.PROMOTED, None

    async def _end(self, state: State, reason: str | None) -> None:
        # It is read in Discord too, where nobody needs to know our folders.
        said = reason.replace(str(self._folder), self._folder.name) if reason and self._name else reason
        await asyncio.to_thread(self._jobs.end, self._job.number, state, said)
        log.info("retraining %s: %s", self._job.number, state)

    async def _go_on(self, state: State) -> None:
        if not await asyncio.to_thread(self._jobs.go_on, self._job.number, state):
            raise _Cancelled

    async def _note(self, **values: Any) -> None:
        await asyncio.to_thread(lambda: self._jobs.note(self._job.number, **values))

    async def _unless_cancelled(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, and end it when somebody asks for the job's end. Raises _Cancelled then."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)
                job = await asyncio.to_thread(self._jobs.find, self._job.number)
                if not task.done() and (job is None or job.cancel_asked or not job.state.under_way):
                    raise _Cancelled
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        task.result()

    async def _program(self, arguments: list[str]) -> None:
        async def started(process: Process) -> None:
            await asyncio.to_thread(self._jobs.note_child, self._job.number, process)

        try:
            await run_program(arguments, self._folder / _LAST_WORDS, self._hear, started)
        finally:
            await asyncio.shield(asyncio.to_thread(self._jobs.note_child, self._job.number, None))

    async def _hear(self, said: Mapping[str, Any]) -> None:
        """Take a line of the trainer's or the evaluator's; the store is told once a second."""
        if "metrics" in said:
            self._report = said
        if said.get("event") != "step":
            return
        try:
            step, loss, left = int(said["step"]), float(said["loss"]), float(said["seconds_left"])
        except (KeyError, TypeError, ValueError):
            raise TrainingFailed("The trainer said something that is not understood.") from None
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now - self._noted_at < LOOK_S and step < self._job.order.steps:
            return
        self._noted_at = now
        first, at = self._first
        pace = {"step_seconds": (now - at) / (step - first)} if step > first else {}
        await self._note(step=step, loss=loss, seconds_left=left, **pace)

    def _make_folder(self) -> None:
        """Make the run's folder. Its name is the candidate's too, so neither may be taken."""
        runs, kept = self._settings.data_dir / "runs", self._settings.data_dir / "adapters"
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        name, number = f"retrain-{self._job.number}", 1
        while (runs / name).exists() or (kept / name).exists():
            number += 1
            name = f"retrain-{self._job.number}-{number}"
        self._name, self._folder = name, runs / name
        self._folder.mkdir(mode=0o700)

    def _train_arguments(self) -> list[str]:
        plan = self._plan
        arguments = ["train", "--progress", "json", "--out", str(self._folder), "--seed", str(plan.seed)]
        arguments += ["--steps", str(plan.steps), *self._where()]
        for source in plan.sources:
            arguments += ["--data", source.address]
        if plan.row_limit is not None:
            arguments += ["--rows", str(plan.row_limit)]
        if plan.init is not None:
            arguments += ["--init", str(plan.init)]
        return arguments

    def _evaluate_arguments(self, data: Path, metrics: str) -> list[str]:
        served = self._plan.serving.folder
        arguments = ["evaluate", "--json", "--progress", "json", "--metrics", metrics, *self._where()]
        arguments += ["--adapter", str(self._folder), "--against", str(served) if served is not None else NONE]
        return [*arguments, "--data", str(data), "--rows", str(self._plan.judged_rows)]

    def _where(self) -> list[str]:
        return ["--base", self._plan.base, "--data-dir", str(self._settings.data_dir)]

    def _write_scores(self, scores: Mapping[str, Any]) -> None:
        """Put what was measured into the candidate's card."""
        file = self._folder / CARD
        try:
            card = json.loads(file.read_text(encoding="utf-8")) | {"scores": dict(scores)}
            beside = file.with_name(f".{CARD}.tmp")
            beside.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            beside.rename(file)
        except (OSError, ValueError, TypeError):
            raise TrainingFailed(f"The card of the new adapter in {self._folder} cannot be read or written.") from None
