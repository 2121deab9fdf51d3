"""`persona-chat adapters`: the registry from a shell."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_chat.options import Base, DataDir, database_url, settings_of

if TYPE_CHECKING:
    from persona_chat.registry import Entry, Registry
    from persona_chat.settings import Settings

app = typer.Typer(
    help="See the adapters that are kept here, bring others in, and say which is in service.", no_args_is_help=True
)

Demo = Annotated[bool, typer.Option("--demo", help="Which adapter the demo serves, not the bot.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `persona-chat adapters list`.")]


@app.command(name="list")
def list_(as_json: AsJson = False, base: Base = None, data_dir: DataDir = None, demo: Demo = False) -> None:
    """Show the adapters that are kept here, and which of them is in service."""
    with _registry(settings_of(base=base, data_dir=data_dir), demo=demo) as registry:
        entries = registry.list()
    if as_json:
        typer.echo(json.dumps([_public(entry) for entry in entries], indent=1, ensure_ascii=False))
    else:
        _show_table(entries)


@app.command()
def show(name: Name, as_json: AsJson = False, base: Base = None, data_dir: DataDir = None, demo: Demo = False) -> None:
    """Show what an adapter's card says."""
    with _registry(settings_of(base=base, data_dir=data_dir), demo=demo) as registry:
        entry = registry.show(name)
    shown = {**_public(entry), "folder": str(entry.folder), "card": dict(entry.card)}
    if as_json:
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False))
    else:
        _show_card(entry)


@app.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or a hub id such as owner/name.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it here.", show_default=False)] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            help="The form of the prompts it was trained on, where it has no card: persona-ab-1 or persona-ab-0.",
            show_default=False,
        ),
    ] = None,
    base: Base = None,
    data_dir: DataDir = None,
) -> None:
    """Copy an adapter from a folder or the hub into the registry, after every check; it is not in service then."""
    from persona_chat.options import loading

    with _registry(settings_of(base=base, data_dir=data_dir)) as registry, loading(f"Importing {source}"):
        entry = registry.import_(source, name=name, template=template)
    typer.echo(f"{entry.name} is in {entry.folder}. `persona-chat adapters use {entry.name}` puts it in service.")


@app.command()
def use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the list, or `none` for the plain base.")],
    base: Base = None,
    data_dir: DataDir = None,
    demo: Demo = False,
) -> None:
    """Put an adapter in service. A running bot takes it between two replies, within seconds."""
    from persona_chat.registry import NONE

    settings = settings_of(base=base, data_dir=data_dir)
    with _registry(settings, demo=demo) as registry:
        registry.use(name if name != NONE else None)
    _say_in_service(name, settings)


@app.command()
def rollback(base: Base = None, data_dir: DataDir = None, demo: Demo = False) -> None:
    """Put the adapter in service again that was before."""
    from persona_chat.registry import NONE

    settings = settings_of(base=base, data_dir=data_dir)
    with _registry(settings, demo=demo) as registry:
        name = registry.rollback()
    _say_in_service(name or NONE, settings)


@app.command()
def remove(name: Name, base: Base = None, data_dir: DataDir = None) -> None:
    """Delete an adapter that is not in service."""
    with _registry(settings_of(base=base, data_dir=data_dir)) as registry:
        registry.remove(name)
    typer.echo(f"{name} is removed.")


@contextmanager
def _registry(settings: "Settings", *, demo: bool = False) -> "Iterator[Registry]":
    """The registry on the bot's database, or the demo's; one that is not there yet is made."""
    from persona_chat.engine import base
    from persona_chat.registry import Registry
    from persona_chat.store import schema
    from persona_chat.store.database import DEMO_DATABASE, default_url, open_database
    from persona_chat.store.store import Store

    url = default_url(settings.data_dir, DEMO_DATABASE) if demo else database_url(settings)
    schema.upgrade(url)
    store = Store(open_database(url))
    try:
        yield Registry(settings.data_dir, store, base.name_of(settings))
    finally:
        store.close()


def _say_in_service(name: str, settings: "Settings") -> None:
    typer.echo(f"{name} is in service.")
    if settings.adapter is not None:
        typer.echo("PERSONA_CHAT_ADAPTER is set, though, and decides wherever it is.", err=True)


def _public(entry: "Entry") -> dict[str, Any]:
    return {
        "name": entry.name,
        "in_service": entry.in_service,
        "template": entry.template,
        "base": entry.base,
        "created": entry.created,
        "scores": dict(entry.scores),
    }


def _show_table(entries: "tuple[Entry, ...]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not entries:
        typer.echo("No adapter is kept here. `persona-chat adapters import` brings one in.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("", "name", "form", "base", "made", *_SHOWN.values()):
        table.add_column(column, overflow="fold", justify="right" if column in _SHOWN.values() else "left")
    for entry in entries:
        made = (entry.created or "")[:10]
        cells = ("●" if entry.in_service else "", entry.name, entry.template, entry.base, made)
        scores = _numbers(entry)
        shown = (f"{scores[metric]:.3g}" if metric in scores else "" for metric in _SHOWN)
        table.add_row(*(Text(cell or "") for cell in (*cells, *shown)))
    Console().print(table)
    if not any(entry.in_service for entry in entries):
        typer.echo("None of them is in service: the base answers as it is.")


def _show_card(entry: "Entry") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows: dict[str, Any] = {
        "name": entry.name,
        "in service": "yes" if entry.in_service else "no",
        "folder": str(entry.folder),
        **entry.card,
        "scores": _scores(entry),
    }
    for what, value in rows.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(Text(str(what)), Text(text))
    Console().print(table)


# The scores that a list has room for; `show` has all.
_SHOWN = {"perplexity": "ppl", "persona_gain": "gain", "hits_at_1": "hits@1", "fact_accuracy": "facts"}


def _scores(entry: "Entry") -> str:
    """The scores as "metric value" one after the other."""
    return ", ".join(f"{metric} {value:.4g}" for metric, value in _numbers(entry).items())


def _numbers(entry: "Entry") -> dict[str, float]:
    """The scores by metric; one is a number, or an object with `value`."""
    values = {
        metric: score.get("value") if isinstance(score, dict) else score for metric, score in entry.scores.items()
    }
    return {metric: value for metric, value in values.items() if isinstance(value, int | float)}
