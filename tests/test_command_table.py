"""docs/commands.md is what the code says, and the code does what it says: each command for each kind of person."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord.results import InteractionResult

from bot.command_table import (
    ADMINS,
    ASKERS,
    CHANGERS,
    CHANNEL_MANAGERS,
    EVERYBODY,
    FOR_GUESTS,
    FOR_PLACE,
    MAKERS,
    MODERATORS,
    SERVER_MANAGERS,
    TALKERS,
    YOU,
    rows,
)
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests import command_table
from tests.discord_world import World, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))

OPTIONS: dict[str, dict[str, Any]] = {
    "persona set": {"name": "Vera"},
    "persona edit": {"name": "Vera"},
    "persona test": {"name": "Vera", "message": "Hello"},
    "persona history": {"name": "Vera"},
    "persona undo": {"name": "Vera"},
    "persona delete": {"name": "Vera"},
    "persona export": {"name": "Vera"},
    "persona guest invite": {"name": "Vera"},
    "persona guest dismiss": {"name": "Vera"},
    "persona import": {"file": ("card.json", json.dumps({"name": "Kit", "description": "I am a fox."}).encode())},
    "chat mode": {"answer": "every"},
    "adapter use": {"name": "none"},
    "moderation channels": {"action": "clear"},
    "moderation roles": {"action": "clear"},
    "moderation filter": {"reads": "off"},
    "moderation log": {"off": True},
    "moderation done": {"number": 1},
}

PEOPLE = ("admin", "server manager", "channel manager", "moderator", "member", "opted out", "direct message")

MAY: dict[str, set[str]] = {
    EVERYBODY: set(PEOPLE),
    TALKERS: set(PEOPLE) - {"opted out"},
    FOR_PLACE: {"channel manager", "direct message"},
    FOR_GUESTS: {"channel manager", "direct message"},
    MAKERS: {"server manager", "channel manager", "direct message"},
    CHANGERS: {"server manager", "direct message"},
    CHANNEL_MANAGERS: {"channel manager", "direct message"},
    ASKERS: {"moderator"},
    SERVER_MANAGERS: {"server manager"},
    MODERATORS: {"server manager", "moderator"},
    ADMINS: {"admin"},
}

REFUSALS = (
    "you need the permission",
    "takes the permission",
    "can be changed by who made it",
    "Only the people who run this bot",
    "Only the person who asked",
    "I keep no feedback of yours",
    "so I answer nothing for you",
    "only works in a server",
)

NAMES = [
    *(f"persona {name}" for name in ("set", "show", "clear", "list", "create", "edit", "test", "history", "undo")),
    *(f"persona {name}" for name in ("delete", "import", "export", "guest invite", "guest dismiss")),
    *(f"privacy {name}" for name in ("show", "export", "forget", "opt-out", "opt-in")),
    *(f"chat {name}" for name in ("mode", "pause", "resume", "reset", "undo", "context")),
    *(f"chat memory {name}" for name in ("show", "edit", "clear")),
    *("status", "help", "report"),
    *(f"moderation {name}" for name in ("channels", "roles", "filter", "words", "log", "show", "reports", "done")),
    *(f"retrain {name}" for name in ("start", "status", "cancel", "history")),
    *(f"feedback {name}" for name in ("stats", "suggestions")),
    *(f"adapter {name}" for name in ("list", "use", "rollback")),
]
MENUS = ["Regenerate", "Why this reply?", "Edit this reply", "Delete this reply", "Report"]


def test_the_table_in_the_docs_is_the_codes(tmp_path: Path) -> None:
    there = (Path(__file__).parents[1] / "docs/commands.md").read_text(encoding="utf-8")
    assert there == command_table.written(tmp_path), "python -m tests.command_table > docs/commands.md"


async def test_every_command_is_tried_below(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        names = [row.name for row in rows(here.bot.tree)]
        assert sorted(names) == sorted(
            [*(f"/{name}" for name in NAMES), *(f"{name} (menu of a message)" for name in MENUS)]
        )


async def people(here: World) -> dict[str, Any]:
    """One of each kind, all in the server but the last."""
    found = {}
    rights = {
        "server manager": discord.Permissions(manage_guild=True),
        "channel manager": discord.Permissions(manage_channels=True),
        "moderator": discord.Permissions(manage_messages=True),
    }
    for kind in PEOPLE[:-1]:
        roles = [here.guild.create_role(kind, permissions=rights[kind])] if kind in rights else []
        found[kind] = here.guild.add_member(here.env.create_user(kind.replace(" ", "-")), roles=roles)
    here.bot.admins.add(found["admin"].id)
    await here.bot.privacy.opt_out(found["opted out"].id)
    friend = here.env.create_user("friend")
    found["direct message"] = friend
    place = here.place(here.talk, friend).mine
    await here.bot.chat.cast.create(place, VERA, friend.id)
    await here.env.settle()
    return found


def refused(result: InteractionResult) -> bool:
    lines = told(result)
    assert result.modal is not None or lines, "something is always answered"
    no = any(refusal in line.content for refusal in REFUSALS for line in lines)
    assert not no or all(line.ephemeral for line in lines), "a refusal is for one"
    return no


async def use(here: World, use_it: Callable[[str, Any], Awaitable[InteractionResult]], who: str, sees: str) -> None:
    """Let each kind of person use it, and see that exactly those may of whom the table says so."""
    may = set()
    for kind, person in (await people(here)).items():
        if kind == "direct message" and MAY[who] == {"moderator"}:
            continue
        result = await use_it(kind, person)
        if not refused(result):
            may.add(kind)
            if sees == YOU:
                assert all(line.ephemeral for line in told(result))
        here.env._errors_acknowledged = here.env.error_cursor
    assert may == MAY[who] - ({"direct message"} if MAY[who] == {"admin"} else set())


@pytest.mark.parametrize("name", NAMES)
async def test_who_may_use_a_command(store: Store, settings: Settings, name: str) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        row = next(row for row in rows(here.bot.tree) if row.name == f"/{name}")

        async def use_it(kind: str, person: Any) -> InteractionResult:
            if kind == "direct message":
                return await person.slash(name, **OPTIONS.get(name, {}))  # type: ignore[no-any-return]
            return await person.slash(here.talk, name, **OPTIONS.get(name, {}))  # type: ignore[no-any-return]

        await use(here, use_it, row.who, row.sees)


@pytest.mark.parametrize("name", MENUS)
async def test_who_may_use_an_entry_in_the_menu(store: Store, settings: Settings, name: str) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        row = next(row for row in rows(here.bot.tree) if row.name.startswith(name))

        async def use_it(kind: str, person: Any) -> InteractionResult:
            if kind == "direct message":
                await person.send_dm("Hello")
                return await person.slash("help")  # type: ignore[no-any-return]  # no menu in the simulator's messages
            await here.guest.send(here.talk, "Hello")
            return await person.context_menu(here.talk, name, here.talk.last_message)  # type: ignore[no-any-return]

        await use(here, use_it, row.who, row.sees)
