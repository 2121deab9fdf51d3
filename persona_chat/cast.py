"""The personas of servers and people, and who talks where. Knows store and engine; knows no Discord and no SQL."""

import asyncio
from collections.abc import Iterable

from persona_chat.engine.reply import ReplyEngine
from persona_chat.errors import AgeRestricted, InputError, PersonaGone
from persona_chat.guests import Called, Guests, answers_to
from persona_chat.language import N_, _
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.guests import Guest
from persona_chat.store.library import Kept, Revision
from persona_chat.store.seating import Seated
from persona_chat.store.store import Store

_WITH_AGE = (Scope.THREAD, Scope.CHANNEL)
"""These are age-restricted or not; a server, or a person, comes to channels of both kinds."""


class Cast:
    """What can be done with personas. A persona that does not fit the prompt is never kept.

    `guests` are those that talk somewhere besides.
    """

    def __init__(self, store: Store, engine: ReplyEngine) -> None:
        self._library, self._seating, self._ledger = store.library, store.seating, store.ledger
        self.guests = Guests(store.guests)
        self._engine = engine
        self._on: dict[Spot, Called] = {}
        self._changing = asyncio.Lock()  # what is set and what is on never differ

    async def start(self) -> None:
        """Read where somebody talks. Call it before anything else."""
        on = await asyncio.to_thread(self._seating.spots)
        self._on = {spot: Called(persona_id, (name,)) for spot, (persona_id, name) in on.items()}
        await self.guests.look_again()

    async def look_again(self) -> None:
        """Read that anew, after somebody's personas were forgotten."""
        async with self._changing:
            await self.start()

    def is_on(self, place: Place) -> bool:
        """Whether messages in this place are for a persona, also without a mention: one was set just for it."""
        return any(place.find(scope) in self._on for scope in (Scope.THREAD, Scope.CHANNEL))

    def everybody(self, place: Place) -> tuple[list[Called], int | None]:
        """Return whom a text can call in this place, and the id of who answers what calls nobody."""
        guests = [answers_to(guest) for guest in self.guests.at(place)]
        host = next((self._on[spot] for spot in place.spots if spot in self._on), None)
        if host is None:
            return guests, guests[0].persona_id if guests else None
        return [*guests, host], host.persona_id

    async def check(self, persona: Persona) -> int:
        """Return the persona's size in tokens. Raises PersonaTooLong, with the count."""
        return await self._engine.check_persona(persona)

    async def seated(self, place: Place) -> Seated | None:
        """Return who talks in this place to this person, and where that was set."""
        return await asyncio.to_thread(self._seating.seated, place)

    async def at(self, place: Place, scope: Scope) -> Kept | None:
        """Return who was set for exactly this scope of the place."""
        return await asyncio.to_thread(self._seating.at, spot_of(place, scope))

    async def put(self, place: Place, scope: Scope, persona: Persona) -> Kept:
        """Let a persona in these words talk: the one of that name, edited, or a new one. Raises PersonaTooLong.

        For a person it is that person's, else the server's.
        """
        spot = spot_of(place, scope)
        if scope in _WITH_AGE:
            check_age(place, persona)
        await self.check(persona)
        home = place.mine if scope is Scope.ME else place.home
        async with self._changing:
            kept = await asyncio.to_thread(self._seating.put, spot, home, persona, place.person_id)
            await self.start()
        return kept

    async def seat(self, place: Place, scope: Scope, kept: Kept) -> None:
        """Let a persona that there is talk."""
        spot = spot_of(place, scope)
        if scope in _WITH_AGE:
            check_age(place, kept.persona)
        async with self._changing:
            await asyncio.to_thread(self._seating.seat, spot, kept.id, place.person_id)
            await self.start()

    async def unseat(self, place: Place, scope: Scope) -> Kept | None:
        """Let nobody talk there any more; return who did."""
        spot = spot_of(place, scope)
        async with self._changing:
            before = await asyncio.to_thread(self._seating.unseat, spot)
            await self.start()
        return before

    async def invite(self, place: Place, scope: Scope, kept: Kept, trigger: str) -> Guest:
        """Let a persona answer there when it is called. Raises InputError, and AgeRestricted."""
        check_age(place, kept.persona)
        async with self._changing:
            return await self.guests.invite(spot_of(place, scope), kept, trigger, place.person_id)

    async def create(self, home: Spot, persona: Persona, by: int) -> Kept:
        """Keep a new persona. Raises NameTaken and PersonaTooLong."""
        await self.check(persona)
        return await asyncio.to_thread(self._library.create, home, persona, by)

    async def edit(self, kept: Kept, persona: Persona, by: int) -> Kept:
        """Give it other words, from the next reply on. Raises NameTaken, PersonaGone and PersonaTooLong."""
        await self.check(persona)
        async with self._changing:
            edited = await asyncio.to_thread(self._library.edit, kept.id, persona, by)
            await self.start()
        return edited

    async def search(self, home: Spot, name: str) -> Kept | None:
        """Return the home's persona of that name, however it is written."""
        return await asyncio.to_thread(self._library.named, home, name)

    async def find(self, homes: Iterable[Spot], name: str) -> Kept:
        """Return the persona of that name, of the first of these homes that has one. Raises InputError."""
        for home in homes:
            if (kept := await self.search(home, name)) is not None:
                return kept
        raise InputError(N_("There is no persona called {name}. `/persona list` shows who is."), name=name)

    async def get(self, persona_id: int, *, also_deleted: bool = False) -> Kept:
        """Return a persona by its id. Raises PersonaGone."""
        kept = await asyncio.to_thread(self._library.get, persona_id, also_deleted=also_deleted)
        if kept is None:
            raise PersonaGone
        return kept

    async def list(self, *homes: Spot) -> tuple[Kept, ...]:
        """Return the personas of these homes, by name."""
        return await asyncio.to_thread(self._library.list, homes)

    async def delete(self, kept: Kept) -> bool:
        """Take a persona away from everywhere; whether it was still there. What was said stays."""

        def delete() -> bool:
            with self._ledger.noted("persona deleted", (kept.id,)):
                return self._library.delete(kept.id)

        async with self._changing:
            there = await asyncio.to_thread(delete)
            await self.start()
        return there

    async def restore(self, persona_id: int) -> Kept:
        """Bring a deleted persona back to where it was. Raises NameTaken when its name is used again."""

        def restore() -> Kept:
            kept = self._library.restore(persona_id)
            # Only now: what was refused must not be done at the next start.
            with self._ledger.noted("persona restored", (persona_id,)):
                return kept

        async with self._changing:
            kept = await asyncio.to_thread(restore)
            await self.start()
        return kept

    async def revisions(self, kept: Kept) -> tuple[Revision, ...]:
        """Return all words that it had, the newest first."""
        return await asyncio.to_thread(self._library.revisions, kept.id)

    async def return_to(self, kept: Kept, number: int | None = None) -> Kept:
        """Give it back the words of an earlier revision, without a number of the one before the current one."""
        if number is None:
            earlier = [one.number for one in await self.revisions(kept) if one.number < kept.number]
            if not earlier:
                text = N_("{name} has no earlier words. `/persona history` shows all.")
                raise InputError(text, name=kept.persona.name)
            number = earlier[0]
        async with self._changing:
            returned = await asyncio.to_thread(self._library.return_to, kept.id, number)
            await self.start()
        return returned


def spot_of(place: Place, scope: Scope) -> Spot:
    """Return what a scope means in this place. Raises InputError where it means nothing."""
    spot = place.find(scope)
    if spot is None:
        if scope is Scope.THREAD:
            raise InputError(_("The scope `thread` only works in a thread."))
        raise InputError(_("The scope `server` only works in a server."))
    return spot


def check_age(place: Place, persona: Persona) -> None:
    """Raise AgeRestricted for such a persona in a channel that is not."""
    if persona.age_restricted and not place.age_restricted:
        raise AgeRestricted(persona.name)
