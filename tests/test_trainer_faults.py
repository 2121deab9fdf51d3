"""A trainer that is killed, ends, is silent or never stops talking: the job fails with its reason, and the bot goes on.

Of a loss that is no number and of a full disk the real trainer says so itself: `test_train.py`.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from persona_chat.errors import TrainingFailed
from persona_chat.process import Process
from persona_chat.retraining import program
from persona_chat.retraining.program import run_program
from tests.torture import count, record

LOUD_MB = count(20, 1000)

WAYS = {
    "killed": ("os.kill(os.getpid(), 9)", "was killed from outside"),
    "exit 137": ("sys.exit(137)", "ended with code 137"),
    "exit 1": ("sys.exit(1)", "ended with code 1"),
    "silent": ("time.sleep(600)", "said nothing"),
    "loud": (f"line = 'x' * 99\nfor _ in range({LOUD_MB}): print('\\n'.join([line] * 10_000))\nsys.exit(1)", "code 1"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
async def test_whatever_the_trainer_does_the_bot_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """C6. The event loop, on which everything is answered, turns all the while, and nothing heaps up in memory."""
    done, why = WAYS[way]
    package = tmp_path / "instead" / "training"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import os, sys, time\n{done}\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    if way == "silent":
        monkeypatch.setattr(program, "_SILENCE_S", 1.0)
    processes: list[Process] = []
    lags: list[float] = []

    async def ticks() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            lags.append(time.perf_counter() - began)

    async def hear(_said: Mapping[str, Any]) -> None:
        raise AssertionError("it said nothing that is meant for us")

    async def started(process: Process) -> None:
        processes.append(process)

    ticking = asyncio.create_task(ticks())
    before = psutil.Process(os.getpid()).memory_info().rss
    with pytest.raises(TrainingFailed, match=why):
        await run_program([], tmp_path / "last.txt", hear, started)
    grown_mb = (psutil.Process(os.getpid()).memory_info().rss - before) / 1e6
    ticking.cancel()
    said = {"said_mb": LOUD_MB} if way == "loud" else {}
    record(f"C6 {way}", **said, grown_mb=grown_mb, longest_standstill_s=max(lags))
    assert not processes[0].alive
    assert grown_mb < 50
    assert max(lags) < 2
