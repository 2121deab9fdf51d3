"""A process that answers conversations with one engine and says how long that took.

`python -m persona_chat.bench.worker ENGINE` reads one JSON object a line from standard input and answers each with one
line on standard output. Each engine has a process of its own: so memory is its own, and none disturbs another.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from persona_chat import template
from persona_chat.bench.conversations import request
from persona_chat.dialogue import Dialogue
from persona_chat.engine import base
from persona_chat.engine.reply import Reply, ReplyRequest
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import InputError, PersonaChatError
from persona_chat.persona import Persona
from persona_chat.settings import Settings, load_settings

NOBODY = Persona("", "", ())
MB = 1_000_000


class Answers(Protocol):
    """The part of an engine that is measured."""

    async def start(self) -> object:
        """Load the model."""
        ...

    async def reply(self, request: ReplyRequest) -> Reply:
        """Answer."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


def engine_of(name: str, settings: Settings, adapter: Path | None) -> Answers:
    """Return the engine of this name: `local`, `generate`, `llamacpp`, or a server's URL. Raises InputError."""
    if name == "local":
        from persona_chat.engine.local import LocalEngine

        return LocalEngine(settings, adapter=adapter)
    if name == "generate":
        from persona_chat.engine.generation import GenerateEngine

        return GenerateEngine(settings, adapter)
    if name == "llamacpp":
        from persona_chat.engine.llamacpp import LlamaCpp

        return LlamaCpp(settings, adapter)
    if "://" not in name:
        raise InputError(f"There is no engine {name}. There are local, generate, llamacpp, and URLs of servers.")
    from persona_chat.engine.llamacpp import PATIENCE_S
    from persona_chat.engine.remote import RemoteEngine

    served = settings.model_copy(update={"engine": "remote", "server_url": name, "queue_size": 512})
    return RemoteEngine(served, silent_s=PATIENCE_S)


async def work(name: str, settings: Settings, adapter: Path | None) -> None:
    """Answer rounds until standard input ends."""
    engine = engine_of(name, settings, adapter)
    tokens = Tokens(base.load_tokenizer(base.choose(settings), settings.data_dir))
    form = tokens.count(template.render(NOBODY, ()))

    def measure(turns: Dialogue) -> int:
        return tokens.count(template.render(NOBODY, turns)) - form

    try:
        await engine.start()
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            requests = [
                request(number, asked["history"], asked["tokens"], measure, warm=asked["warm"])
                for number in asked["numbers"]
            ]
            _say(await _round(engine, requests))
    finally:
        await engine.close()


async def _round(engine: Answers, requests: list[ReplyRequest]) -> dict[str, Any]:
    """Ask all at once; return the times in seconds."""
    began = time.perf_counter()

    async def ask(one: ReplyRequest) -> tuple[Reply, float]:
        reply = await engine.reply(one)
        return reply, time.perf_counter() - began

    answered = await asyncio.gather(*(ask(one) for one in requests))
    took = time.perf_counter() - began
    return {
        "first_token_s": [reply.waited_s + reply.first_token_s for reply, _ in answered],
        "reply_s": [seconds for _, seconds in answered],
        "prompt_tokens": max(reply.prompt_tokens for reply, _ in answered),
        "reply_tokens": [reply.reply_tokens for reply, _ in answered],
        "took_s": took,
        "memory_mb": psutil.Process().memory_info().rss / MB,
    }


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Work as the arguments say: the engine's name, the adapter's folder or nothing, and settings as JSON."""
    name, adapter, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    settings = load_settings(**given).model_copy(update={"queue_size": 512})
    try:
        asyncio.run(work(name, settings, Path(adapter) if adapter else None))
    except PersonaChatError as error:
        _say({"error": str(error)})
    except Exception as error:  # the one who measures shows it
        _say({"error": f"it failed: {type(error).__name__}: {error}"})


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main()
