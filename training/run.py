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

NO_RUN = "{folder} holds no run to go on with. Leave out --resume to begin one."

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
    precision: str
    data_sha256: tuple[str | None, ...] = ()  # of each source that is a file


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after `step` of `steps`; `finished` when there is an adapter."""

    step: int
    steps: int
    loss: float
    finished: bool


@contextmanager
def alone_in(folder: Path, *, make: bool) -> Iterator[None]:
    """Hold the run's folder, making it first if wanted, until the end.

    Raises InputError when it is no folder or is not there, and while another process trains in it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --out is a folder.")
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise InputError(NO_RUN.format(folder=folder))
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


def begin(folder: Path, plan: Plan) -> None:
    """Write the plan into the empty folder. Raises InputError when it holds something already."""
    if any(folder.iterdir()):
        raise InputError(f"{folder} is not empty. Give another --out, or --resume to go on with the run in it.")
    if shutil.disk_usage(folder).free < _DISK_BYTES:
        raise TrainingFailed(f"The disk is full: a run needs {_DISK_BYTES // 1_000_000} MB in {folder}.")
    card.write_whole(folder / PLAN, json.dumps(asdict(plan), indent=1) + "\n")


def take_up(folder: Path) -> Plan:
    """Return the plan of the run in the folder. Raises InputError when there is none, or its data has changed."""
    try:
        kept = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        recipe = Recipe(**{**kept["recipe"], "target_modules": tuple(kept["recipe"]["target_modules"])})
        lists = {name: tuple(kept[name]) for name in ("data", "data_sha256")}
        plan = Plan(**{**kept, **lists, "recipe": recipe})
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(NO_RUN.format(folder=folder)) from None
    for source, digest in zip(plan.data, plan.data_sha256, strict=True):
        if digest is not None and not (Path(source).is_file() and card.sha256_of(Path(source)) == digest):
            raise InputError(
                f"{source} is not the file this run began with, so it cannot go on exactly. Put that one back, or "
                "begin another run with --init."
            )
    return plan


def train(
    folder: Path,
    plan: Plan,
    rows: Sequence[Row],
    report: Report,
    sources: Sequence[card.Source],
    settings: Settings,
    told: Told,
    stop: Any,
    *,
    resume: bool,
) -> Outcome:
    """Train and write the adapter into `folder`; with `resume` it goes on from the newest whole checkpoint.

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
        checkpoints = folder / CHECKPOINTS
        step, loss = take_steps(trainee, made, held_out, recipe, steps, checkpoints, told, stop, resume=resume)
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
