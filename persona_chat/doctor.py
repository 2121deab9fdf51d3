"""What is there and what is not: the findings of `persona-chat doctor`. It changes nothing and loads no weights."""

import asyncio
import importlib.metadata
import platform
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from persona_chat.engine.reply import EngineFacts
from persona_chat.errors import PersonaChatError
from persona_chat.keyring import keys_of, keys_seen
from persona_chat.settings import Settings
from persona_chat.store import schema
from persona_chat.store.database import default_url

# https://sqlite.org/changes.html: two connections that write at once could corrupt a WAL file before this one.
_SQLITE_SOUND = (3, 51, 3)


class Verdict(StrEnum):
    """How a finding is."""

    OK = "ok"
    NOTE = "note"  # works, and there is something to know
    MISSING = "missing"  # the bot cannot start


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str

    @property
    def stops_the_bot(self) -> bool:
        """Whether `persona-chat run` would fail on it."""
        return self.verdict is Verdict.MISSING


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that `run` needs."""
    looks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("Python", _python),
        ("Model", _model),
        ("Server", _server),
        ("Adapter", _adapter),
        ("Data folder", _data_folder),
        ("Database", _database),
        ("Encryption", _encryption),
        ("Discord", _discord),
    )
    findings: list[Finding] = []
    for what, look in looks:
        try:
            findings.extend(look(settings))
        except PersonaChatError as error:
            findings.append(Finding(what, Verdict.MISSING, str(error)))
    return findings


def show(findings: list[Finding]) -> None:
    """Print the findings as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.MISSING: "bold red"}
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        verdict = Text(finding.verdict, style=styles[finding.verdict])
        table.add_row(Text(finding.what), verdict, Text(finding.detail))
    Console().print(table)


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", Verdict.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _model(settings: Settings) -> Iterator[Finding]:
    from persona_chat.engine import base

    yield Finding("torch", Verdict.OK, importlib.metadata.version("torch"))
    choice = base.choose(settings)
    cuda = choice.device.startswith("cuda")
    yield Finding("CUDA", Verdict.OK if cuda else Verdict.NOTE, choice.device if cuda else "none; the CPU answers")
    yield Finding("Precision", Verdict.OK, f"{choice.precision}: {choice.why}")
    yield Finding("Base", Verdict.OK, f"{choice.base}; {base.presence(choice, settings.data_dir)}")


def _server(settings: Settings) -> Iterator[Finding]:
    if settings.engine == "local":
        return
    from persona_chat.engine.choice import engine_for
    from persona_chat.serving import to_serve

    serving = to_serve(settings, settings.database_url or default_url(settings.data_dir))

    async def ask() -> EngineFacts:
        engine = engine_for(settings, adapter=serving.folder)
        try:
            return await engine.start()
        finally:
            await engine.close()

    facts = asyncio.run(ask())
    yield Finding("Server", Verdict.OK, f"{facts.base} on {facts.device}, adapter {facts.adapter or 'none'}")


def _adapter(settings: Settings) -> Iterator[Finding]:
    from persona_chat.engine import base
    from persona_chat.fit import check_whole
    from persona_chat.serving import to_serve

    serving = to_serve(settings, settings.database_url or default_url(settings.data_dir))
    by = "by `persona-chat adapters`" if serving.followed else "by PERSONA_CHAT_ADAPTER"
    if serving.folder is None:
        yield Finding("Adapter", Verdict.NOTE, f"none is in service ({by}); the base answers as it is")
    else:
        adapter = check_whole(serving.folder, base.name_of(settings))
        yield Finding("Adapter", Verdict.OK, f"{adapter.name} is in service ({by}); {serving.folder}")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        # Rights alone do not tell: root has all of them, also on what nobody can write.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written ({error.strerror}). Change its owner, or set PERSONA_CHAT_DATA_DIR."
        yield Finding("Data folder", Verdict.MISSING, detail)
    else:
        yield Finding("Data folder", Verdict.OK, str(folder))


def _database(settings: Settings) -> Iterator[Finding]:
    sound = sqlite3.sqlite_version_info >= _SQLITE_SOUND
    note = "" if sound else "; before 3.51.3 only one process may write at a time, which is how the bot works"
    yield Finding("SQLite", Verdict.OK if sound else Verdict.NOTE, sqlite3.sqlite_version + note)
    state = schema.check(settings.database_url or default_url(settings.data_dir))
    verdicts = {"up to date": Verdict.OK, "newer": Verdict.MISSING}
    yield Finding("Database", verdicts.get(state.standing, Verdict.NOTE), schema.describe(state))


def _encryption(settings: Settings) -> Iterator[Finding]:
    url = settings.database_url or default_url(settings.data_dir)
    whole = schema.check(url).standing == "up to date"
    keys = keys_seen(settings, url) if whole else keys_of(settings)
    if not settings.encrypt:
        yield Finding("Encryption", Verdict.NOTE, "off: what people say is kept as it is")
    elif keys.writing is None:
        yield Finding("Encryption", Verdict.OK, "on; the first start makes the key")
    else:
        yield Finding("Encryption", Verdict.OK, f"on, under the key {keys.writing.id}. Keep a copy of it elsewhere")


def _discord(settings: Settings) -> Iterator[Finding]:
    yield Finding("discord.py", Verdict.OK, importlib.metadata.version("discord.py"))
    token = settings.token is not None
    yield Finding(
        "Token",
        Verdict.OK if token else Verdict.MISSING,
        "present" if token else "absent. Put DISCORD_TOKEN=… into a file `.env`, or into the environment.",
    )
    content = settings.message_content
    yield Finding(
        "Intents",
        Verdict.OK if content else Verdict.NOTE,
        "guilds, messages, Message Content (must be on in the developer portal)"
        if content
        else "guilds, messages; without Message Content only mentions, replies and direct messages are read",
    )
