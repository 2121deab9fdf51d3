"""What a persona remembers of what fell out of the window, and what people changed of it. No Discord, no SQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from persona_chat.engine.reply import ReplyRequest
from persona_chat.errors import InputError
from persona_chat.heard import encodable
from persona_chat.language import _, grouped
from persona_chat.notes import LONGEST, MOST
from persona_chat.store.memories import Memories


class Memory:
    """Notes are made of the dialogue each time anew; kept is only what people made of them."""

    def __init__(self, memories: Memories, *, on: bool) -> None:
        self._memories = memories
        self.on = on
        self._changed: frozenset[tuple[int, int]] = frozenset()

    async def start(self) -> None:
        """Read which were changed. Call it before anything else, and after somebody was forgotten."""
        self._changed = await asyncio.to_thread(self._memories.all)

    async def put(
        self, request: ReplyRequest, channel_id: int, persona_id: int, before: int | None = None
    ) -> ReplyRequest:
        """Return the request with what is to be remembered. `before` is the message it is about, if not the next."""
        if not self.on:
            return replace(request, unnoted=len(request.dialogue))
        if (channel_id, persona_id) not in self._changed:
            return request
        kept = await asyncio.to_thread(self._memories.of, channel_id, persona_id, before)
        if kept is None:
            return request
        notes, newer = kept
        past = len(request.dialogue) - 1
        return replace(request, kept_notes=notes, unnoted=max(past - 2 * newer, 0))

    async def keep(self, channel_id: int, persona_id: int, notes: Sequence[str], by: int) -> tuple[str, ...]:
        """Let these be all that is remembered of what was said until now; return them as kept. Raises InputError."""
        lines = tuple(line for note in notes if (line := " ".join(encodable(note).split())))
        if len(lines) > MOST:
            raise InputError(
                _("There are {number} lines; at most {most} are kept.").format(number=len(lines), most=MOST)
            )
        if longest := [line for line in lines if len(line) > LONGEST]:
            long = _("A line has {number} characters; {most} are allowed.")
            raise InputError(long.format(number=grouped(len(longest[0])), most=grouped(LONGEST)))
        await asyncio.to_thread(self._memories.keep, channel_id, persona_id, lines, by)
        await self.start()
        return lines
