"""Options that several commands of the command line have, and the settings that come of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from persona_chat.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the database and the model live.", show_default=False)
]
Base = Annotated[
    str | None,
    typer.Option("--base", help="The base model: a hub id, a folder, or `embedded`.", show_default=False),
]


def settings_of(**given: object) -> "Settings":
    """Read the settings, with a command's options over them."""
    from persona_chat.settings import load_settings

    return load_settings(**given)


def database_url(settings: "Settings") -> str:
    """Return the URL of the bot's database."""
    from persona_chat.store.database import default_url

    return settings.database_url or default_url(settings.data_dir)


@contextmanager
def loading(what: str) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on standard error while something is made ready; gone when it is, silent where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share, doing: bar.update(task, completed=share, description=doing)
