"""Rounds of measuring: every engine answers the same conversations in turn, each in its own process."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from persona_chat.errors import InputError
from persona_chat.settings import Settings

ROOM = 512
"""Tokens beside the history: the form, the persona, the last turns. No turn is cut."""


@dataclass(frozen=True)
class Plan:
    """What is measured: each engine with so many channels at once, after so many tokens of history, `rounds` times."""

    engines: Sequence[str]
    channels: Sequence[int]
    history: Sequence[int]
    rounds: int
    tokens: int


@dataclass(frozen=True)
class Spread:
    """Several measured values: the middle one, the lowest, the highest, and the one that 95 % do not exceed."""

    median: float
    low: float
    high: float
    p95: float


@dataclass
class Row:
    """What one engine took for one kind of round. `history` is in tokens; `prompt_tokens` are those of the longest."""

    engine: str
    channels: int
    history: int
    warm: bool
    prompt_tokens: int = 0
    memory_mb: float = 0.0
    first_token_s: list[float] = field(default_factory=list)
    reply_s: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)
    replies_per_minute: list[float] = field(default_factory=list)

    def add(self, measured: dict[str, Any]) -> None:
        """Take a round in."""
        self.prompt_tokens = max(self.prompt_tokens, measured["prompt_tokens"])
        self.memory_mb = max(self.memory_mb, measured["memory_mb"])
        self.first_token_s += measured["first_token_s"]
        self.reply_s += measured["reply_s"]
        each = zip(measured["first_token_s"], measured["reply_s"], measured["reply_tokens"], strict=True)
        self.tokens_per_s += [(tokens - 1) / (reply - first) for first, reply, tokens in each if reply > first]
        self.replies_per_minute.append(60 * len(measured["reply_s"]) / measured["took_s"])

    def summary(self) -> dict[str, Any]:
        """Return it as the command prints it."""
        figures = ("first_token_s", "reply_s", "tokens_per_s", "replies_per_minute")
        return {
            "engine": self.engine,
            "channels": self.channels,
            "history": self.history,
            "warm": self.warm,
            "prompt_tokens": self.prompt_tokens,
            **{name: vars(spread(getattr(self, name))) for name in figures},
            "memory_mb": round(self.memory_mb, 1),
        }


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    ordered = sorted(values)
    late = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    numbers = (statistics.median(ordered), ordered[0], ordered[-1], late)
    return Spread(*(round(number, 4) for number in numbers))


def measure(plan: Plan, settings: Settings, adapter: Path | None, told: Callable[[str, float], None]) -> list[Row]:
    """Measure. `told` hears what is done and how much of all. Raises InputError when an engine cannot be measured."""
    kinds = [(channels, history, warm) for channels in plan.channels for history in plan.history for warm in (0, 1)]
    rows = {(engine, *kind): Row(engine, *kind[:2], bool(kind[2])) for engine in plan.engines for kind in kinds}
    done, total = count(1), plan.rounds * len(rows)
    fresh = count(1)
    with ExitStack() as stack:
        workers = {
            engine: stack.enter_context(_worker(engine, settings, adapter, max(plan.history)))
            for engine in plan.engines
        }
        # They begin side by side. Ours, which hardly ever fails, is asked last whether it did.
        for engine in reversed(plan.engines):
            workers[engine].heard()
        for engine, worker in workers.items():
            told(f"{engine}: warming up", 0)
            worker.ask([next(fresh)], 0, plan.tokens, warm=False)
        for number in range(plan.rounds):
            for channels in plan.channels:
                for history in plan.history:
                    conversations = [next(fresh) for _ in range(channels)]
                    # Who goes first changes, so that a machine that gets slower is slower for all.
                    order = plan.engines if number % 2 == 0 else plan.engines[::-1]
                    for engine in order:
                        for warm in (False, True):
                            told(f"{engine}, {channels} at once, {history} tokens before", next(done) / total)
                            measured = workers[engine].ask(conversations, history, plan.tokens, warm=warm)
                            rows[engine, channels, history, int(warm)].add(measured)
    return list(rows.values())


class _Worker:
    """A process that answers rounds."""

    def __init__(self, engine: str, process: "subprocess.Popen[str]") -> None:
        self._engine = engine
        self._process = process

    def ask(self, numbers: Sequence[int], history: int, tokens: int, *, warm: bool) -> dict[str, Any]:
        """Have it answer these conversations at once; return the times."""
        asked = {"numbers": list(numbers), "history": history, "tokens": tokens, "warm": warm}
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        return self.heard()

    def heard(self) -> dict[str, Any]:
        """Return what it says next. Raises InputError when it says nothing more, or what is wrong."""
        assert self._process.stdout is not None
        # Libraries may print too.
        for line in self._process.stdout:
            if line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                if "error" in said:
                    raise InputError(f"{self._engine}: {said['error']}")
                return said
        raise InputError(f"{self._engine} ended without a word; try it with PERSONA_CHAT_LOG_LEVEL=DEBUG.")


@contextmanager
def _worker(engine: str, settings: Settings, adapter: Path | None, longest: int) -> Iterator[_Worker]:
    given = {
        "data_dir": str(settings.data_dir),
        "base": settings.base,
        "precision": settings.precision,
        "threads": settings.threads,
        "context_tokens": max(settings.context_tokens, longest + ROOM),
    }
    command = [sys.executable, "-m", "persona_chat.bench.worker", engine, str(adapter or ""), json.dumps(given)]
    with subprocess.Popen(  # noqa: S603  ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield _Worker(engine, process)
        finally:
            process.kill()
