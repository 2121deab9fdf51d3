"""Brings the catalogues up to what the code says: `make messages`. New texts are empty in them, unused ones go.

Texts that are marked in the code are found by Babel; what a command says of itself is read from the commands.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import discord
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po
from discord import app_commands

from bot.speaking import CHOICE, COMMAND, MENU, OPTION
from persona_chat.language import LANGUAGES, catalogue_file
from persona_chat.settings import load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import make_bot

ROOT = Path(__file__).parent.parent
ROOMS = ("bot", "persona_chat")
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None}

_LEFT_OUT = tuple(
    f'"{field}'.encode() for field in ("Project", "Report", "POT-", "PO-", "Last-T", "Language-Team", "Generated-By")
)

Text = tuple[str | None, str, str]
"""The context, the text, and what it is of."""


def commands_of(folder: Path) -> app_commands.CommandTree[Any]:
    """Return the commands, of a bot that is made in the folder."""
    settings = load_settings(data_dir=folder)
    url = default_url(folder)
    upgrade(url)
    store = Store(open_database(url))
    try:
        return make_bot(store, settings).tree
    finally:
        store.close()


def said_by(tree: app_commands.CommandTree[Any]) -> Iterator[Text]:
    """Yield every name and description that Discord is told."""
    for command in tree.walk_commands():
        if isinstance(command, app_commands.ContextMenu):
            continue
        where = f"/{command.qualified_name}"
        yield COMMAND, command.name, where
        yield None, command.description, where
        for option in command.parameters if isinstance(command, app_commands.Command) else ():
            yield OPTION, option.display_name, where
            if option.description != "…":  # what discord.py says where nothing is said
                yield None, str(option.description), f"{where} {option.name}"
            for choice in option.choices:
                yield CHOICE, choice.name, f"{where} {option.name}"
    for menu in (discord.AppCommandType.message, discord.AppCommandType.user):
        for entry in tree.get_commands(type=menu):
            yield MENU, entry.name, "menu of a message"
            yield None, entry.extras["does"], f"menu of a message: {entry.name}"


def template(tree: app_commands.CommandTree[Any]) -> Catalog:
    """Return all English texts."""
    texts = Catalog(project="persona-chat", charset="utf-8", fuzzy=False)
    for room in ROOMS:
        found = extract_from_dir(
            ROOT / room, keywords=KEYWORDS, comment_tags=("For translators:",), strip_comment_tags=True
        )
        for file, _line, text, comments, context in sorted(found, key=lambda one: one[:2]):
            texts.add(text, locations=[(f"{room}/{file}", 1)], auto_comments=comments, context=context)
    for context, text, where in said_by(tree):
        texts.add(text, auto_comments=[where], context=context)
    return texts


def written(texts: Catalog) -> bytes:
    """Return a catalogue as a file, with nothing in its head that changes by itself or is empty."""
    name = texts.locale.english_name if texts.locale else ""
    texts.header_comment = f"# {name}. CONTRIBUTING.md says how texts are added."
    file = BytesIO()
    write_po(file, texts, width=100, include_lineno=False)
    return b"\n".join(line for line in file.getvalue().split(b"\n") if not line.startswith(_LEFT_OUT))


def main() -> None:
    """Update the files."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = template(asyncio.run(_commands(Path(folder))))
    for language in LANGUAGES:
        path = catalogue_file(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = Catalog(locale=language, project="persona-chat", fuzzy=False)
        if path.exists():
            with path.open("rb") as file:
                texts = read_po(file, locale=language)
        texts.update(wanted, no_fuzzy_matching=True)
        texts.obsolete.clear()
        path.write_bytes(written(texts))
        missing = sum(not message.string or not any(message.string) for message in texts if message.id)
        print(f"{language}: {len(texts)} texts, {missing} without a translation")


async def _commands(folder: Path) -> app_commands.CommandTree[Any]:
    return commands_of(folder)


if __name__ == "__main__":
    main()
