"""One training, from checked rows to an adapter folder. It knows no command line and no Discord."""

import errno
import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from persona_chat.adapters import CARD
from persona_chat.engine.base import quiet
from persona_chat.errors import InputError, PersonaChatError, TrainingFailed
from persona_chat.fit import base_sha256
from persona_chat.settings import Settings
from training import card, examples
from training.progress import Told, draw_curve, losses
from training.recipe import Recipe
from training.rows import FEWEST, Report, Row, as_record

CHECKPOINTS = "checkpoints"
LOG = "progress.jsonl"
HELD_OUT = "held_out.jsonl"
PLAN = "run.json"
DATA = "data.json"
CURVE = "loss.png"

_DISK_BYTES = 200_000_000


@dataclass(frozen=True)
class Plan:
    """What a run does. It is kept in its folder, and `--resume` goes on with exactly this."""

    base: str
    data: tuple[str, ...]
    recipe_name: str
    recipe: Recipe
    steps: int  # 0: as many as the recipe says
    rows: int | None
    init: str | None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after `step` of `steps`; `finished` when there is an adapter."""

    step: int
    steps: int
    loss: float
    finished: bool


def open_folder(folder: Path, plan: Plan, *, resume: bool) -> Plan:
    """Make the run's folder, or take it up again. Raises InputError when it holds something else.

    Returns the plan to follow: with `resume` the one that the run began with.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --out is a folder.")
    if not resume:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty. Give another --out, or --resume to go on with the run in it.")
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _DISK_BYTES:
            raise TrainingFailed(f"The disk is full: a run needs {_DISK_BYTES // 1_000_000} MB in {folder}.")
        card.write_whole(folder / PLAN, json.dumps(asdict(plan), indent=1) + "\n")
        return plan
    try:
        kept = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        kept["recipe"]["target_modules"] = tuple(kept["recipe"]["target_modules"])
        return Plan(**{**kept, "data": tuple(kept["data"]), "recipe": Recipe(**kept["recipe"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{folder} holds no run to go on with. Leave out --resume to begin one.") from None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the run's folder. Raises InputError while another process trains in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(f"Another training works in {folder}. Wait for it, or stop it.") from None
    try:
        yield
    finally:
        os.close(handle)


def train(
    folder: Path,
    plan: Plan,
    rows: Sequence[Row],
    report: Report,
    sources: Sequence[card.Source],
    settings: Settings,
    told: Told,
    stop: Any,
) -> Outcome:
    """Train and write the adapter into `folder`; goes on from the newest whole checkpoint that is there.

    `stop` is an event: once it is set, the run ends after the step under way, with a checkpoint. Raises
    TrainingFailed, InputError when fewer than 20 rows can be used, and what loading a base raises.
    """
    if (folder / CARD).is_file():  # the last thing an earlier try did not get to
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        taken, values = losses(folder / LOG)
        return Outcome(taken[-1], taken[-1], values[-1], finished=True)
    recipe = plan.recipe
    kept = [row for row in rows if not row.held_out]
    if recipe.loss_on == "every B turn":
        kept = examples.longest_of_each(kept)
    if len(rows) < FEWEST or not kept:
        raise InputError(f"{len(rows)} usable rows are too few to learn from; at least {FEWEST} are needed.")
    with _explained(folder):
        with quiet():  # bitsandbytes logs while it is imported
            from training import model
            from training.stepping import steps_of, take_steps

        trainee = model.prepare(settings, recipe, Path(plan.init) if plan.init else None)
        renderer = examples.Renderer(trainee.tokenizer, trainee.eos_id, recipe)
        steps = plan.steps or steps_of(recipe, len(kept))
        made = examples.schedule(kept, renderer, recipe, steps)
        away = [row for row in rows if row.held_out]
        _note_data(folder, report, away, made, trainee.tokenizer)
        told("data", **{key: report.as_json()[key] for key in ("read", "kept", "dropped", "held_out")})
        told("start", steps=steps, rows=len(kept), backend=trainee.backend)
        held_out = [example for row in away[:32] if (example := renderer.example(row)) is not None]
        step, loss = take_steps(trainee, made, held_out, recipe, steps, folder / CHECKPOINTS, told, stop)
        draw_curve(folder / LOG, folder / CURVE)
        if step < steps:
            return Outcome(step, steps, loss, finished=False)
        model.save(trainee, folder, recipe.stored)
        _write_card(folder, plan, sources, trainee, steps)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    told("done", steps=steps, loss=loss)
    return Outcome(step, steps, loss, finished=True)


def _write_card(folder: Path, plan: Plan, sources: Sequence[card.Source], trainee: Any, steps: int) -> None:
    _, values = losses(folder / LOG)
    few = max(1, len(values) // 20)
    card.write_card(
        folder,
        base=trainee.choice.base,
        base_sha256=base_sha256(trainee.choice.base),
        recipe_name=plan.recipe_name,
        recipe=plan.recipe,
        sources=sources,
        steps=steps,
        backend=trainee.backend,
        init=Path(plan.init).name if plan.init else None,
        losses=(sum(values[:few]) / few, sum(values[-few:]) / few),
    )


def _note_data(
    folder: Path, report: Report, away: Sequence[Row], made: Sequence[examples.Example], tokenizer: Any
) -> None:
    lengths = sorted(len(example.input_ids) for example in made)
    report.held_out = len(away)
    report.tokens = {"fewest": lengths[0], "median": int(median(lengths)), "most": lengths[-1]}
    report.example = str(tokenizer.decode(made[0].input_ids))
    card.write_whole(folder / DATA, json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    lines = (json.dumps(as_record(row), ensure_ascii=False) + "\n" for row in away)
    card.write_whole(folder / HELD_OUT, "".join(lines))


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what ends a run into one TrainingFailed with the reason."""
    try:
        yield
    except PersonaChatError:
        raise
    except Exception as error:
        raise TrainingFailed(_why(folder, error)) from error


def _why(folder: Path, error: Exception) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch and safetensors say in words of their own that a file could not be written.
    if full or shutil.disk_usage(folder).free < 20_000_000:
        return f"The disk is full: {folder} cannot be written. Make room and go on with --resume."
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "allocate" in str(error).lower():
        return (
            "There is not enough memory for this run. Give --set rows_at_once=1, a smaller --set max_tokens, "
            "or stop what else runs here."
        )
    return f"The training failed for a reason that was not foreseen ({type(error).__name__}: {str(error)[:200]})."


def check_finite(loss: float, step: int) -> None:
    """Raise TrainingFailed when the loss is no number any more."""
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"The loss is not a number any more at step {step}. Try a lower --set learning_rate, and look at the data."
        )
