"""`persona-chat bench`: how fast replies are. Everything heavy is imported inside the command."""

import json
from pathlib import Path
from typing import Annotated

import typer

from persona_chat.errors import InputError
from persona_chat.options import DataDir, database_url, loading, settings_of


def bench(
    data_dir: DataDir = None,
    channels: Annotated[
        str, typer.Option("--channels", help="How many talk at once, with commas between.")
    ] = "1,4,8,16",
    history: Annotated[str, typer.Option("--history", help="Tokens of turns before, with commas.")] = "0,200,800",
    against: Annotated[
        str, typer.Option("--against", help="Measured beside: generate, llamacpp, a server's URL; with commas.")
    ] = "generate",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is measured.")] = 3,
    tokens: Annotated[int, typer.Option("--tokens", min=2, max=512, help="The length of every reply.")] = 24,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a picture to this file (PNG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure how fast replies are, alone and when many talk at once, beside other engines."""
    from rich.console import Console

    from persona_chat.adapters import read_adapter
    from persona_chat.bench import report
    from persona_chat.bench.run import Plan, measure
    from persona_chat.engine import base
    from persona_chat.engine.cores import available_cores
    from persona_chat.serving import to_serve

    settings = settings_of(data_dir=data_dir)
    engines = ["local", *(name.strip() for name in against.split(",") if name.strip())]
    plan = Plan(engines, _numbers("--channels", channels, 1), _numbers("--history", history, 0), rounds, tokens)
    adapter = to_serve(settings, database_url(settings)).folder
    with loading("Measuring") as progress:
        rows = measure(plan, settings, adapter, lambda doing, share: progress(share, doing))
    where = report.machine(settings.threads or available_cores())
    named = read_adapter(adapter).name if adapter is not None else None
    if as_json:
        typer.echo(json.dumps(report.as_object(rows, where, base.name_of(settings), named), indent=1))
    else:
        Console().print(report.as_table(rows, f"{base.name_of(settings)} under {named or 'no adapter'}, {where}"))
    if plot is not None:
        report.draw(rows, where, plot)
        typer.echo(f"Drawn in {plot}.", err=True)


def _numbers(option: str, text: str, least: int) -> list[int]:
    """Read whole numbers with commas between. Raises InputError."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < least or max(numbers) > 10_000:
        raise InputError(f"{option} takes whole numbers from {least} on with commas between, such as 1,4,8.")
    return list(dict.fromkeys(numbers))
