"""The log: where something went wrong and not what was said, for people and as JSON."""

import json
import logging
from typing import Any

import pytest

from bot.log import JsonFormatter, TextFormatter


@pytest.mark.parametrize("formatter", [TextFormatter("%(message)s"), JsonFormatter()])
def test_a_line_of_an_exception_says_where_and_not_what(formatter: logging.Formatter) -> None:
    said = "".join(("what ", "people ", "said"))
    try:
        raise ValueError(said)
    except ValueError as error:
        record = logging.LogRecord("bot", logging.ERROR, __file__, 1, "message %s", (7,), (type(error), error, None))
    line = formatter.format(record)
    assert "message 7" in line
    assert "ValueError" in line
    assert "test_log.py" in line
    assert said not in line


def test_a_line_of_json_is_one_line_with_its_fields() -> None:
    record = logging.LogRecord("bot.x", logging.WARNING, __file__, 1, "one\ntwo %s", ("“three”",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    read: dict[str, Any] = json.loads(line)
    assert read["message"] == "one\ntwo “three”"
    assert (read["level"], read["logger"]) == ("WARNING", "bot.x")
    assert read["time"].endswith("+00:00")
