"""`persona-chat db`: upgrade, check, back up and restore the database from a shell."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_chat import keys_cli
from persona_chat.errors import DatabaseUnusable, InputError
from persona_chat.options import DataDir, database_url, settings_of

if TYPE_CHECKING:
    from persona_chat.settings import Settings

app = typer.Typer(help="Upgrade, check, back up and restore the database.", no_args_is_help=True)
app.command("rotate-key")(keys_cli.rotate_key)

WAL_BUG_UNTIL = (3, 51, 3)
"""SQLite before this can lose commits when two connections write at the same moment: sqlite.org/wal.html#walresetbug"""

PG_BACKUP = (
    "The database is on a server: `pg_dump --format=custom --file=FILE NAME` backs it up, while it is in use. Keep "
    "{ledger} too, but do not put an older one of it back."
)
PG_RESTORE = (
    "The database is on a server: stop the bot, run `pg_restore --clean --if-exists --single-transaction "
    "--dbname=NAME FILE`, then `persona-chat db forget-again`, which deletes again what people had deleted since."
)


@app.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the database up to date, after a checked backup."""
    from persona_chat.store import schema

    done = schema.upgrade(database_url(settings_of(data_dir=data_dir)))
    if done.before == done.after:
        typer.echo(f"The database is up to date ({done.after}).")
        return
    typer.echo(f"The database went from {done.before or 'empty'} to {done.after}.")
    if done.backup is not None:
        typer.echo(f"What was there before: {done.backup}")


@app.command()
def check(data_dir: DataDir = None) -> None:
    """Say whether the database is whole and up to date; exit 1 when it is not."""
    from persona_chat.store import schema

    settings = settings_of(data_dir=data_dir)
    state = schema.check(database_url(settings))
    typer.echo(schema.describe(state))
    path = _file(settings)
    whole = path is None or not path.exists() or _show_file(path)
    raise typer.Exit(0 if whole and state.standing == "up to date" else 1)


@app.command()
def backup(
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many backups stay; older ones are deleted.")] = 7,
    data_dir: DataDir = None,
) -> None:
    """Copy the database into `backups/` beside it, checked; the bot may run meanwhile."""
    from persona_chat.store import backup as copies
    from persona_chat.store import schema

    settings = settings_of(data_dir=data_dir)
    path = _file(settings)
    if path is None:
        raise InputError(PG_BACKUP.format(ledger=settings.data_dir / "persona-chat-deletions.jsonl"))
    state = schema.check(database_url(settings))
    if state.current is None:
        raise InputError(schema.describe(state))
    typer.echo(str(copies.back_up(path, state.current)))
    if count := copies.rotate(path, keep):
        typer.echo(f"{count} older ones are deleted.", err=True)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; `persona-chat db check` names the newest.")],
    even_so: Annotated[
        bool, typer.Option("--even-so", help="Also where it is older than the deletions that are noted.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a backup in the database's place, without what people had deleted since. The bot must be stopped."""
    from persona_chat.instance import only_one_in
    from persona_chat.keyring import keys_of
    from persona_chat.store.restore import restore as put_back

    settings = settings_of(data_dir=data_dir)
    path = _file(settings)
    if path is None:
        raise InputError(PG_RESTORE)
    with only_one_in(settings.data_dir):
        done = put_back(path, file, keys_of(settings), even_so=even_so)
    typer.echo(f"{file} is restored; {done.deletions} deletions were done again.")
    if done.all_of_them:
        typer.echo("Its name does not say when it was made, so these are all that are noted.", err=True)
    if done.replaced is not None:
        typer.echo(f"What was there before: {done.replaced}")


@app.command(name="forget-again")
def forget_again(data_dir: DataDir = None) -> None:
    """Delete again everything that people had deleted, after a restore by other means. The bot must be stopped."""
    from persona_chat.instance import only_one_in
    from persona_chat.keyring import keys_of
    from persona_chat.store import schema
    from persona_chat.store.database import open_database
    from persona_chat.store.redo import redo
    from persona_chat.store.store import Store

    settings = settings_of(data_dir=data_dir)
    with only_one_in(settings.data_dir):
        schema.upgrade(database_url(settings))
        store = Store(open_database(database_url(settings), keys_of(settings)), settings.data_dir)
        try:
            count, since = redo(store, store.ledger.deletions()), store.ledger.whole_since()
            store.ledger.finish()
        finally:
            store.close()
    typer.echo(f"{count} deletions were done again.")
    if since is not None:
        typer.echo(f"What was deleted before {since:%Y-%m-%d} is not noted any more.", err=True)


def _file(settings: "Settings") -> Path | None:
    from persona_chat.store.database import parse_url, sqlite_file

    return sqlite_file(parse_url(database_url(settings)))


def _show_file(path: Path) -> bool:
    """Say how an SQLite file is; whether it is whole."""
    import sqlite3

    from persona_chat.store import backup as copies
    from persona_chat.store.database import explained

    try:
        with explained(path):
            faults = copies.faults_of(path)
    except DatabaseUnusable as error:
        faults = (str(error),)
    for line in faults or ("It is whole: integrity and foreign keys.",):
        typer.echo(line)
    typer.echo(f"Size: {path.stat().st_size / 1e6:.1f} MB")
    made = copies.made_of(path)
    newest = max(made, key=lambda copy: made[copy], default=None)
    if newest is None:
        typer.echo("There is no backup. `persona-chat db backup` makes one.")
    else:
        typer.echo(f"The newest backup: {newest} ({(datetime.now(UTC) - made[newest]).days} days old)")
    if sqlite3.sqlite_version_info < WAL_BUG_UNTIL:
        typer.echo(
            f"SQLite {sqlite3.sqlite_version} can lose commits when two programs write at the same moment (mended in "
            "3.51.3): while the bot runs, use no command that writes."
        )
    return not faults
