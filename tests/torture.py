"""How often the reliability tests do what they do, and where their figures go.

`make torture` sets PERSONA_CHAT_TORTURE=1 and PERSONA_CHAT_TORTURE_REPORT; without them the same tests run with small
counts and write nothing. Read at import: a fixture clears the environment of each test.
"""

import json
import os
from pathlib import Path

_WHOLE = os.environ.get("PERSONA_CHAT_TORTURE") == "1"
_REPORT = os.environ.get("PERSONA_CHAT_TORTURE_REPORT")


def count(short: int, whole: int) -> int:
    """Return how often: `short` in the default suite, `whole` in `make torture`."""
    return whole if _WHOLE else short


def record(test_id: str, **figures: object) -> None:
    """Add a test's figures to the report, one JSON object a line, where one is made."""
    if _REPORT is None:
        return
    with Path(_REPORT).open("a") as report:
        report.write(json.dumps({"test": test_id, **figures}) + "\n")
