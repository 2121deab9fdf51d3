"""`persona-chat run` as a process of its own, on a Discord of loopback and with a scripted engine.

    python -m tests.fakediscord.bot_process PORT DATA_DIR [--without PROTECTION] [--finish-s SECONDS] [--hangs]
                                            [--delay-s SECONDS] [--note FILE]
                                            [--shifting-clock] [--ahead-s SECONDS] [--filling]

With `--without` one of the protections is switched off, to see that the tests would notice. With `--finish-s` a stop
waits for other seconds, and with `--hangs` it never ends by itself. With `--note` the engine writes down how the
process does, and with `--shifting-clock` its time jumps by an hour at a signal, and is ahead by `--ahead-s` at first.
With `--filling` a signal fills its database, and another makes room.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import discord
import typer
import yarl

from bot import drain, faces, identifies, meanwhile, run
from persona_chat import cli
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.heard import Heard
from persona_chat.inbox import Inbox
from persona_chat.keeping import Keeping
from persona_chat.settings import load_settings
from persona_chat.store.inbox import Inbox as StoredInbox
from persona_chat.store.store import Store
from tests.fakediscord import filling, shifting_clock
from tests.fakediscord.noting import NotingEngine

DELAY_S = 0.15
"""What a reply takes to write."""

PROTECTIONS = ("catching up", "mark", "saved reply", "claim", "nonce")
ENDINGS = ("finishing", "cutting short")
WAITS = ("waiting for the database",)


def _reply(request: ReplyRequest) -> str:
    return f"heard {request.dialogue[-1].text}"


def _without(protection: str) -> None:
    """Switch it off, in this process alone."""

    async def not_at_all(*_given: object) -> None:
        return None

    send, claim = faces.Faces.send, Store.claim

    async def unmarked(self: faces.Faces, *given: Any, **more: Any) -> int:
        return await send(self, *given, **(more | {"nonce": None}))

    def claims_always(self: Store, heard: Heard, parts: Sequence[Heard] = ()) -> bool:
        claim(self, heard, parts)
        return True

    async def tried_once(_self: Keeping, verb: Any, *given: Any, **more: Any) -> Any:
        return await asyncio.to_thread(verb, *given, **more)

    nothing_left = (StoredInbox, "left", lambda *_given: ())
    changes: dict[str, list[tuple[Any, str, Any]]] = {
        "nonce": [(faces.Faces, "send", unmarked), (meanwhile, "_sent_already", lambda *_given: {})],
        # As if the newest message that came were the mark, whatever is open before it.
        "mark": [(Inbox, "_mark", lambda self, _channel_id: max(self._seen)), nothing_left],
        "catching up": [(meanwhile.Meanwhile, "_catch_up", not_at_all)],
        "saved reply": [nothing_left],
        "waiting for the database": [(Keeping, "kept", tried_once)],
        # As it was once: who waits is sent away with a line.
        "finishing": [(drain.Drain, "end", not_at_all)],
        # As if nothing ended a process that hangs in its stop.
        "cutting short": [(run, "_end_now", lambda: None)],
        # As if it were not known which messages were taken.
        "claim": [
            (Store, "claim", claims_always),
            (StoredInbox, "known", lambda *_given: set()),
            (Inbox, "mark", lambda *_given: 1),
        ],
    }
    for owner, name, instead in changes[protection]:
        setattr(owner, name, instead)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--without", choices=PROTECTIONS + ENDINGS + WAITS)
    parser.add_argument("--finish-s", type=float, default=drain.FINISH_S)
    parser.add_argument("--hangs", action="store_true")
    parser.add_argument("--delay-s", type=float, default=DELAY_S, help="what a reply takes to write")
    parser.add_argument("--note", type=Path)
    parser.add_argument("--shifting-clock", action="store_true")
    parser.add_argument("--ahead-s", type=float, default=0.0)
    parser.add_argument("--filling", action="store_true")
    options = parser.parse_args()
    discord.http.Route.BASE = f"http://127.0.0.1:{options.port}/api/v10"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://127.0.0.1:{options.port}/")
    os.environ |= {"DISCORD_TOKEN": "token", "PERSONA_CHAT_BASE": "embedded", "PERSONA_CHAT_WEBHOOKS": "false"}
    for name in ("BURST_S", "PERSON_PER_MINUTE", "CHANNEL_PER_MINUTE", "SERVER_PER_MINUTE"):
        os.environ.setdefault(f"PERSONA_CHAT_{name}", "0")
    engine = ScriptedEngine(_reply, delay_s=options.delay_s)
    if options.note is not None:
        engine = NotingEngine(_reply, options.note, delay_s=options.delay_s)
    setattr(run, "engine_for", lambda _settings, **_more: engine)  # noqa: B010  mypy knows no such name there
    drain.FINISH_S = options.finish_s
    identifies.AT_ONCE = 10_000  # how often a bot is started anew has a test of its own
    if options.hangs:
        run.STOP_S = 2.0
        setattr(engine, "close", asyncio.Event().wait)  # noqa: B010  the same
    if options.without is not None:
        _without(options.without)
    if options.shifting_clock:
        shifting_clock.install(options.ahead_s)
    if options.filling:
        filling.install()
    sys.argv = [sys.argv[0]]
    command = typer.Typer(pretty_exceptions_enable=False)
    command.command()(lambda: run.run_bot(load_settings(data_dir=options.data_dir)))
    cli.main(command)


if __name__ == "__main__":
    main()
