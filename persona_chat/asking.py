"""What an engine is asked for a message: who answers, the turns before it, and how words are drawn.

Knows the store; knows no Discord, no SQL and no model.
"""

import asyncio
import random
from dataclasses import asdict, replace
from typing import Any

from persona_chat.cast import Cast, check_age
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import Reply, ReplyRequest
from persona_chat.errors import InputError
from persona_chat.guests import Called, answers_to, called
from persona_chat.heard import Heard
from persona_chat.keeping import Keeping
from persona_chat.language import N_, _
from persona_chat.memory import Memory
from persona_chat.persona import Persona
from persona_chat.place import Place
from persona_chat.settings import Settings
from persona_chat.store.seating import Seated
from persona_chat.store.store import Store

NO_PERSONA = N_("Nobody is here to talk to yet. Set a persona with `/persona set`.")


class Asking:
    """Puts requests together."""

    def __init__(self, store: Store, keeping: Keeping, cast: Cast, memory: Memory, settings: Settings) -> None:
        self._store = store
        self._keeping = keeping
        self._cast = cast
        self._memory = memory
        self._settings = settings

    async def asked(self, heard: Heard) -> tuple[Seated, ReplyRequest]:
        """Return who answers, and what the engine is asked. Raises InputError where nobody talks, and AgeRestricted."""
        talk, turns = self._store.talk, self._settings.history_turns
        seated, past = await self._keeping.read(talk, heard.place, turns, await self._called(heard))
        if seated is None:
            raise InputError(_(NO_PERSONA))
        check_age(heard.place, seated.persona)
        request = self.request(seated.persona, (*past, Turn(Speaker.A, heard.text, heard.speaker_name)), heard.place)
        return seated, await self._memory.put(request, heard.place.channel_id, seated.kept.id)

    def request(self, persona: Persona, dialogue: Dialogue, place: Place) -> ReplyRequest:
        """Return what an engine is asked, with a seed of its own, so that it can be asked the same again."""
        sampling = self._settings.sampling
        if sampling.seed is None:
            sampling = replace(sampling, seed=random.getrandbits(31))
        return ReplyRequest(persona, dialogue, sampling, self._settings.deadline_s, place.channel_id)

    async def _called(self, heard: Heard) -> int | None:
        """The guest that is to answer; None for whoever was set there.

        It is the one who is called by name, else whose message this replies to; where nobody was set, the first guest.
        """
        guests = self._cast.guests.at(heard.place)
        if not guests:
            return None
        ids = [guest.persona_id for guest in guests]
        host = await self._cast.seated(heard.place)
        everybody = [answers_to(guest) for guest in guests]
        if host is not None:
            everybody.append(Called(host.kept.id, (host.persona.name,)))
        wanted = called(heard.text, everybody)
        if wanted is None and heard.answers is not None:
            before = await asyncio.to_thread(self._store.answers.find, heard.answers)
            wanted = before.persona_id if before is not None and heard.answers in before.sent else None
        if wanted not in ids and host is None:
            wanted = ids[0]
        return wanted if wanted in ids else None


def how(request: ReplyRequest, reply: Reply) -> dict[str, Any]:
    """What a reply was made with, as it is kept beside it."""
    return {
        **{name: value for name, value in asdict(request.sampling).items() if name not in ("whole", "slots")},
        "turns": reply.turns,
        "remembered": len(request.dialogue),
        "prompt_tokens": reply.prompt_tokens,
        "finish": reply.finish.value,
    }
