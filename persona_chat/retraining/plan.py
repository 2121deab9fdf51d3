"""What a retraining will do, before it is confirmed: sources, rows, steps, time, memory. It starts nothing."""

import csv
import gzip
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_chat.bases import EMBEDDED, config_of
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.fit import check_whole
from persona_chat.language import _, grouped
from persona_chat.retraining.yardstick import own_dialogues
from persona_chat.serving import Serving
from persona_chat.settings import Settings
from persona_chat.template import TEMPLATE_ID

ROWS_A_STEP = 8
"""How many rows a step of the trainer's recipes learns from."""

FEWEST_ROWS = 20
"""The trainer refuses fewer."""

_ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

# Of the embedded model, measured: docs/performance.md. Others are taken to need more as they have more parameters.
_PARAMETERS = 135_000_000
_STEP_S = {"cpu": 10.0, "cuda": 0.4}
_START_S = {"cpu": 40.0, "cuda": 60.0}
_JUDGED_ROW_S = 0.25  # of a step, for one adapter: its reply, and the row with the persona and without
_TRAINER_BYTES = {"cpu": 4_500_000_000, "cuda": 2_500_000_000}
_BYTES_A_PARAMETER = {"cpu": 8, "cuda": 2}  # weights, and what is computed on the way, which grows with them
_SERVED_BYTES_A_PARAMETER = {"cpu": 2, "cuda": 1}


@dataclass(frozen=True)
class Machine:
    """Where it is trained: `device` is "cpu" or "cuda", `free` how many bytes of its memory are."""

    device: str
    free: int


@dataclass(frozen=True)
class Source:
    """A file or a data set of the hub; `rows` is None where they cannot be counted quickly."""

    address: str
    called: str
    rows: int | None


@dataclass(frozen=True)
class Plan:
    """A retraining as it will be. `init` is the adapter that it begins from, None for fresh weights."""

    base: str
    sources: tuple[Source, ...]
    row_limit: int | None
    steps: int
    judged_rows: int
    seed: int
    serving: Serving
    init: Path | None
    seconds: float
    needed: int  # bytes
    machine: Machine
    pauses: bool

    @property
    def rows(self) -> int | None:
        """How many rows the sources have together, as far as that is known."""
        counts = [source.rows for source in self.sources]
        if any(count is None for count in counts):
            return None
        return sum(min(count, self.row_limit or count) for count in counts if count is not None)

    @property
    def fits(self) -> bool:
        """Whether there is room for the trainer beside what runs already."""
        return self.needed <= self.machine.free


def make_plan(
    settings: Settings,
    base: str,
    serving: Serving,
    machine: Machine,
    *,
    pace: float | None = None,
    steps: int | None = None,
    rows: int | None = None,
    data: Sequence[str] = (),
    can_pause: bool = True,
) -> Plan:
    """Say what a retraining would do. `pace` is how many seconds a step took the last time.

    `steps`, `rows` and `data` come before the settings'. Raises InputError when there is nothing to learn from, or
    no room for it.
    """
    sources = _sources(settings, data)
    steps = steps or settings.retrain_steps
    size = _parameters(base) / _PARAMETERS
    device = machine.device
    step_s = pace if pace is not None else _STEP_S[device] * size
    judging = 2 * settings.retrain_eval_rows * _JUDGED_ROW_S * step_s
    plan = Plan(
        base=base,
        sources=sources,
        row_limit=rows or settings.retrain_rows,
        steps=steps,
        judged_rows=settings.retrain_eval_rows,
        seed=secrets.randbelow(2**31),
        serving=serving,
        init=_begins_from(serving, base),
        seconds=_START_S[device] + steps * step_s + judging,
        needed=_TRAINER_BYTES[device] + int(_BYTES_A_PARAMETER[device] * (size - 1) * _PARAMETERS),
        machine=machine,
        pauses=settings.retrain_pause_replies and can_pause,
    )
    _check(plan, int(_SERVED_BYTES_A_PARAMETER[device] * _PARAMETERS * size), can_pause=can_pause)
    return plan


