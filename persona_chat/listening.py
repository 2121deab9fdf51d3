"""To which messages the bot listens, by what was set for their channel. Knows the store and who talks where."""

import asyncio
import math
import random
import time

from persona_chat.cast import Cast
from persona_chat.manners import Manners, Mode, listens
from persona_chat.place import Place
from persona_chat.store.store import Store


class Listening:
    """The manners of channels, in memory and in the store."""

    def __init__(self, store: Store, cast: Cast) -> None:
        self._store = store
        self._cast = cast
        self._manners: dict[int, Manners] = {}
        self._unasked_at: dict[int, float] = {}

    async def start(self) -> None:
        """Read what was set. Call once, before anything else."""
        self._manners = await asyncio.to_thread(self._store.manners.all)

    def manners(self, place: Place) -> Manners:
        """Return how the bot behaves there; a thread follows its channel unless something was set for it."""
        return self._manners.get(place.channel_id) or self._manners.get(place.parent_id or 0) or Manners()

    async def set(self, channel_id: int, manners: Manners) -> None:
        """Behave so in a channel or a thread from now on."""
        await asyncio.to_thread(self._store.manners.set, channel_id, manners)
        self._manners[channel_id] = manners

    def hears(self, place: Place, *, addressed: bool) -> bool:
        """Whether a message that is said there now is answered. Chance is drawn anew each time."""
        now = time.monotonic()
        quiet_s = now - self._unasked_at.get(place.channel_id, -math.inf)
        seated, drawn = self._cast.is_on(place), 100 * random.random()  # noqa: S311  no secret
        manners = self.manners(place)
        heard = listens(manners, addressed=addressed, seated=seated, quiet_s=quiet_s, drawn=drawn)
        if heard and not addressed and manners.mode is Mode.CHANCE:
            self._unasked_at[place.channel_id] = now
        return heard

    def still_hears(self, place: Place) -> bool:
        """Whether a message that was heard unasked is still to be answered. Chance was drawn when it came."""
        manners = self.manners(place)
        if manners.mode is Mode.CHANCE:
            return not manners.paused
        return listens(manners, addressed=False, seated=self._cast.is_on(place), quiet_s=math.inf, drawn=0)
