"""The command `train`: options in, a run folder out. Everything heavy is imported once the data is known to be good."""

import signal
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from persona_chat.engine.cores import share_cores
from persona_chat.errors import InputError, PersonaChatError
from persona_chat.settings import Settings, load_settings
from training import card, rows
from training.progress import Style, Teller
from training.recipe import choose_recipe, read_override
from training.run import CURVE, LOG, Outcome, Plan, alone_in, begin, take_up, train
from training.tied import end_with_standard_input

_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stop:
    """Set by SIGINT or SIGTERM: the run ends after the step under way. A second signal ends it at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = 0
        for number in _STOPPED:
            signal.signal(number, self._asked)

    def is_set(self) -> bool:
        """Whether the run should end."""
        return self._event.is_set()

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        self.exit_code = _STOPPED[signal.Signals(number)]
        self._event.set()
        signal.signal(number, signal.SIG_DFL)


def command(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="Rows to learn from: a .jsonl, .jsonl.gz, .parquet or .csv file, or a hub id. Repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The run's folder; the adapter ends up in it.")] = Path("runs/new"),
    base: Annotated[str | None, typer.Option("--base", help="A hub id, a folder, or `embedded`.")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="`original` or `small`; else the base's own.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=0, help="How many steps; 0: the recipe's epochs.")] = 0,
    row_limit: Annotated[int | None, typer.Option("--rows", min=1, help="At most so many rows of each source.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The same seed trains the same adapter.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a field of the recipe: field=value.")
    ] = None,
    init: Annotated[Path | None, typer.Option("--init", help="Go on from this adapter's weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")] = False,
    precision: Annotated[str | None, typer.Option("--precision", help="nf4, bf16 or fp32; else what is best.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where the converted model lies.")] = None,
    progress: Annotated[
        Style, typer.Option("--progress", help="bar, json (lines on standard output) or none.")
    ] = "bar",
    tied: Annotated[bool, typer.Option("--tied", help="End at once when standard input ends.")] = False,
) -> None:
    """Fine-tune an adapter on rows of dialogue."""
    if tied:
        end_with_standard_input()
    share_cores()
    stop = Stop()
    given = load_settings(base=base, data_dir=data_dir, precision=precision)
    new = None if resume else _plan(given, data or [], recipe, steps, row_limit, seed, change or [], init)
    with alone_in(out, make=not resume):
        if new is not None:
            begin(out, new)
        plan = new or take_up(out)
        outcome = _run(out, plan, data_dir, progress, stop, resume=resume)
    if not outcome.finished:
        raise typer.Exit(stop.exit_code)


def _run(out: Path, plan: Plan, data_dir: Path | None, progress: Style, stop: Stop, *, resume: bool) -> Outcome:
    settings = load_settings(base=plan.base, data_dir=data_dir, precision=plan.precision)
    told = Teller(progress, out / LOG)
    try:
        found, report = rows.load(plan.data, plan.rows)
        sources = [card.describe_source(source, report.kept_of[source]) for source in plan.data]
        if progress == "bar":
            _show_report(report)
        _import_unsloth()
        with told.shown():
            outcome = train(out, plan, found, report, sources, settings, told, stop, resume=resume)
    except PersonaChatError as error:
        told("failed", text=str(error))
        raise
    _say_end(out, outcome, told, quiet=progress != "bar")
    return outcome


def _plan(
    settings: Settings,
    data: list[str],
    recipe: str | None,
    steps: int,
    row_limit: int | None,
    seed: int | None,
    changes: list[str],
    init: Path | None,
) -> Plan:
    if not data:
        raise InputError("Say what to learn from: --data FILE, or --data owner/name for a data set of the hub.")
    from persona_chat.engine.base import name_of

    base = name_of(settings)
    name, chosen = choose_recipe(recipe, base, **dict(read_override(text) for text in changes))
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    found = {source: Path(source).expanduser().resolve() for source in data}
    sources = tuple(str(file) if file.is_file() else source for source, file in found.items())
    digests = tuple(card.sha256_of(file) if file.is_file() else None for file in found.values())
    start = str(init.resolve()) if init else None
    return Plan(base, sources, name, chosen, steps, row_limit, start, settings.precision, digests)


def _import_unsloth() -> None:
    """Import unsloth before trl, transformers and peft, which it changes; on CUDA only."""
    import torch

    if torch.cuda.is_available() and find_spec("unsloth") is not None:
        import unsloth  # noqa: F401


def _show_report(report: rows.Report) -> None:
    typer.echo(f"{report.read:,} rows read, {report.kept:,} can be used.", err=True)
    for reason, count in report.dropped.most_common():
        typer.echo(f"  dropped, {reason}: {count:,} (the first: {report.places[reason]})", err=True)


def _say_end(out: Path, outcome: Outcome, told: Teller, *, quiet: bool) -> None:
    if outcome.finished:
        if not quiet:
            typer.echo(f"The adapter is in {out}; the loss's curve is {out / CURVE}.")
        return
    text = (
        f"Stopped after step {outcome.step} of {outcome.steps}; a checkpoint is kept. "
        f"Go on with: persona-chat train --resume --out {out}"
    )
    told("stopped", step=outcome.step, text=text)
    if not quiet:
        typer.echo(text, err=True)
