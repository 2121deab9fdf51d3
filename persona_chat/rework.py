"""What is done with answers that were given already: other versions, edits, deletions. Knows no Discord and no SQL."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from persona_chat.asking import how
from persona_chat.cast import check_age
from persona_chat.chat import Chat
from persona_chat.dialogue import Speaker, Turn
from persona_chat.engine.reply import Prompt, ReplyRequest
from persona_chat.errors import Filtered, InputError, PersonaGone
from persona_chat.heard import encodable
from persona_chat.language import N_, _, grouped
from persona_chat.place import Place
from persona_chat.redrawing import NO_CLEAN_WORDS, warmed
from persona_chat.settings import Settings
from persona_chat.store.answers import Answer
from persona_chat.store.store import Store

NOT_MINE = N_("That is no reply of mine that I remember.")

LONGEST = 1500
"""Characters of a reply that somebody writes instead."""


TRIES = 4
WARMER = 0.2
"""Another version is drawn so often, so much warmer each time, until its words are new."""


class Rework:
    """Verbs about answers, named by Discord's id of the message or of its answer. A channel's wait for each other."""

    def __init__(self, chat: Chat, store: Store, settings: Settings) -> None:
        self._chat = chat
        self._store = store
        self._settings = settings

    async def find(self, message_id: int) -> Answer:
        """Return the answer. Raises InputError when there is none."""
        answer = await asyncio.to_thread(self._store.answers.find, message_id)
        if answer is None:
            raise InputError(_(NOT_MINE))
        return answer

    async def sent_as(self, message_id: int) -> Answer | None:
        """Return the answer that went out as that message, if one did."""
        answer = await asyncio.to_thread(self._store.answers.find, message_id)
        return answer if answer is not None and message_id in answer.sent else None

    async def again(self, message_id: int, place: Place) -> Answer:
        """Write another version of an answer, and show that. Raises InputError, and what the engine raises.

        Words that a version has already are drawn anew, warmer each time; after some tries they are taken.
        """
        answer = await self.find(message_id)
        async with self._chat.in_turn(answer.channel_id):
            answer = await self.find(message_id)
            request, revision_id = await self._request(answer, place)
            there = {version.text for version in answer.versions}
            sampling = warmed(request.sampling)  # or another version would be the same one
            for _attempt in range(TRIES):
                asked, reply = await self._chat.write(replace(request, sampling=sampling), place)
                if reply.text not in there:
                    break
                sampling = replace(sampling, temperature=sampling.temperature + WARMER, seed=random.getrandbits(31))
            made = how(asked, reply)
            add = self._store.answers.add
            await asyncio.to_thread(add, answer.message_id, revision_id, reply.text, reply.adapter, made)
        return await self.find(message_id)

    async def go_on(self, message_id: int, place: Place) -> Answer:
        """Let the persona say more: a version that goes on after the one that is shown. Raises as `again` does."""
        answer = await self.find(message_id)
        async with self._chat.in_turn(answer.channel_id):
            answer = await self.find(message_id)
            if len(answer.version.text) >= LONGEST:
                raise InputError(_("This reply is as long as replies get."))
            request, revision_id = await self._request(answer, place)
            request = replace(request, begun=answer.version.text)
            request, reply = await self._chat.write(request, place)
            made = how(request, reply) | {"goes_on": answer.shown}
            before = answer.version.how or {}
            if "edited_by" in before:  # their words are in it, and go with them
                made["edited_by"] = before["edited_by"]
            text, add = f"{request.begun} {reply.text}", self._store.answers.add
            if listed := self._chat.moderation.words(place.guild_id).stops_output(text):
                raise Filtered(_(NO_CLEAN_WORDS), listed)
            await asyncio.to_thread(add, answer.message_id, revision_id, text, reply.adapter, made)
        return await self.find(message_id)

    async def turn(self, message_id: int, by: int, place: Place) -> Answer:
        """Show the next version (1) or the one before (-1); at the ends nothing changes.

        What the server's filter of words stops by now is passed over.
        """
        answer = await self.find(message_id)
        stops = self._chat.moderation.words(place.guild_id).stops_output
        numbers = [
            version.number
            for version in answer.versions
            if version.number == answer.shown or stops(version.text) is None
        ]
        wanted = min(max(numbers.index(answer.shown) + by, 0), len(numbers) - 1)
        await asyncio.to_thread(self._store.answers.show, answer.message_id, numbers[wanted])
        return await self.find(message_id)

    async def edit(self, message_id: int, text: str, by: int) -> Answer:
        """Keep other words as a version of the answer, written by a person. Raises InputError."""
        words = " ".join(encodable(text).split())
        if not words:
            raise InputError(_("A reply needs words. To take it away, delete it."))
        if len(words) > LONGEST:
            text = _("That has {number} characters; {allowed} are allowed.")
            raise InputError(text.format(number=grouped(len(words)), allowed=grouped(LONGEST)))
        answer = await self.find(message_id)
        add, revision_id = self._store.answers.add, answer.version.revision_id
        await asyncio.to_thread(add, answer.message_id, revision_id, words, None, {"edited_by": by})
        return await self.find(message_id)

    async def rephrased(
        self, message_id: int, text: str, place: Place, anew: Callable[[], bool] = lambda: True
    ) -> Answer | None:
        """Take over that a person edited a message. When it was the last, return its new answer, if `anew` wants one.

        Of a message that was not answered, or says the same as before, nothing changes.
        """
        answer = await asyncio.to_thread(self._store.answers.find, message_id)
        before = [part.text for part in answer.parts if part.message_id == message_id] if answer is not None else [""]
        if not text or text in before or not before:
            return None
        self._chat.rephrase(message_id, text)
        await asyncio.to_thread(self._store.answers.rephrase, message_id, text)
        if answer is None or not answer.newest or not anew():
            return None
        return await self.again(message_id, place)

    async def delete(self, message_ids: Sequence[int]) -> tuple[Answer, ...]:
        """Let go of messages and their answers, named by the ids of either; return what they were."""
        return await asyncio.to_thread(self._delete, message_ids)

    async def mark_sent(self, message_id: int, part: int, sent_id: int) -> None:
        """Note that a part (from 0) of the answer to that message went out as another of Discord's messages."""
        await self._chat.mark_sent(message_id, part, sent_id)

    async def unsend(self, sent: Sequence[int]) -> None:
        """Note that these of Discord's messages are no parts of answers any more: that they go says nothing."""
        await asyncio.to_thread(self._store.answers.unsend, sent)

    async def reset(self, place: Place) -> int:
        """Remember nothing of what was said there until now; return how many answered messages that were."""
        async with self._chat.in_turn(place.channel_id):
            return await asyncio.to_thread(self._store.manners.forget, place.channel_id)

    async def undo_reset(self, place: Place) -> bool:
        """Remember again what the last reset put away; whether there was something."""
        return await asyncio.to_thread(self._store.manners.remember, place.channel_id)

    async def context(self, place: Place, guest_id: int | None = None) -> tuple[Prompt, int]:
        """Return what the model would read with the next message, and how many turns are remembered.

        That is for who was set there, or for a guest. Raises InputError where nobody talks.
        """
        seated, past = await asyncio.to_thread(self._store.talk, place, self._settings.history_turns, guest_id)
        if seated is None:
            raise InputError(_("Nobody talks here. Set a persona with `/persona set`."))
        request = self._chat.asking.request(seated.persona, (*past, Turn(Speaker.A, "…")), place)
        request = await self._chat.memory.put(request, place.channel_id, seated.kept.id)
        return await self._chat.prompt(request), len(past)

    def _delete(self, message_ids: Sequence[int]) -> tuple[Answer, ...]:
        ours = self._store.answers.ours(message_ids)
        if not ours:
            return ()
        with self._store.ledger.noted("deleted", ours):
            return self._store.answers.delete(ours)

    async def _request(self, answer: Answer, place: Place) -> tuple[ReplyRequest, int]:
        """What the engine is asked: the persona in its words of now, and what was said before the message."""
        kept = await asyncio.to_thread(self._store.library.get, answer.persona_id)
        revision_id = await asyncio.to_thread(self._store.answers.revision_of, answer.persona_id)
        persona = answer.version.persona if kept is None else kept.persona
        if not persona.name:  # whose it was had everything deleted
            raise PersonaGone
        check_age(place, persona)
        past = await asyncio.to_thread(self._store.answers.before, answer, self._settings.history_turns)
        asked = Turn(Speaker.A, answer.asked, answer.asker_name)
        request = self._chat.asking.request(persona, (*past, asked), place)
        request = await self._chat.memory.put(request, answer.channel_id, answer.persona_id, answer.message_id)
        return request, answer.version.revision_id if revision_id is None else revision_id
