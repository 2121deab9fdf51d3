"""How the log is written: lines for people, or JSON for machines. Ids may be in it; message text, tokens never are."""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from persona_chat.errors import trace

log = logging.getLogger(__name__)

LINES = "%(asctime)s %(levelname)s %(name)s: %(message)s"

TALKATIVE = ("discord", "aiohttp", "asyncio", "urllib3", "httpcore", "httpx")
"""Whose DEBUG lines hold tokens and texts."""

STATEMENTS = "sqlalchemy"
"""Whose INFO lines are every statement."""


class TextFormatter(logging.Formatter):
    """Lines for people. What an exception says of itself is left out: it may quote a message, or a database's row."""

    def formatException(self, ei: object) -> str:  # noqa: N802  the library's name
        """Return the exception's class and where it was raised."""
        error = ei[1] if isinstance(ei, tuple) else None
        return trace(error) if isinstance(error, BaseException) else ""


class JsonFormatter(TextFormatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `trace` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_log(level: str, form: Literal["text", "json"]) -> logging.Handler:
    """Write the log to standard error from now on; what others set up before stays. Returns the handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(LINES))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    logging.getLogger(STATEMENTS).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    return handler


def not_awaited(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log what a task raised that nobody awaits; asyncio itself would quote the exception."""
    error = context.get("exception")
    log.error("%s: %s", context["message"], trace(error) if isinstance(error, BaseException) else "")
