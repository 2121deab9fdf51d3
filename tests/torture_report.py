"""Writes the figures of `make torture` into docs/reliability.md: `python -m tests.torture_report REPORT DOCUMENT`."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN = "<!-- figures: made by `make torture` -->"
END = "<!-- end of figures -->"


def table(lines: Iterable[str]) -> str:
    """Return the figures as a table, a test a line, by its name; the last of several runs counts."""
    figures: dict[str, dict[str, Any]] = {}
    for line in lines:
        entry = json.loads(line)
        database = {"postgresql": " on PostgreSQL"}.get(entry.pop("database", ""), "")
        figures[entry.pop("test") + database] = entry
    shown = ["| test | figures |", "|---|---|"]
    for test in sorted(figures):
        said = ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in figures[test].items())
        shown.append(f"| {test} | {said} |")
    return "\n".join(shown)


def filled(document: str, lines: Iterable[str]) -> str:
    """Return the document with the table in its place. Raises ValueError where it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table(lines)}\n\n{END}{after}"


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "/")


def main(report: Path, document: Path) -> None:
    """Put the report's figures into the document."""
    document.write_text(filled(document.read_text(), report.read_text().splitlines()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
