"""What a run says while it goes on: a bar for people, JSON lines for programs, and the curve of the loss."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from persona_chat.retraining.plan import spoken_time

Style = Literal["bar", "json", "none"]


class Told(Protocol):
    """Somebody who is told of events: a name and its fields."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Take one event."""
        ...


class Teller:
    """Passes events on to whoever watches, and writes each of them to a file as a JSON line."""

    def __init__(self, style: Style, log: Path, output: TextIO | None = None) -> None:
        self._style = style
        self._log = log
        self._output = output or sys.stdout
        self._bar: Any = None
        self._task: Any = None
        self._smooth: float | None = None

    def __call__(self, event: str, **fields: Any) -> None:
        """Tell one event."""
        line = json.dumps({"event": event, **fields}, ensure_ascii=False)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
        if self._style == "json":
            self._output.write(f"{line}\n")
            self._output.flush()
        elif self._bar is not None:
            self._draw(event, fields)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show a bar on standard error while a run goes on, where somebody looks and it is wanted."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=self._style != "bar" or not console.is_terminal) as bar:
            self._bar, self._task = bar, bar.add_task("Getting ready", total=None)
            yield
        self._bar = None

    def _draw(self, event: str, fields: dict[str, Any]) -> None:
        if event != "step":
            return
        loss = fields["loss"]
        self._smooth = loss if self._smooth is None else 0.9 * self._smooth + 0.1 * loss
        left = spoken_time(fields["seconds_left"])
        doing = f"loss {self._smooth:.3f} · {fields['tokens_per_s']:,.0f} tokens/s · {left} left"
        self._bar.update(self._task, total=fields["steps"], completed=fields["step"], description=doing)


class Pace:
    """How fast a run is: a moving average over the last steps, so that a pause does not spoil the time left."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._seconds: float | None = None
        self._tokens = 0.0

    def step(self, tokens: int) -> tuple[float, float]:
        """Count a step of so many tokens; return tokens a second and seconds a step."""
        now = time.monotonic()
        took, self._last = now - self._last, now
        self._seconds = took if self._seconds is None else 0.9 * self._seconds + 0.1 * took
        self._tokens = tokens if not self._tokens else 0.9 * self._tokens + 0.1 * tokens
        return self._tokens / max(self._seconds, 1e-9), self._seconds


def losses(log: Path) -> tuple[list[int], list[float]]:
    """Return steps and losses from a run's log; a step that was done again after `--resume` counts once."""
    found: dict[int, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "step":
            found[event["step"]] = event["loss"]
    return sorted(found), [found[step] for step in sorted(found)]


def draw_curve(log: Path, file: Path) -> None:
    """Draw the loss over the steps into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    steps, values = losses(log)
    width = max(1, len(values) // 25)
    smooth = [
        sum(values[max(0, i - width) : i + 1]) / len(values[max(0, i - width) : i + 1]) for i in range(len(values))
    ]
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=110)
    axes.plot(steps, values, color="#9db7d5", linewidth=0.8, label="each step")
    axes.plot(steps, smooth, color="#1f4e79", linewidth=1.8, label=f"mean of {width + 1} steps")
    axes.set(xlabel="step", ylabel="loss (nats a token of Person B)", title="Training loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
