"""Who waits for the model, in an order that is fair between channels. It knows no model."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from persona_chat.errors import EngineFailed

J = TypeVar("J")

_log = logging.getLogger(__name__)


class Promise:
    """The future that somebody on an event loop awaits, to be kept or broken by another thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def keep(self, result: Any) -> None:
        """Give the awaiter this result."""
        self.tell(lambda: self.future.set_result(result))

    def fail(self, error: Exception) -> None:
        """Give the awaiter this error. A future cannot hold StopIteration."""
        fitting = EngineFailed() if isinstance(error, StopIteration) else error
        self.tell(lambda: self.future.set_exception(fitting))

    def tell(self, what: Callable[[], None]) -> None:
        """Do something on the awaiter's event loop while the future is open."""

        def when_open() -> None:
            if not self.future.done():
                what()

        try:
            self._loop.call_soon_threadsafe(when_open)
        except RuntimeError:  # the loop is closed: nobody awaits any more
            _log.debug("a job ended after its event loop")


@dataclass(eq=False)
class Asked(Generic[J]):
    """A job that is asked for. `owner` is whose it is, such as a channel.

    `placed` is told, on the awaiter's event loop, which place it has in the line, 1 being next.
    """

    owner: object
    job: J
    placed: Callable[[int], None] | None = None
    number: int = 0  # so many were asked for before it
    promise: Promise = field(default_factory=Promise)


class Line(Generic[J]):
    """Those that wait. Owners take turns, however early one of them came with many."""

    def __init__(self) -> None:
        self._waiting: list[Asked[J]] = []  # in the order in which they came
        self._turns: dict[object, int] = {}  # of owners that wait, when they had their last turn
        self._turn = 0
        self._places: dict[int, int] = {}  # by number, the last one that was told

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, one: Asked[J]) -> None:
        """Stand at the end."""
        self._waiting.append(one)

    def leave(self, one: Asked[J]) -> None:
        """Stand no longer in the line, if it does."""
        if one in self._waiting:
            self._waiting.remove(one)

    def take(self, one: Asked[J]) -> None:
        """Have its turn."""
        self.leave(one)
        self._turn += 1
        owners = {other.owner for other in self._waiting}
        self._turns = {owner: turn for owner, turn in self._turns.items() if owner in owners}
        if one.owner in owners:
            self._turns[one.owner] = self._turn

    def next(self, served: Mapping[object, int], before: int | None = None) -> Asked[J] | None:
        """Return whose turn it is, of those that were asked for `before` this number; None when there is none.

        `served` is how many of each owner are being served now.
        """
        order = self._order(served)
        return next((one for one in order if before is None or one.number < before), None)

    def tell_places(self, served: Mapping[object, int]) -> None:
        """Tell those whose place has changed."""
        places = {one.number: place for place, one in enumerate(self._order(served), 1)}
        for one in self._waiting:
            place = places[one.number]
            if one.placed is not None and self._places.get(one.number) != place:
                one.promise.tell(lambda one=one, place=place: one.placed(place))  # type: ignore[misc]
        self._places = places

    def clear(self) -> list[Asked[J]]:
        """Send all away; return them."""
        all_of_them, self._waiting = self._waiting, []
        return all_of_them

    def _order(self, served: Mapping[object, int]) -> list[Asked[J]]:
        before = dict(served)
        turns: list[tuple[int, int, int]] = []
        for number, one in enumerate(self._waiting):
            turns.append((before.get(one.owner, 0), self._turns.get(one.owner, 0), number))
            before[one.owner] = before.get(one.owner, 0) + 1
        return [self._waiting[number] for _, _, number in sorted(turns)]
