"""The command `evaluate`: it reads what to measure, measures one adapter after another, and shows the result."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_chat.errors import InputError
from persona_chat.options import loading
from persona_chat.settings import Settings, load_settings
from training.metrics import GROUPS, needs, read_metrics
from training.probes import PROBES, read_probes
from training.rows import Row, read_rows
from training.sample import choose_rows
from training.systems import Asking, Bench, Wanted, Way, find
from training.tied import end_with_standard_input

if TYPE_CHECKING:
    from training.evaluation import Task
    from training.likelihood import Told
    from training.report import Column

ROWS = 200


class Style(StrEnum):
    """How progress is shown, on standard error."""

    BAR = "bar"
    JSON = "json"
    NONE = "none"


def evaluate(
    adapter: Annotated[str, typer.Option(help="A folder, a name of the registry, `default`, or `none`.")],
    against: Annotated[
        list[str] | None, typer.Option(help="Another one to measure beside it; repeatable.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Rows: a JSONL, Parquet or CSV file, or a hub id.", show_default=False)
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows, spread over the file; always the same ones.")] = ROWS,
    metrics: Annotated[
        str | None,
        typer.Option(help=f"Metrics or groups ({', '.join(GROUPS)}), with commas between.", show_default=False),
    ] = None,
    probes: Annotated[
        Path | None, typer.Option(help="Questions about facts; asks for the group `facts`.", show_default=False)
    ] = None,
    prompting: Annotated[
        Way, typer.Option(help="Ask by our template, as the bot does, or by the base's own chat template.")
    ] = Way.TEMPLATE,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Replies as the bot draws them, by its settings, instead of greedy ones.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="The base model: a hub id, a folder, or `embedded`.", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the registry and the model live.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    progress: Annotated[Style, typer.Option(help="A bar, JSON lines on standard error, or none.")] = Style.BAR,
    tied: Annotated[bool, typer.Option("--tied", help="End at once when standard input ends.")] = False,
) -> None:
    """Measure how well an adapter plays personas, beside others where they are given."""
    if tied:
        end_with_standard_input()
    settings = load_settings(base=base, data_dir=data_dir)
    wanted = read_wanted(metrics, data=data, probes=probes)
    systems = [find(called, settings.data_dir) for called in (adapter, *(against or ()))]
    all_rows, chosen = _read_rows(data, rows, wanted)
    asked = read_probes(probes or PROBES) if needs(wanted, "facts") else ()

    from training.evaluation import Task

    way = Asking(prompting, drawn=drawn)
    columns = _measure(settings, systems, way, Task(wanted, chosen, all_rows, asked), progress)
    _show(columns, as_json=as_json)


def read_wanted(metrics: str | None, *, data: str | None, probes: Path | None) -> frozenset[str]:
    """Return the metrics that are asked for: by name, by a file of probes, or all that need rows.

    Raises InputError for unknown names, and when the file that they need is not given.
    """
    wanted = read_metrics(metrics) if metrics is not None else frozenset[str]()
    if metrics is None and data is not None:
        wanted = read_metrics(",".join(group for group in GROUPS if group != "facts"))
    if probes is not None and not needs(wanted, "facts"):
        wanted |= read_metrics("facts")
    if not wanted or (data is None and any(needs(wanted, group) for group in GROUPS if group != "facts")):
        raise InputError("Give rows to measure on with --data FILE. Only the group `facts` needs none.")
    return wanted


def _read_rows(data: str | None, count: int, wanted: frozenset[str]) -> tuple[list[Row], tuple[Row, ...]]:
    if data is None:
        return [], ()
    rows = read_rows(data)
    paired = [row for row in rows if row.pair_id]
    if not paired and wanted <= set(GROUPS["swap"]):
        raise InputError(f"{data}: has no persona-swap pairs (rows with a `pair_id`).")
    return rows, choose_rows(rows, count)


def _measure(settings: Settings, wanted: list[Wanted], way: Asking, task: "Task", style: Style) -> "list[Column]":
    from training.evaluation import measure
    from training.report import Column

    with loading("Loading the model") as told_of_loading:
        bench = Bench(settings, way, told_of_loading)
    columns = []
    with _progress(style) as told:
        for one in wanted:
            with bench.under(one) as system:
                columns.append(Column(one.called, bench.choice.base, measure(system, task, told(one.called))))
    return columns


@contextmanager
def _progress(style: Style) -> "Iterator[Callable[[str], Told]]":
    """Give what an adapter's measuring is told through: a bar where somebody looks, lines for programs, or nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    drawn = style is Style.BAR and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        task = bar.add_task("")

        def told_of(called: str) -> "Told":
            def told(what: str, done: int, of: int) -> None:
                bar.update(task, description=f"{called}: {what}", completed=done, total=of)
                if style is Style.JSON:
                    typer.echo(json.dumps({"event": "measuring", "what": what, "done": done, "of": of}), err=True)

            return told

        yield told_of


def _show(columns: "list[Column]", *, as_json: bool) -> None:
    from rich.console import Console

    from training import report

    if not any(column.scores.metrics for column in columns):
        raise InputError("These rows allow none of the metrics that were asked for.")
    if as_json:
        typer.echo(json.dumps(report.as_json(columns[0], columns[1:]), ensure_ascii=False))
    else:
        Console().print(report.as_table(columns))
