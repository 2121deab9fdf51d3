"""No regular expression of the project takes long, whatever 2,000 characters it is given."""

import json
import subprocess
import sys

from tests.pumped import PUMPS, ROOT, expressions
from tests.torture import count, record

GENEROUS_S = 2.0
"""A square of 2,000 takes a tenth of a second, a cube or worse many times this; a busy machine is no cube."""


def test_every_expression_ends_soon_on_every_pump() -> None:
    ends = count(1, 3)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pumped", str(ends)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr)
    tried = {line["where"]: line["seconds"] for line in lines if "seconds" in line}
    assert len(tried) > 100
    assert {where: took for where, took in tried.items() if took > GENEROUS_S} == {}
    slowest = max(tried, key=lambda where: tried[where])
    record("F5", expressions=len(tried), pumps=ends * len(PUMPS), slowest=slowest, slowest_seconds=tried[slowest])


def test_an_expression_that_blows_up_would_be_found() -> None:
    """The pumps are those that a nested repetition does not survive: a short one shows how fast it grows."""
    code = "import re, time; re.search(r'(a+)+$', 'a' * 24 + '\\0'); print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.1


def test_the_list_holds_those_of_every_room() -> None:
    rooms = {where.split("/")[0] for where, _pattern, _flags in expressions()}
    assert rooms >= {"bot", "persona_chat", "training"}
