"""Running `python -m training`: a process in a session of its own, which ends when this one does."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_chat.errors import TrainingFailed
from persona_chat.process import Process, find_process
from persona_chat.settings import TOKEN_VARIABLE

Told = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Is told of each line that is a JSON object."""

LINE_BYTES = 64 * 1024
"""Longer lines are passed over."""

GRACE_S = 5.0
"""How long a program may take to end by itself when it is asked to."""

_SILENCE_S = 3600.0  # a step of a large base on a slow machine takes minutes; loading one from the hub takes longer
_NICE = 10  # replies come first
_OOM_SCORE = 500  # of 1,000: this one goes before the bot does
_LAST_LINES = 40
_SAID = re.compile(r"persona-chat: (.+)")  # how our programs say what a person can mend


@dataclass
class Heard:
    """What a program said besides JSON: its last lines, and the last sentence that is meant for people."""

    lines: deque[str]
    at: float  # of a monotonic clock
    sentence: str | None = None


async def run_program(
    arguments: Sequence[str], log: Path, told: Told, started: Callable[[Process], Awaitable[None]]
) -> None:
    """Run `python -m training` to its end; `started` is told which process it is.

    Its last lines are left in the file `log` when it fails. Raises TrainingFailed with the reason. When the awaiting
    task is cancelled, it is asked to end, and after 5 s ended.
    """
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "training",
        *arguments,
        "--tied",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        _stand_back(program.pid)
        process = find_process(program.pid)
        if process is not None:
            await started(process)
        heard = await _hear(program, told)
        code = await program.wait()
    finally:
        await _end(program)
    if code != 0:
        raise TrainingFailed(await asyncio.to_thread(_why, code, heard, log))


def _environment() -> dict[str, str]:
    """What the program gets of our environment: everything but what it must not know."""
    kept = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    # Threads that wait do not spin: they would take the cores from the replies.
    return kept | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def _stand_back(pid: int) -> None:
    """Let others have the processor first, and let the kernel end this one first when memory runs out."""
    nice = max(_NICE, os.getpriority(os.PRIO_PROCESS, 0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    # Linux may share out the processor by sessions, and then looks at a process's own priority only within one.
    for file, value in (("autogroup", nice), ("oom_score_adj", _OOM_SCORE)):
        with suppress(OSError):
            Path(f"/proc/{pid}/{file}").write_text(str(value))


async def _hear(program: asyncio.subprocess.Process, told: Told) -> Heard:
    """Read both outputs to their ends. Raises TrainingFailed when nothing is heard for an hour."""
    heard = Heard(deque(maxlen=_LAST_LINES), time.monotonic())
    reading = [asyncio.ensure_future(_read(stream, heard, told)) for stream in _outputs(program)]
    try:
        await asyncio.gather(*reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
    return heard


def _outputs(program: asyncio.subprocess.Process) -> list[asyncio.StreamReader]:
    return [stream for stream in (program.stdout, program.stderr) if stream is not None]


async def _read(stream: asyncio.StreamReader, heard: Heard, told: Told) -> None:
    rest = b""
    while True:
        try:
            read = await asyncio.wait_for(stream.read(LINE_BYTES), _SILENCE_S)
        except TimeoutError:
            if time.monotonic() - heard.at < _SILENCE_S:  # on the other output
                continue
            raise TrainingFailed("The trainer said nothing for an hour, and was ended.") from None
        heard.at = time.monotonic()
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            await _take(line, heard, told)
        rest = rest[: LINE_BYTES + 1]
        if not read:
            await _take(rest, heard, told)
            return


async def _take(raw: bytes, heard: Heard, told: Told) -> None:
    if len(raw) > LINE_BYTES or not (line := raw.decode(errors="replace").strip()):
        return
    try:
        said = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        heard.lines.append(line)
        if (sentence := _SAID.fullmatch(line)) is not None:
            heard.sentence = sentence[1]
        return
    if said.get("event") == "failed" and isinstance(said.get("text"), str):
        heard.sentence = said["text"]
    await told(said)


async def _end(program: asyncio.subprocess.Process) -> None:
    """See that the program and what it started are gone: asked first, then made to."""
    try:
        if program.returncode is None:
            _signal(program.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(_drained(program), GRACE_S)
    finally:
        _signal(program.pid, signal.SIGKILL)
        if program.stdin is not None:
            program.stdin.close()
        await _drained(program)


async def _drained(program: asyncio.subprocess.Process) -> None:
    """Wait for the end; what it still says is thrown away, so that it cannot wait for us."""
    await asyncio.gather(*(stream.read() for stream in _outputs(program)), program.wait())


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _why(code: int, heard: Heard, log: Path) -> str:
    with suppress(OSError):
        log.write_text("\n".join(heard.lines) + "\n", encoding="utf-8")
    if heard.sentence is not None:
        return heard.sentence
    if code == -signal.SIGKILL:
        return "The trainer was killed from outside; most often because memory ran out."
    what = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"The trainer {what}. Its last lines are in {log}."
