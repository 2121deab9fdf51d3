"""What was measured, as a table for people and as one object for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from training.evaluation import Scores
from training.measures import Measured
from training.metrics import NAMES, NUMBERS


@dataclass(frozen=True)
class Column:
    """The scores of one adapter over one base, as they were called."""

    adapter: str
    base: str
    scores: Scores

    def as_json(self) -> dict[str, Any]:
        """Return adapter, base, number of rows, and value, low and high of each metric."""
        metrics = {name: asdict(measured) for name, measured in self.scores.metrics.items()}
        return {"adapter": self.adapter, "base": self.base, "rows": self.scores.rows, "metrics": metrics}


def as_json(first: Column, against: Sequence[Column]) -> dict[str, Any]:
    """Return the first one's object, with the others under `against` where there are any."""
    rest = {"against": [column.as_json() for column in against]} if against else {}
    return first.as_json() | rest


def as_table(columns: Sequence[Column]) -> Table:
    """Return a table with a line for each metric and a column for each adapter."""
    rows, probes = columns[0].scores.rows, columns[0].scores.probes
    measured_on = [f"{count} {what}" for count, what in ((rows, "rows"), (probes, "probes")) if count]
    table = Table(title=f"Base {escape(columns[0].base)}, {' and '.join(measured_on)}; in brackets: 95 % intervals")
    table.add_column("metric")
    for column in columns:
        table.add_column(escape(column.adapter), justify="right")
    for name in NAMES:
        if any(name in column.scores.metrics for column in columns):
            cells = [column.scores.metrics.get(name) for column in columns]
            table.add_row(name, *(_shown(name, cell) if cell is not None else "" for cell in cells))
    return table


def _shown(name: str, measured: Measured) -> str:
    form = ".2f" if name in NUMBERS else ".1%"
    value, low, high = (
        format(number, form).replace("%", " %") for number in (measured.value, measured.low, measured.high)
    )
    return escape(f"{value} [{low} to {high}]")