def describe(plan: Plan) -> list[str]:
    """Say in a few lines what the plan is."""
    learns = ", ".join(_counted(source) for source in plan.sources)
    most = ""
    if plan.row_limit is not None:
        most = _(", at most {number} of each").format(number=grouped(plan.row_limit))
    served = plan.serving.name or (_("the plain base") if plan.serving.folder is None else plan.serving.folder.name)
    begins = _("beginning from {adapter}").format(adapter=served) if plan.init is not None else _("beginning afresh")
    needs, free = f"{grouped(plan.needed / 1e9, 1)} GB", f"{grouped(plan.machine.free / 1e9, 1)} GB"
    lines = [
        _("Learns from: {sources}.").format(sources=f"{learns}{most}"),
        _("{steps} steps of {rows} rows, {begins}, on the base {base}.").format(
            steps=plan.steps, rows=ROWS_A_STEP, begins=begins, base=plan.base
        ),
        _(
            "Then it is compared with {adapter} on up to {rows} rows that neither learned from, and takes "
            "its place only if it is as good."
        ).format(adapter=served, rows=plan.judged_rows),
        _("It takes about {time} and {needs} of memory; {free} are free.").format(
            time=spoken_time(plan.seconds), needs=needs, free=free
        ),
    ]
    if plan.pauses:
        lines.append(_("Replies pause meanwhile."))
    if not plan.serving.followed:
        lines.append(_("PERSONA_CHAT_ADAPTER says which adapter serves, so the new one will be kept and not used."))
    return lines


def spoken_time(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3 h 20 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _sources(settings: Settings, data: Sequence[str]) -> tuple[Source, ...]:
    folder = settings.training_folder or settings.data_dir / "training"
    own = own_dialogues()
    addresses = list(data) or list(settings.training_data) or ([str(own)] if own is not None else [])
    if not data:
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        addresses += [str(path) for path in found if path.name.lower().endswith(_ENDINGS) and path.is_file()]
    if not addresses:
        raise InputError(
            _(
                "There is nothing to learn from. Put .jsonl files into {folder}, or name data sets in "
                "PERSONA_CHAT_TRAINING_DATA."
            ).format(folder=folder)
        )
    return tuple(_source(address) for address in dict.fromkeys(addresses))


def _source(address: str) -> Source:
    path = Path(address).expanduser().absolute()
    if not path.is_file():
        if path.exists() or not _HUB_ID.fullmatch(address):
            text = _("{address}: there is no such file, and a hub data set is called owner/name.")
            raise InputError(text.format(address=address))
        return Source(address, address, None)
    if not path.name.lower().endswith(_ENDINGS):
        text = _("{file}: only {kinds} files are read.")
        raise InputError(text.format(file=path.name, kinds=", ".join(_ENDINGS)))
    return Source(str(path), path.name, _count(path))


def _count(path: Path) -> int | None:
    """Count rows without looking at what they hold. Raises InputError when the file cannot be read."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return None
    try:
        if name.endswith(".csv"):
            csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
            with path.open(encoding="utf-8-sig", newline="") as stream:
                return max(0, sum(1 for row in csv.reader(stream) if row) - 1)
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    except (OSError, EOFError, UnicodeDecodeError, csv.Error):
        text = _("{file}: cannot be read as a {kind} file.")
        raise InputError(text.format(file=path.name, kind=path.suffix)) from None


def _counted(source: Source) -> str:
    if source.rows is None:
        return source.called
    return _("{source} ({rows} rows)").format(source=source.called, rows=grouped(source.rows))


def _begins_from(serving: Serving, base: str) -> Path | None:
    """The folder of the adapter in service, when its weights can be trained further."""
    if serving.folder is None:
        return None
    try:
        adapter = check_whole(serving.folder, base)
    except AdapterRefused:
        return None
    return serving.folder if adapter.template == TEMPLATE_ID and adapter.base == base else None


def _parameters(base: str) -> int:
    """About how many parameters a base has, by its config.json; one that is not at hand counts as 1B."""
    if base == EMBEDDED:
        return _PARAMETERS
    config = config_of(base) or {}
    try:
        width, inner, layers = (int(config[key]) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
        words = int(config["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return 1_200_000_000
    return words * width + layers * (3 * width * inner + 3 * width * width)


def _check(plan: Plan, served: int, *, can_pause: bool) -> None:
    if plan.rows is not None and plan.rows < FEWEST_ROWS:
        text = _("{rows} rows are too few to learn from; at least {needed} are needed.")
        raise InputError(text.format(rows=plan.rows, needed=FEWEST_ROWS))
    if plan.fits or (plan.pauses and plan.needed <= plan.machine.free + served):
        return
    short = _("There is no room for it: it needs about {needed} GB of memory, and {free} GB are free.").format(
        needed=grouped(plan.needed / 1e9, 1), free=grouped(plan.machine.free / 1e9, 1)
    )
    if can_pause and not plan.pauses and plan.needed <= plan.machine.free + served:
        pause = _(
            "Replies could pause meanwhile, which makes room: set PERSONA_CHAT_RETRAIN_PAUSE_REPLIES=true "
            "and start again."
        )
        raise InputError(f"{short} {pause}")
    stop = _("Stop what else runs on this machine, or use a smaller PERSONA_CHAT_BASE.")
    raise InputError(f"{short} {stop}")
