"""`persona-chat retrain`: the same job as `/retrain`, from a shell."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from persona_chat.errors import InputError, TrainingFailed
from persona_chat.options import Base, DataDir, database_url, settings_of

if TYPE_CHECKING:
    from persona_chat.retraining.plan import Plan
    from persona_chat.retraining.retraining import Retraining
    from persona_chat.settings import Settings
    from persona_chat.store.jobs import Job

LOOK_S = 0.5

CANCELLED, NOT_PROMOTED = 130, 1


def retrain(
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="How many steps; else the setting's.")] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=20, help="At most so many rows of each source.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A file or a hub id to learn from, in place of the settings'. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking.")] = False,
    base: Base = None,
    data_dir: DataDir = None,
    demo: Annotated[bool, typer.Option("--demo", help="For the demo's adapter, not the bot's.")] = False,
) -> None:
    """Train the adapter in service further, compare, and put the new one in service if it is as good.

    Ends with 0 when it is, 1 when it was parked, 12 when the training failed, 130 when it was cancelled.
    """
    from persona_chat.retraining.plan import describe
    from persona_chat.retraining.report import card, outcome
    from persona_chat.store.jobs import State

    with _opened(settings_of(base=base, data_dir=data_dir), demo=demo) as retraining:
        plan = asyncio.run(retraining.plan(steps=steps, rows=rows, data=data or []))
        for line in describe(plan):
            typer.echo(line)
        if not yes:
            typer.confirm("Begin?", abort=True)
        job = asyncio.run(_done(retraining, plan))
    for line in card(job):
        typer.echo(line)
    if job.state in (State.FAILED, State.INTERRUPTED):
        raise TrainingFailed(outcome(job))
    typer.echo(outcome(job))
    if job.state is not State.PROMOTED:
        raise typer.Exit(CANCELLED if job.state is State.CANCELLED else NOT_PROMOTED)


async def _done(retraining: "Retraining", plan: "Plan") -> "Job":
    """Do the plan and show how it goes; Ctrl-C cancels."""
    async with retraining.working():
        job = await retraining.start(plan)
        try:
            await _show(retraining, job)
        except asyncio.CancelledError:
            typer.echo("Cancelling…", err=True)
            try:
                await retraining.cancel(job.number)
            except InputError as error:  # the swap has begun
                typer.echo(str(error), err=True)
        return await retraining.ended(job.number)


async def _show(retraining: "Retraining", job: "Job") -> None:
    """Show a bar until the job's end, on standard error where somebody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from persona_chat.retraining.plan import spoken_time
    from persona_chat.store.jobs import State

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("Getting ready", total=job.order.steps)
        while job.state.under_way:
            await asyncio.sleep(LOOK_S)
            job = await retraining.find(job.number)
            doing = "Getting ready"
            if job.state is not State.TRAINING:
                doing = "Comparing"
            elif job.step and job.loss is not None and job.seconds_left is not None:
                doing = f"Learning · loss {job.loss:.2f} · {spoken_time(job.seconds_left)} left"
            shown.update(task, completed=job.step, description=doing)


@contextmanager
def _opened(settings: "Settings", *, demo: bool) -> "Iterator[Retraining]":
    from persona_chat.engine import base
    from persona_chat.registry import Registry
    from persona_chat.retraining.retraining import Retraining
    from persona_chat.store import schema
    from persona_chat.store.database import DEMO_DATABASE, default_url, open_database
    from persona_chat.store.store import Store

    url = default_url(settings.data_dir, DEMO_DATABASE) if demo else database_url(settings)
    schema.upgrade(url)
    store = Store(open_database(url))
    try:
        yield Retraining(settings, store, Registry(settings.data_dir, store, base.name_of(settings)))
    finally:
        store.close()
