"""What a persona remembers of what fell out of the window, and what people changed of it. No Discord, no SQL."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from persona_chat.engine.reply import ReplyRequest
from persona_chat.errors import InputError
from persona_chat.heard import encodable
from persona_chat.language import _, grouped
from persona_chat.notes import LONGEST, MOST
from persona_chat.store.store import Store


class Memory:
    """Notes are made of the dialogue each time anew; kept is only what people made of them."""

    def __init__(self, store: Store, *, on: bool) -> None:
        self._memories, self._ledger = store.memories, store.ledger
        self.on = on
        self._changed: frozenset[tuple[int, int]] = frozenset()

    async def start(self) -> None:
        """Read which were changed. Call it before anything else, and after somebody was forgotten."""
        self._changed = await asyncio.to_thread(self._memories.all)

    async def put(
        self, request: ReplyRequest, channel_id: int, persona_id: int, before: int | None = None
    ) -> ReplyRequest:
        """Return the request with what is to be remembered. `before` is the message it is about, if not the next."""
        changed = self.on and (channel_id, persona_id) in self._changed
        kept = await asyncio.to_thread(self._memories.of, channel_id, persona_id, before) if changed else None
        return remembering(request, kept, on=self.on)

    async def keep(
        self, channel_id: int, persona_id: int, notes: Sequence[str], by: int, before: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """Let these be all that is remembered of what was said until now; return them as kept. Raises InputError.

        `before` is what was remembered; None is all that was ever said. What is not among the notes is taken away.
        """
        lines = tuple(line for note in notes if (line := " ".join(encodable(note).split())))
        if len(lines) > MOST:
            many = _("There are {number} lines; at most {most} are kept.")
            raise InputError(many.format(number=len(lines), most=MOST))
        if longest := [line for line in lines if len(line) > LONGEST]:
            long = _("A line has {number} characters; {most} are allowed.")
            raise InputError(long.format(number=grouped(len(longest[0])), most=grouped(LONGEST)))

        def keep() -> None:
            taken_away = before is None or not set(before) <= set(lines)
            noted = self._ledger.noted("notes taken away", (channel_id, persona_id)) if taken_away else nullcontext()
            with noted:
                self._memories.keep(channel_id, persona_id, lines, by)

        await asyncio.to_thread(keep)
        await self.start()
        return lines


def remembering(request: ReplyRequest, kept: tuple[tuple[str, ...], int] | None, *, on: bool) -> ReplyRequest:
    """Return the request with what is to be remembered: notes that people changed, and how many exchanges are newer."""
    if not on:
        return replace(request, unnoted=len(request.dialogue))
    if kept is None:
        return request
    notes, newer = kept
    return replace(request, kept_notes=notes, unnoted=max(len(request.dialogue) - 1 - 2 * newer, 0))
