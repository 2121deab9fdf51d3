"""Prints docs/commands.md: `python -m tests.command_table > docs/commands.md`."""

import asyncio
import tempfile
from pathlib import Path

from bot.command_table import table
from persona_chat.settings import load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import make_bot


def written(folder: Path) -> str:
    """Return the text, from a bot that is made in the folder."""
    settings = load_settings(data_dir=folder)
    url = default_url(folder)
    upgrade(url)
    store = Store(open_database(url))
    try:
        return table(make_bot(store, settings).tree)
    finally:
        store.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(written(Path(folder)), end="")


if __name__ == "__main__":
    asyncio.run(main())
