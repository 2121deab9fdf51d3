"""`persona-chat replay`: a reply of the bot once more."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from persona_chat.options import Base, DataDir, database_url, loading, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from persona_chat.engine.reply import Reply, ReplyRequest
    from persona_chat.settings import Settings


def replay(
    message: Annotated[int, typer.Argument(metavar="ID", help="Discord's id of the message, or of the reply to it.")],
    demo: Annotated[bool, typer.Option("--demo", help="A reply of the demo.")] = False,
    base: Base = None,
    data_dir: DataDir = None,
) -> None:
    """Give the reply to a message once more, from the same persona, talk, adapter and seed."""
    from persona_chat.keyring import keys_of
    from persona_chat.replay import folder_of, recorded
    from persona_chat.store.database import DEMO_DATABASE, default_url, open_database
    from persona_chat.store.schema import upgrade
    from persona_chat.store.store import Store

    settings = settings_of(base=base, data_dir=data_dir)
    url = default_url(settings.data_dir, DEMO_DATABASE) if demo else database_url(settings)
    upgrade(url)
    store = Store(open_database(url, keys_of(settings)))
    try:
        version, request = recorded(store, message, settings)
    finally:
        store.close()
    again = asyncio.run(_written(settings, folder_of(version.adapter, settings), request))
    text = f"{request.begun} {again.text}".lstrip()
    typer.echo(text)
    if text != version.text:
        typer.echo("It was another one: what was said before it, or the bot's settings, have changed since.", err=True)
        raise typer.Exit(1)


async def _written(settings: "Settings", adapter: "Path | None", request: "ReplyRequest") -> "Reply":
    from persona_chat.engine.choice import engine_for

    with loading("Loading the model") as progress:
        engine = engine_for(settings, adapter=adapter, progress=progress)
        try:
            await engine.start()
            return await engine.reply(request)
        finally:
            await engine.close()
