"""What was measured, as a table for people, an object for programs, and a picture."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_chat.bench.run import Row, spread
from persona_chat.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table


_CAPTION = (
    "Medians. first, reply, p95: seconds to the first token, to the whole reply, and what 95 % do not exceed. "
    "/min: replies of all channels a minute. cold: nothing of the conversation was read before; warm: its next turn."
)


def machine(cores: int) -> str:
    """Say on what was measured."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{cores} cores of {name}, Python {platform.python_version()}"


def as_object(rows: Sequence[Row], machine: str, base: str, adapter: str | None) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {"machine": machine, "base": base, "adapter": adapter, "rows": [row.summary() for row in rows]}


def as_table(rows: Sequence[Row], title: str) -> "Table":
    """Return a table: medians, and the 95th percentile where that is what people feel."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption=_CAPTION, caption_justify="left")
    for column in ("engine", "at once", "history", "", "first", "reply", "p95", "tok/s", "/min", "MB"):
        table.add_column(column, justify="left" if column in ("engine", "") else "right", no_wrap=True)
    for row in sorted(rows, key=lambda row: (row.channels, row.history, row.warm)):
        first, reply, tokens, replies = (
            spread(values) for values in (row.first_token_s, row.reply_s, row.tokens_per_s, row.replies_per_minute)
        )
        table.add_row(
            row.engine,
            str(row.channels),
            str(row.history),
            "warm" if row.warm else "cold",
            f"{first.median:.2f}",
            f"{reply.median:.2f}",
            f"{reply.p95:.2f}",
            f"{tokens.median:.0f}",
            f"{replies.median:.0f}",
            f"{row.memory_mb:.0f}",
        )
    return table


def draw(rows: Sequence[Row], title: str, file: Path) -> None:
    """Write a picture: replies a minute, and the time of a reply, by how many channels talk at once.

    Raises InputError when it cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise InputError("A picture needs matplotlib: pip install 'persona-chat[train]'.") from None
    mpl.use("agg")
    from matplotlib import pyplot

    figure, (minute, wait) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    longest = max(row.history for row in rows)
    for number, engine in enumerate(dict.fromkeys(row.engine for row in rows)):
        for warm, style in ((True, "-"), (False, "--")):
            look = {"linestyle": style, "color": f"C{number}", "marker": "o"}
            mine = [row for row in rows if row.engine == engine and row.history == longest and row.warm == warm]
            channels = [row.channels for row in mine]
            name = f"{engine}, {'warm' if warm else 'cold'}"
            minute.plot(channels, [spread(row.replies_per_minute).median for row in mine], label=name, **look)
            wait.plot(channels, [spread(row.reply_s).p95 for row in mine], **look)
    minute.set(xlabel="channels at once", ylabel="replies a minute", ylim=(0, None))
    wait.set(xlabel="channels at once", ylabel="seconds for a reply (95 % are faster)", yscale="log")
    minute.legend(frameon=False)
    figure.suptitle(f"{title}, {longest} tokens of history", fontsize=10)
    try:
        figure.savefig(file, dpi=130)
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}).") from None
    finally:
        pyplot.close(figure)
