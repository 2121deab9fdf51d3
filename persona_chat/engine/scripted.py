"""An engine that answers from a script, for tests of everything above the model. No torch, no tokenizer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from persona_chat import notes, template
from persona_chat.adapters import read_adapter
from persona_chat.engine.reply import EngineFacts, EngineState, Finish, Follow, Prompt, Reply, ReplyRequest
from persona_chat.errors import EngineFailed, EngineResting, ReplyTimeout
from persona_chat.persona import Persona


class ScriptedEngine:
    """A ReplyEngine whose words come from a function; a returned exception is raised.

    Tokens are words between spaces. `requests` are all that were asked, `cancelled` those given up by the caller.
    An adapter's folder is checked and its name stands in replies; it changes nothing else. `used` are all that
    were asked for, `adapter` the name of the last that was sound.
    """

    def __init__(
        self,
        replies: Callable[[ReplyRequest], str | Exception],
        *,
        delay_s: float = 0.0,
        context_tokens: int = 1024,
        persona_tokens: int = 640,
        show_names: bool = False,
    ) -> None:
        self._replies = replies
        self._delay_s = delay_s
        self._context_tokens = context_tokens
        self._persona_tokens = persona_tokens
        self._show_names = show_names
        self._closing = asyncio.Event()
        self.requests: list[ReplyRequest] = []
        self.cancelled: list[ReplyRequest] = []
        self.adapter: str | None = None
        self.used: list[Path | None] = []
        self._resting = False

    async def start(self) -> EngineFacts:
        """Say what runs; there is nothing to load."""
        return EngineFacts(base="scripted", adapter=None, device="none", precision="none", why="a script")

    async def reply(self, request: ReplyRequest, _follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        """Answer from the script after the delay; a longer delay than the deadline is a ReplyTimeout."""
        if self._resting:
            raise EngineResting
        self.requests.append(request)
        prompt = self._fit(request)
        try:
            await self._think(min(self._delay_s, request.deadline_s))
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        if self._delay_s >= request.deadline_s:
            raise ReplyTimeout(request.deadline_s)
        text = self._replies(request)
        if isinstance(text, Exception):
            raise text
        return Reply(
            text=text,
            finish=Finish.STOP,
            turns=prompt.turns,
            prompt_tokens=_words(prompt.text),
            reply_tokens=_words(text),
            waited_s=0.0,
            first_token_s=self._delay_s,
            total_s=self._delay_s,
            adapter=self.adapter,
        )

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return the prompt of the turns that fit."""
        return self._fit(request)

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in words; raise PersonaTooLong over the limit."""
        return template.check_persona(persona, self._persona_tokens, _words)

    def state(self) -> EngineState:
        """Whether it answers; nobody waits."""
        return EngineState(ready=not (self._resting or self._closing.is_set()))

    async def use(self, adapter: Path | None) -> str | None:
        """Check the folder, and say from now on that it writes the replies."""
        if self._closing.is_set():
            raise EngineFailed
        self.used.append(adapter)
        self.adapter = None if adapter is None else (await asyncio.to_thread(read_adapter, adapter)).name
        return self.adapter

    async def rest(self) -> None:
        """Answer nobody until `wake`."""
        self._resting = True

    async def wake(self) -> None:
        """Answer again."""
        self._resting = False

    async def close(self) -> None:
        """End every reply that is still being thought about with EngineFailed."""
        self._closing.set()

    async def _think(self, seconds: float) -> None:
        if self._closing.is_set():
            raise EngineFailed
        if seconds > 0:
            try:
                await asyncio.wait_for(self._closing.wait(), seconds)
            except TimeoutError:
                return
            raise EngineFailed

    def _fit(self, request: ReplyRequest) -> Prompt:
        how: dict[str, Any] = {"show_names": self._show_names, "begun": request.begun}
        fitted = notes.fit(request, self._context_tokens, _words, steady=False, **how)
        return Prompt(template.render(fitted.persona, fitted.turns, **how), len(fitted.turns), fitted.notes)


def _words(text: str) -> int:
    return len(text.split())
