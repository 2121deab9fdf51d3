"""What people had deleted, by ids and times and without a word of it, in a file beside the database.

A backup brings back what was deleted after it was made; from these lines it is deleted again. They are on the disk
before anything is deleted, so that a deletion that was cut off is finished later.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from persona_chat.store.backup import sync

What = Literal["forgotten", "opted out", "opted in", "deleted", "cleared", "channels gone", "server gone"]
"""A person; the same in and out; messages or their answers; everything from before a moment, `before`; what was said
and set in channels, or in a server, whose id stands before those of its channels."""


@dataclass(frozen=True)
class Deletion:
    """What was deleted, and when that was noted. `ids` are Discord's."""

    what: What
    at: datetime
    ids: tuple[int, ...] = ()
    before: datetime | None = None
    done_at: datetime | None = None
    """None: it was cut off."""


class Ledger:
    """The deletions noted in a file, which is made for its owner only. None, and nothing is noted.

    That is for a store on a server that was opened without a data folder, which `run` never does.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @contextmanager
    def noted(self, what: What, ids: Sequence[int] = (), before: datetime | None = None) -> Iterator[None]:
        """Note a deletion for good, and after the block that it is done. Raises OSError when it cannot be noted."""
        key = secrets.token_hex(8)
        made = asdict(Deletion(what, _now(), tuple(ids), before))
        del made["done_at"]
        self._append({"key": key, **made}, for_good=True)
        yield
        # Without this line it is done a second time, which changes nothing.
        self._append({"done": key, "at": _now()}, for_good=False)

    def finish(self) -> None:
        """Note that all that was cut off is done by now."""
        for key, deletion in self._read().items():
            if deletion.done_at is None:
                self._append({"done": key, "at": _now()}, for_good=False)

    def deletions(self, since: datetime | None = None) -> tuple[Deletion, ...]:
        """Return them as they were noted; with `since` those that were not done by then."""
        found = self._read().values()
        return tuple(one for one in found if since is None or one.done_at is None or one.done_at >= since)

    def cut_off(self) -> tuple[Deletion, ...]:
        """Return those that are not done."""
        return tuple(one for one in self._read().values() if one.done_at is None)

    def _read(self) -> dict[str, Deletion]:
        if self.path is None or not self.path.exists():
            return {}
        found: dict[str, Deletion] = {}
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                if "done" not in entry:
                    found[entry["key"]] = _deletion(entry)
                elif entry["done"] in found:
                    found[entry["done"]] = _done(found[entry["done"]], datetime.fromisoformat(entry["at"]))
            except (ValueError, KeyError, TypeError):
                continue  # written by half at the end of a process, so that nobody was told that it is deleted
        return found

    def _append(self, entry: dict[str, Any], *, for_good: bool) -> None:
        if self.path is None:
            return
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            line = json.dumps(entry, default=lambda moment: moment.isoformat())
            os.write(handle, (b"\n" if torn else b"") + line.encode() + b"\n")
            if for_good:
                os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            sync(self.path.parent)


def beside(database: Path) -> Path:
    """Return where the deletions of an SQLite file are noted."""
    return database.with_name(f"{database.stem}-deletions.jsonl")


def _deletion(entry: dict[str, Any]) -> Deletion:
    before = entry.get("before")
    at, cleared = datetime.fromisoformat(entry["at"]), before and datetime.fromisoformat(before)
    return Deletion(entry["what"], at, tuple(map(int, entry["ids"])), cleared)


def _done(deletion: Deletion, at: datetime) -> Deletion:
    return Deletion(deletion.what, deletion.at, deletion.ids, deletion.before, at)


def _now() -> datetime:
    return datetime.now(UTC)
