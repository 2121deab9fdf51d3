"""`persona-chat feedback`: what people think of replies, counted by adapter."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_chat.options import DataDir, database_url, settings_of

if TYPE_CHECKING:
    from persona_chat.store.feedback import Tally


def feedback(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Of the demo's replies, not the bot's.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what people think of replies: verdicts, their share of 👍 and suggestions, by adapter."""
    from persona_chat.keyring import keys_of
    from persona_chat.store.database import DEMO_DATABASE, default_url, open_database
    from persona_chat.store.schema import upgrade
    from persona_chat.store.store import Store

    settings = settings_of(data_dir=data_dir)
    url = default_url(settings.data_dir, DEMO_DATABASE) if demo else database_url(settings)
    upgrade(url)
    store = Store(open_database(url, keys_of(settings)))
    try:
        tallies = store.feedback.tallies()
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps([_public(tally) for tally in tallies], indent=1, ensure_ascii=False))
    elif tallies:
        _show(tallies)
    else:
        typer.echo("Nobody has judged a reply yet.")


def _public(tally: "Tally") -> dict[str, Any]:
    """The counts, and the share with its interval, which is null where too few judged."""
    from persona_chat.feedback import share

    found = share(tally)
    return asdict(tally) | {"share": None if found is None else {k: round(v, 4) for k, v in asdict(found).items()}}


def _show(tallies: "tuple[Tally, ...]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from persona_chat.feedback import share

    table = Table(box=None, pad_edge=False)
    for column in ("adapter", "replies judged", "👍", "👎", "share of 👍", "95 %", "suggestions"):
        table.add_column(column, overflow="fold", justify="left" if column == "adapter" else "right")
    for tally in tallies:
        found = share(tally)
        shown = ("", "") if found is None else (f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}")
        counts = (tally.replies, tally.up, tally.down, *shown, tally.suggestions)
        table.add_row(Text(tally.adapter or "none, the plain base"), *(str(cell) for cell in counts))
    Console().print(table)
