"""What is kept of a person: to be seen, taken along, deleted, or not kept at all. Knows no Discord and no SQL."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

from persona_chat.chat import Chat
from persona_chat.errors import trace
from persona_chat.store.answers import NEWEST
from persona_chat.store.holdings import Held, Said, Seat
from persona_chat.store.ledger import What
from persona_chat.store.store import Store

log = logging.getLogger(__name__)

Result = TypeVar("Result")

EXPORT_BYTES = 8_000_000
"""The largest file that we send; Discord takes 10 MB from everybody."""

EVERY_S = 3600.0
"""How often words that are too old are looked for."""

REWRITE_S = 86_400.0
"""How often the database's file is written anew for them: that takes the longer the larger it is."""

PAGE = 200


@dataclass(frozen=True)
class About:
    """What is kept of a person, for them to see."""

    held: Held
    seat: Seat | None
    opted_out_at: datetime | None


@dataclass(frozen=True)
class Export:
    """All that is kept of a person as JSON in UTF-8. `left_out` are what was too much, the oldest of it."""

    content: bytes
    left_out: int


@dataclass(frozen=True)
class Forgotten:
    """What was let go of. Without `scrubbed` the file is written anew later; `backups` may hold the words still."""

    held: Held
    scrubbed: bool
    backups: int


