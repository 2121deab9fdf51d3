"""What people had deleted, by ids and times and without a word of it, in a file beside the database.

A backup brings back what was deleted after it was made; from these lines it is deleted again. They are on the disk
before anything is deleted, so that a deletion that was cut off is finished later.

They are kept for `KEPT`, and for as long as an older backup lies beside the database.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from persona_chat.store.backup import sync

KEPT = timedelta(days=400)
"""So long nothing that was deleted comes back with a backup: more than a year, for whoever keeps one of each month."""

What = Literal[
    "forgotten",
    "opted out",
    "opted in",
    "deleted",
    "cleared",
    "channels gone",
    "server gone",
    "persona deleted",
    "persona restored",
    "notes taken away",
    "thumb taken back",
    "suggestion taken back",
]
"""A person; the same in and out; messages or their answers; everything from before a moment, `before`; what was said
and set in channels, or in a server, whose id stands before those of its channels.

A persona, by the id that the database gave it; the same brought back; what a persona remembered in a channel, by the
channel's id and the persona's; a verdict or a suggestion, by the ids of the message that was answered and of the
person, and the numbers of the versions.
"""

OF_A_PERSON = ("thumb taken back", "suggestion taken back")
"""What is gone with the person."""


@dataclass(frozen=True)
class Deletion:
    """What was deleted, and when that was noted. `ids` are Discord's, but for a persona's."""

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
        self._append(_made(key, Deletion(what, _now(), tuple(ids), before)), for_good=True)
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

    def whole_since(self) -> datetime | None:
        """Return since when all deletions are noted; None when they were from the first one on."""
        moments = [datetime.fromisoformat(one["whole_since"]) for one in self._entries() if "whole_since" in one]
        return max(moments, default=None)

    def prune(self, before: datetime) -> int:
        """Let go of those that were done before then, and of what a later one does as well; return how many.

        Nobody may note anything meanwhile.
        """
        there = self._read()
        young = {key: one for key, one in there.items() if one.done_at is None or one.done_at >= before}
        new = _without_covered(young)
        if self.path is None or len(new) == len(there):
            return 0
        since = self.whole_since()
        if len(young) < len(there):
            since = max(since or before, before)
        lines: list[dict[str, Any]] = [{"whole_since": since}] if since is not None else []
        for key, one in new.items():
            lines.append(_made(key, one))
            if one.done_at is not None:
                lines.append({"done": key, "at": one.done_at})
        _write_anew(self.path, lines)
        return len(there) - len(new)

    def _read(self) -> dict[str, Deletion]:
        found: dict[str, Deletion] = {}
        for entry in self._entries():
            try:
                if "done" not in entry:
                    found[entry["key"]] = _deletion(entry)
                elif entry["done"] in found:
                    found[entry["done"]] = _done(found[entry["done"]], datetime.fromisoformat(entry["at"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _entries(self) -> Iterator[dict[str, Any]]:
        if self.path is None or not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # written by half at the end of a process, so that nobody was told that it is deleted
            if isinstance(entry, dict):
                yield entry

    def _append(self, entry: dict[str, Any], *, for_good: bool) -> None:
        if self.path is None:
            return
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, (b"\n" if torn else b"") + _line(entry))
            if for_good:
                os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            sync(self.path.parent)


def beside(database: Path) -> Path:
    """Return where the deletions of an SQLite file are noted."""
    return database.with_name(f"{database.stem}-deletions.jsonl")


def _without_covered(there: dict[str, Deletion]) -> dict[str, Deletion]:
    """Leave out what another one does as well: clears up to a later moment, or forgets the person afterwards."""
    done = [one for one in there.values() if one.done_at is not None]
    cleared = max((one.before for one in done if one.before is not None), default=None)
    forgotten = {person_id: one.at for one in done if one.what == "forgotten" for person_id in one.ids}

    def covered(one: Deletion) -> bool:
        if one.what in OF_A_PERSON:
            return one.at < forgotten.get(one.ids[1], one.at)
        return one.what == "cleared" and one.before != cleared and one.done_at is not None

    return {key: one for key, one in there.items() if not covered(one)}


def _write_anew(path: Path, lines: list[dict[str, Any]]) -> None:
    """Put these lines in the file's place at once: killed at any moment, the old ones or the new ones are there."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    partial.write_bytes(b"".join(map(_line, lines)))
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, default=lambda moment: moment.isoformat()).encode() + b"\n"


def _made(key: str, deletion: Deletion) -> dict[str, Any]:
    made = asdict(deletion)
    del made["done_at"]
    return {"key": key, **made}


def _deletion(entry: dict[str, Any]) -> Deletion:
    before = entry.get("before")
    at, cleared = datetime.fromisoformat(entry["at"]), before and datetime.fromisoformat(before)
    return Deletion(entry["what"], at, tuple(map(int, entry["ids"])), cleared)


def _done(deletion: Deletion, at: datetime) -> Deletion:
    return Deletion(deletion.what, deletion.at, deletion.ids, deletion.before, at)


def _now() -> datetime:
    return datetime.now(UTC)
