"""`persona-chat run` against a Discord on this machine: what is missing is said before anything slow happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from aiohttp import web

from bot import run
from bot.client import PERMISSIONS, invite_url
from persona_chat.errors import (
    BaseUnavailable,
    DatabaseTooNew,
    DataFolderUnusable,
    DiscordUnreachable,
    IntentMissing,
    TokenMissing,
    TokenRejected,
)
from persona_chat.settings import Settings, load_settings

APPLICATION = {
    "id": "1000",
    "name": "persona chat",
    "description": "",
    "icon": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": {"id": "1", "username": "owner", "discriminator": "0", "avatar": None},
    "flags": 0,
}
CONTENT_FLAG = 1 << 19  # what an application in few servers gets for Message Content


class LoginDiscord:
    """As much of Discord's REST interface as logging in takes."""

    def __init__(self) -> None:
        self.status = 200
        self.flags = CONTENT_FLAG
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request."""
        self.asked.append(request.path)
        if self.status != 200:
            return self.json({"message": "401: Unauthorized", "code": 0}, self.status)
        if request.path.endswith("/users/@me"):
            return self.json({"id": "1000", "username": "persona", "discriminator": "0", "avatar": None, "bot": True})
        if request.path.endswith("/oauth2/applications/@me"):
            return self.json({**APPLICATION, "flags": self.flags})
        return self.json([])

    @staticmethod
    def json(data: Any, status: int = 200) -> web.Response:
        # Without a charset: discord.py compares the content type exactly.
        response = web.json_response(data, status=status)
        response.headers["Content-Type"] = "application/json"
        return response


@pytest.fixture
async def login_discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoginDiscord]:
    there = LoginDiscord()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", there.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
    yield there
    await runner.cleanup()


@pytest.fixture
def with_token(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DISCORD_TOKEN", "canary-token")
    return load_settings(data_dir=settings.data_dir)


async def test_a_missing_token_is_said_first(settings: Settings) -> None:
    with pytest.raises(TokenMissing, match="DISCORD_TOKEN=…"):
        await run.serve(settings)
    assert not settings.data_dir.exists()


async def test_a_rejected_token_is_said_without_showing_it(
    with_token: Settings, login_discord: LoginDiscord, caplog: pytest.LogCaptureFixture
) -> None:
    login_discord.status = 401
    with pytest.raises(TokenRejected, match="does not accept the token") as error:
        await run.serve(with_token)
    assert "canary-token" not in str(error.value) + caplog.text


async def test_a_missing_intent_is_said_before_the_model_is_loaded(
    with_token: Settings, login_discord: LoginDiscord
) -> None:
    login_discord.flags = 0
    with pytest.raises(IntentMissing, match="turn on Message Content Intent"):
        await run.serve(with_token)
    assert not (with_token.data_dir / "models").exists()


async def test_an_unreachable_discord_is_said(with_token: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", "http://127.0.0.1:9/api/v10")
    # discord.py tries a refused connection five times, with growing pauses.
    monkeypatch.setattr(asyncio, "sleep", lambda *_args, **_kwargs: asyncio.wait_for(_nothing(), None))
    with pytest.raises(DiscordUnreachable, match="cannot be reached"):
        await run.serve(with_token)


async def _nothing() -> None:
    return None


async def test_a_base_that_cannot_be_had_is_said(
    with_token: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(data_dir=with_token.data_dir, base="/no/such/folder")
    with pytest.raises(BaseUnavailable, match="/no/such/folder"):
        await run.serve(settings)
    assert login_discord.asked


async def test_a_folder_that_cannot_be_written_is_said(with_token: Settings) -> None:
    with_token.data_dir.parent.mkdir(exist_ok=True, parents=True)
    with_token.data_dir.write_text("a file in the folder's place")
    with pytest.raises(DataFolderUnusable, match="PERSONA_CHAT_DATA_DIR"):
        await run.serve(with_token)


async def test_a_database_of_a_newer_version_is_said(with_token: Settings) -> None:
    from sqlalchemy import text

    from persona_chat.store.database import default_url, open_database
    from persona_chat.store.schema import upgrade

    url = default_url(with_token.data_dir)
    upgrade(url)
    database = open_database(url)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    with pytest.raises(DatabaseTooNew, match="9999"):
        await run.serve(with_token)


def test_every_error_that_stops_the_start_has_an_exit_code_of_its_own() -> None:
    from persona_chat import errors

    codes = {error.exit_code for error in errors.CannotStart.__subclasses__()}
    assert len(codes) == len(errors.CannotStart.__subclasses__())
    assert not codes & {0, 1, 2, 70, 130}


def test_the_invite_asks_for_exactly_what_the_bot_needs() -> None:
    assert PERMISSIONS.value == 274877975552
    url = invite_url(1000)
    assert "client_id=1000" in url
    assert "permissions=274877975552" in url
    assert "scope=bot+applications.commands" in url