class Privacy:
    """People's say in what is kept of them. Words are kept for `days` days, 0 for ever."""

    def __init__(self, store: Store, chat: Chat, days: int) -> None:
        self.days = days
        self._store = store
        self._chat = chat
        self._opted_out: frozenset[int] = frozenset()
        self._changing = asyncio.Lock()  # what is stored and what is in memory never differ
        self._to_scrub = False
        self._scrub_at = 0.0

    async def start(self) -> None:
        """Read who opted out. Call once, before anything else."""
        self._opted_out = await asyncio.to_thread(self._store.people.opted_out)

    async def look_again(self) -> None:
        """Read that anew: another process may have changed it."""
        async with self._changing:
            await self.start()

    def opted_out(self, person_id: int) -> bool:
        """Whether nothing that this person says is kept or answered."""
        return person_id in self._opted_out

    async def opt_out(self, person_id: int) -> None:
        """Keep and answer nothing that this person says from now on, also what waits. What is kept already stays."""
        async with self._changing:
            self._opted_out |= {person_id}
            await asyncio.to_thread(self._noted, "opted out", self._store.people.opt_out, person_id)
        await self._chat.stop_where(lambda place: place.person_id == person_id)

    async def opt_in(self, person_id: int) -> None:
        """Undo that."""
        async with self._changing:
            await asyncio.to_thread(self._noted, "opted in", self._store.people.opt_in, person_id)
            self._opted_out -= {person_id}

    async def about(self, person_id: int) -> About:
        """Return what is kept of a person."""
        people = self._store.people
        return await asyncio.to_thread(
            lambda: About(people.held(person_id), people.seat(person_id), people.opted_out_at(person_id))
        )

    async def export(self, person_id: int) -> Export:
        """Return everything that is kept of a person."""
        return await asyncio.to_thread(self._export, person_id)

    async def forget(self, person_id: int) -> Forgotten:
        """Let go of everything of a person, once none of it is being answered. Twice is no error.

        That they opted out is still known, or it would not be kept to.
        """
        await self._chat.stop_where(lambda place: place.person_id == person_id)
        held, scrubbed = await asyncio.to_thread(self._noted, "forgotten", self._store.people.forget, person_id)
        await self._chat.cast.look_again()
        await self._chat.memory.start()
        self._scrub_soon(unless=scrubbed)
        return Forgotten(held, scrubbed, await asyncio.to_thread(self._store.backups))

    async def forget_places(self, channels: Sequence[int], server_id: int | None = None) -> int:
        """Let go of channels and threads that are gone, or with `server_id` of a server that we left.

        That is what was said and set there, and a server's personas; return how many messages that were.
        """
        gone = set(channels)
        await self._chat.stop_where(
            lambda place: place.channel_id in gone or (server_id is not None and place.guild_id == server_id)
        )

        def forget() -> tuple[int, bool]:
            what: What = "channels gone" if server_id is None else "server gone"
            with self._store.ledger.noted(what, (*(() if server_id is None else (server_id,)), *channels)):
                return self._store.people.forget_places(channels, server_id)

        count, scrubbed = await asyncio.to_thread(forget)
        await self._chat.look_again()
        self._scrub_soon(unless=scrubbed)
        return count

    async def sweep(self) -> int:
        """Let go of messages, reports and backups that are too old; return how many messages that were."""
        if not self.days:
            return 0
        moment = datetime.now(UTC) - timedelta(days=self.days)
        total = 0
        while count := await asyncio.to_thread(self._store.people.forget_before, moment):
            total += count
        reports = await asyncio.to_thread(self._store.reports.forget_before, moment)
        if total + reports:
            await asyncio.to_thread(self._note_cleared, moment)
        await asyncio.to_thread(self._let_go, moment, total + reports > 0)
        return total

    async def watch(self) -> NoReturn:
        """Do that now and every hour, until cancelled."""
        while True:
            try:
                if count := await self.sweep():
                    log.info("%d messages were older than %d days and are forgotten", count, self.days)
            except Exception as error:
                # Nobody awaits this task, so it goes on: the database may be there again next time.
                log.error("what is too old could not be forgotten: %s", trace(error))
            await asyncio.sleep(EVERY_S)

    def _scrub_soon(self, *, unless: bool) -> None:
        if not unless:
            self._to_scrub, self._scrub_at = True, 0.0

    def _noted(self, what: What, delete: Callable[[int], Result], person_id: int) -> Result:
        with self._store.ledger.noted(what, (person_id,)):
            return delete(person_id)

    def _note_cleared(self, moment: datetime) -> None:
        with self._store.ledger.noted("cleared", before=moment):
            pass

    def _let_go(self, moment: datetime, forgotten: bool) -> None:
        """Let go of the backups from before then, and if something was forgotten, of its traces in the files."""
        self._store.delete_backups(moment)
        self._to_scrub |= forgotten
        if self._to_scrub and time.monotonic() >= self._scrub_at:
            self._to_scrub = not self._store.people.scrub(whole=True)
            self._scrub_at = time.monotonic() + REWRITE_S
        elif forgotten:
            self._store.people.scrub(whole=False)

    def _export(self, person_id: int) -> Export:
        people = self._store.people
        head = {
            "what": "Everything that this bot keeps of you",
            "person_id": person_id,
            "written_at": datetime.now(UTC),
            "kept_for_days": self.days or None,
            "opted_out_at": people.opted_out_at(person_id),
            "chosen_for_everywhere": _plain(people.seat(person_id)),
        }
        room = EXPORT_BYTES - len(_json(head)) - 1000
        lists: dict[str, list[str]] = {}
        left_out = 0
        everything: dict[str, Iterable[Any]] = {
            "personas": people.personas(person_id),
            "replies_you_rewrote": people.edits(person_id),
            "feedback": people.feedback(person_id),
            "memories_you_changed": self._store.memories.by(person_id),
            "reports": self._store.reports.of(person_id),
            "messages": self._said(person_id),
        }
        for name, values in everything.items():
            lists[name] = []
            for value in values:
                text = _json(_plain(value))
                room -= len(text.encode()) + 2
                if room > 0:
                    lists[name].append(text)
                else:
                    left_out += 1
        head |= {"complete": not left_out, "left_out_because_too_large": left_out}
        # By hand, so that what was measured is what is written.
        parts = [f'"{name}": [{", ".join(reversed(texts))}]' for name, texts in lists.items()]
        return Export(",\n".join([_json(head)[:-1], *parts, ""])[:-2].encode() + b"}", left_out)

    def _said(self, person_id: int) -> Iterator[Said]:
        before = NEWEST
        while page := self._store.people.said(person_id, before, PAGE):
            yield from page
            before = page[-1].id


def _plain(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    plain = asdict(value)
    if isinstance(value, Said):
        del plain["id"]  # is ours
    return plain


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda moment: moment.isoformat())
