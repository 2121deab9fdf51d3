"""The engine that asks a server: any that speaks OpenAI's `/v1/completions` (vLLM, llama.cpp, SGLang, Ollama …).

It knows no model; of the base it needs the tokenizer, to fit prompts into their budget.
"""

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from persona_chat import notes, template
from persona_chat.adapters import Adapter, read_adapter
from persona_chat.engine import base
from persona_chat.engine.again import WARM, worth_another_try
from persona_chat.engine.loaded import form_of
from persona_chat.engine.reply import (
    EngineFacts,
    EngineState,
    Finish,
    Follow,
    Prompt,
    Reply,
    ReplyRequest,
    Wait,
    plainly,
)
from persona_chat.engine.server import SILENT_S, Piece, Server
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import (
    BaseUnavailable,
    EngineBusy,
    EngineFailed,
    EngineResting,
    ReplyTimeout,
)
from persona_chat.fit import check_base
from persona_chat.persona import Persona
from persona_chat.settings import Settings


class RemoteEngine:
    """A ReplyEngine on a server. `adapter` is the folder of the adapter that it starts with.

    `wait` wraps what a caller awaits, see LocalEngine; `transport` replaces the network, for tests. A server that says
    nothing for `silent_s` seconds is given up.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        adapter: Path | None = None,
        wait: Wait = plainly,
        transport: httpx.AsyncBaseTransport | None = None,
        silent_s: float = SILENT_S,
    ) -> None:
        self._settings = settings
        self._folder = adapter
        self._wait = wait
        key = settings.server_key.get_secret_value() if settings.server_key is not None else None
        self._server = Server(settings.server_url or "", key, transport, silent_s=silent_s)
        self._tokens: Tokens | None = None
        self._base = ""
        self._adapter: Adapter | None = None
        self._asking: set[asyncio.Task[Reply]] = set()
        self._resting = False
        self._started = False

    async def start(self) -> EngineFacts:
        """See that the server is there and has what is wanted. Raises BaseUnavailable or AdapterRefused."""
        if self._settings.server_url is None:
            raise BaseUnavailable(
                "PERSONA_CHAT_ENGINE=remote needs PERSONA_CHAT_SERVER_URL, such as http://127.0.0.1:8000/v1."
            )
        await asyncio.to_thread(self._tokenizer)
        names = await self._server.names()
        wanted = self._settings.server_model
        if wanted is not None and wanted not in names:
            raise BaseUnavailable(
                f"The server at {self._server.where} does not serve {wanted}. It serves: {', '.join(names)}. "
                "Set PERSONA_CHAT_SERVER_MODEL to one of these."
            )
        self._base = wanted or names[0]
        self._started = True
        await self.use(self._folder)
        called = self._adapter.name if self._adapter is not None else None
        return EngineFacts(self._base, called, f"server at {self._server.where}", "as served", "the server decides")

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        """Answer the dialogue's last turn; see ReplyEngine."""
        if not self._started:
            raise EngineFailed
        if self._resting:
            raise EngineResting
        if len(self._asking) >= (self._settings.batch or 32) + self._settings.queue_size:
            raise EngineBusy
        self._server.breaker.check()
        task = asyncio.ensure_future(self._answer(request, follow))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        try:
            reply: Reply = await self._wait(task)
        except asyncio.CancelledError:
            task.cancel()
            if not self._started:  # closed
                raise EngineFailed from None
            raise
        return reply

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return exactly what `reply` would give the model."""
        prompt, _ = await asyncio.to_thread(self._fit, request)
        return prompt

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in tokens; raise PersonaTooLong when it does not fit alone."""

        def count() -> int:
            allowed, counted = self._settings.persona_tokens, self._tokenizer().count
            return template.check_persona(persona, allowed, counted, form=form_of(self._adapter))

        return await asyncio.to_thread(count)

    def state(self) -> EngineState:
        """Return what there is to do; see ReplyEngine. Which of them the server is writing, it does not say."""
        return EngineState(ready=self._started and not self._resting, writing=len(self._asking))

    async def use(self, adapter: Path | None) -> str | None:
        """Serve another adapter from the next reply on; see ReplyEngine. The server must have loaded it, or load it."""
        if not self._started:
            raise EngineFailed
        wanted = await asyncio.to_thread(self._read, adapter) if adapter is not None else None
        before = self._adapter
        if wanted is not None and (before is None or wanted.name != before.name):
            load = self._settings.server_adapters == "vllm"
            await (self._server.load(wanted) if load else self._server.check_has(wanted))
        self._adapter = wanted
        if before is not None and self._settings.server_adapters == "vllm" and before != wanted:
            await self._server.unload(before)
        return wanted.name if wanted is not None else None

    async def rest(self) -> None:
        """Ask nothing until `wake`: the server's memory is its own."""
        self._resting = True

    async def wake(self) -> None:
        """Ask again."""
        self._resting = False

    async def close(self) -> None:
        """Ask nothing any more. Whoever still waits gets EngineFailed. Safe to call twice."""
        self._started = False
        for task in list(self._asking):
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
        await self._server.close()

    def _read(self, folder: Path) -> Adapter:
        adapter = read_adapter(folder)
        check_base(adapter, base.name_of(self._settings))
        return adapter

    def _tokenizer(self) -> Tokens:
        if self._tokens is None:
            choice = base.choose(self._settings)
            self._tokens = Tokens(base.load_tokenizer(choice, self._settings.data_dir))
        return self._tokens

    def _fit(self, request: ReplyRequest) -> tuple[Prompt, list[int]]:
        """Return the prompt, and its tokens."""
        budget, tokens = self._settings.context_tokens, self._tokenizer()
        how: dict[str, Any] = {
            "show_names": self._settings.show_names,
            "form": form_of(self._adapter),
            "begun": request.begun,
        }
        fitted = notes.fit(request, budget, tokens.count, **how)
        text = template.render(fitted.persona, fitted.turns, **how)
        return Prompt(text, len(fitted.turns), fitted.notes), tokens.encode(text)

    async def _answer(self, request: ReplyRequest, follow: Follow) -> Reply:
        asked, adapter = time.perf_counter(), self._adapter
        prompt, ids = await asyncio.to_thread(self._fit, request)
        body = {
            "model": adapter.name if adapter is not None else self._base,
            "prompt": ids if self._settings.server_prompts == "tokens" else plain(prompt.text, self._tokenizer()),
            "stream": True,
            **_drawn(request),
        }
        written = await self._write(body, request, follow, asked)
        if worth_another_try(template.read_reply(written.text)) and not written.late:
            body["seed"] = int(body.get("seed", 0)) + 1
            body["temperature"] = body["temperature"] or WARM
            written = await self._write(body, request, follow, asked)
        text = template.read_reply(written.text)
        if not text:
            raise ReplyTimeout(request.deadline_s) if written.late else EngineFailed
        now = time.perf_counter()
        return Reply(
            text=text,
            finish=Finish.DEADLINE if written.late else Finish.LENGTH if written.cut else Finish.STOP,
            turns=prompt.turns,
            prompt_tokens=len(ids),
            reply_tokens=written.pieces,
            waited_s=0.0,
            first_token_s=written.first_at - asked,
            total_s=now - asked,
            adapter=adapter.name if adapter is not None else None,
            read_tokens=len(ids),
        )

    async def _write(self, body: dict[str, Any], request: ReplyRequest, follow: Follow, asked: float) -> "_Written":
        """Let the server write. Raises EngineFailed."""
        written = _Written()
        left = asked + request.deadline_s - time.perf_counter()
        try:
            async with asyncio.timeout(max(0.0, left)), aclosing(self._server.write(body)) as pieces:
                async for piece in pieces:
                    written.add(piece)
                    if not request.sampling.whole and template.ends_reply(written.text):
                        break
                    if follow.grown is not None and (shown := template.shown(written.text)):
                        follow.grown(shown)
        except TimeoutError:
            written.late = True
        return written


@dataclass
class _Written:
    """What came of one asking."""

    text: str = ""
    pieces: int = 0
    cut: bool = False
    late: bool = False
    first_at: float = 0.0

    def add(self, piece: Piece) -> None:
        """Take a piece in."""
        self.first_at = self.first_at or time.perf_counter()
        self.text += piece.text
        self.pieces += bool(piece.text)
        self.cut = piece.cut


def plain(prompt: str, tokens: Tokens) -> str:
    """Return the prompt with nothing in it that a server would read as a control token, for one that takes texts only.

    A space is put into each such piece, however it comes about.
    """
    control = [str(token) for token in tokens.tokenizer.added_tokens_decoder.values() if len(str(token).strip()) > 1]
    while found := next((token for token in control if token in prompt), None):
        prompt = prompt.replace(found, f"{found[0]} {found[1:]}")
    return prompt


def _drawn(request: ReplyRequest) -> dict[str, Any]:
    """How words are drawn, in OpenAI's names and those that vLLM, SGLang and llama.cpp add.

    There is no repetition penalty: theirs counts the prompt's words too, and these are the facts.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "stop": [] if sampling.whole else ["\n"],
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.whole:
        body["ignore_eos"] = True
    return body
