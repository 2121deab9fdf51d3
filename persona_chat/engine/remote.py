"""The engine that asks a server: any that speaks OpenAI's `/v1/completions` (vLLM, llama.cpp, SGLang, Ollama …).

It knows HTTP and no model; of the base it needs the tokenizer, to fit prompts into their budget.
"""

import asyncio
import dataclasses
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from persona_chat import template
from persona_chat.adapters import Adapter, read_adapter
from persona_chat.engine import base
from persona_chat.engine.loaded import form_of
from persona_chat.engine.reply import EngineFacts, Finish, Follow, Reply, ReplyRequest, Wait, plainly
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import (
    AdapterRefused,
    BaseUnavailable,
    EngineBusy,
    EngineFailed,
    EngineResting,
    ReplyTimeout,
)
from persona_chat.fit import check_base
from persona_chat.persona import Persona
from persona_chat.settings import Settings

CONNECT_S = 5.0
SILENT_S = 30.0
"""A server that says nothing for so long in the middle of a reply is given up."""

TRIES = 3
BACK_OFF_S = 0.3
"""Before the second try; four times as long before the third, and up to half as much more by chance."""

FAILURES = 5
OPEN_S = 15.0
"""After so many failures in a row nothing is asked for so long: waiting for a dead server helps nobody."""

_LATER = {429, 500, 502, 503, 504}

_log = logging.getLogger(__name__)


class RemoteEngine:
    """A ReplyEngine on a server. `adapter` is the folder of the adapter that it starts with.

    `wait` wraps what a caller awaits, see LocalEngine; `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        adapter: Path | None = None,
        wait: Wait = plainly,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._folder = adapter
        self._wait = wait
        self._breaker = Breaker()
        key = settings.server_key.get_secret_value() if settings.server_key is not None else None
        self._client = httpx.AsyncClient(
            base_url=f"{settings.server_url or ''}".rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(SILENT_S, connect=CONNECT_S),
            transport=transport,
        )
        self._where = urlsplit(settings.server_url or "").netloc or "nowhere"
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
        names = await self._names()
        wanted = self._settings.server_model
        if wanted is not None and wanted not in names:
            raise BaseUnavailable(
                f"The server at {self._where} does not serve {wanted}. It serves: {', '.join(names) or 'nothing'}. "
                "Set PERSONA_CHAT_SERVER_MODEL to one of these."
            )
        self._base = wanted or names[0]
        self._started = True
        await self.use(self._folder)
        called = self._adapter.name if self._adapter is not None else None
        return EngineFacts(self._base, called, f"server at {self._where}", "as served", "the server decides")

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        """Answer the dialogue's last turn; see ReplyEngine."""
        if not self._started:
            raise EngineFailed
        if self._resting:
            raise EngineResting
        if len(self._asking) >= (self._settings.batch or 32) + self._settings.queue_size:
            raise EngineBusy
        self._breaker.check()
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

    async def prompt(self, request: ReplyRequest) -> str:
        """Return exactly the text that `reply` would give the model."""
        return (await asyncio.to_thread(self._fit, request))[0]

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in tokens; raise PersonaTooLong when it does not fit alone."""

        def count() -> int:
            allowed, counted = self._settings.persona_tokens, self._tokenizer().count
            return template.check_persona(persona, allowed, counted, form=form_of(self._adapter))

        return await asyncio.to_thread(count)

    async def use(self, adapter: Path | None) -> str | None:
        """Serve another adapter from the next reply on; see ReplyEngine. The server must have loaded it, or load it."""
        if not self._started:
            raise EngineFailed
        wanted = await asyncio.to_thread(self._read, adapter) if adapter is not None else None
        before = self._adapter
        if wanted is not None and (before is None or wanted.name != before.name):
            await self._load(wanted)
        self._adapter = wanted
        if before is not None and self._settings.server_adapters == "vllm" and before != wanted:
            await self._unload(before)
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
        await self._client.aclose()

    async def _names(self) -> list[str]:
        """Return the names of what the server serves."""
        try:
            response = await self._client.get("models")
            response.raise_for_status()
            names = [str(model["id"]) for model in response.json()["data"]]
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            hint = "Check PERSONA_CHAT_SERVER_KEY." if status in (401, 403) else "Does its URL end in /v1?"
            raise BaseUnavailable(f"The server at {self._where} answered with HTTP {status}. {hint}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BaseUnavailable(
                f"The server at {self._where} cannot be reached ({type(error).__name__}). Start it, or correct "
                "PERSONA_CHAT_SERVER_URL."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise BaseUnavailable(
                f"What runs at {self._where} is no server of language models: it has no list of them at /models."
            ) from None
        if not names:
            raise BaseUnavailable(f"The server at {self._where} serves no model.")
        return names

    def _read(self, folder: Path) -> Adapter:
        adapter = read_adapter(folder)
        check_base(adapter, base.name_of(self._settings))
        return adapter

    async def _load(self, adapter: Adapter) -> None:
        """Have the server load the adapter, where it can; else it must have it already. Raises AdapterRefused."""
        if self._settings.server_adapters == "vllm":
            body = {"lora_name": adapter.name, "lora_path": str(adapter.folder.resolve())}
            try:
                response = await self._client.post("load_lora_adapter", json=body)
            except httpx.HTTPError as error:
                raise AdapterRefused(
                    f"The server at {self._where} could not be asked for {adapter.name} ({type(error).__name__})."
                ) from None
            if response.is_error and "already" not in response.text:
                raise AdapterRefused(
                    f"The server at {self._where} does not take the adapter {adapter.name} (HTTP "
                    f"{response.status_code}). It must see the folder {adapter.folder}, and be started with "
                    "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
                )
        elif adapter.name not in await self._names():
            raise AdapterRefused(
                f"The server at {self._where} has no adapter {adapter.name}. Let it serve that folder under this "
                "name, set PERSONA_CHAT_SERVER_ADAPTERS=vllm where it is vLLM, or set PERSONA_CHAT_ADAPTER=none."
            )

    async def _unload(self, adapter: Adapter) -> None:
        try:
            await self._client.post("unload_lora_adapter", json={"lora_name": adapter.name})
        except httpx.HTTPError as error:
            _log.info("the server keeps an adapter that serves no more: %s", type(error).__name__)

    def _tokenizer(self) -> Tokens:
        if self._tokens is None:
            choice = base.choose(self._settings)
            self._tokens = Tokens(base.load_tokenizer(choice, self._settings.data_dir))
        return self._tokens

    def _fit(self, request: ReplyRequest) -> tuple[str, list[int], int]:
        """Return the prompt, its tokens, and how many turns are in it."""
        names, form, tokens = self._settings.show_names, form_of(self._adapter), self._tokenizer()
        budget = self._settings.context_tokens
        turns = template.fit(
            request.persona, request.dialogue, budget, tokens.count, show_names=names, form=form, steady=True
        )
        prompt = template.render(request.persona, turns, show_names=names, form=form)
        return prompt, tokens.encode(prompt), len(turns)

    async def _answer(self, request: ReplyRequest, follow: Follow) -> Reply:
        asked, adapter = time.perf_counter(), self._adapter
        prompt, ids, turns = await asyncio.to_thread(self._fit, request)
        body = {
            "model": adapter.name if adapter is not None else self._base,
            "prompt": ids if self._settings.server_prompts == "tokens" else plain(prompt, self._tokenizer()),
            "stream": True,
            **_drawn(request),
        }
        written = await self._write(body, request, follow, asked)
        if not template.read_reply(written.text) and not written.late:
            body["seed"] = int(body.get("seed", 0)) + 1
            body["temperature"] = body["temperature"] or 0.7
            written = await self._write(body, request, follow, asked)
        text = template.read_reply(written.text)
        if not text:
            raise ReplyTimeout(request.deadline_s) if written.late else EngineFailed
        now = time.perf_counter()
        return Reply(
            text=text,
            finish=Finish.DEADLINE if written.late else Finish.LENGTH if written.cut else Finish.STOP,
            turns=turns,
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
        whole = request.sampling.whole
        try:
            async with asyncio.timeout(max(0.0, left)), aclosing(self._tried(body)) as pieces:
                async for piece in pieces:
                    written.add(piece)
                    if not whole and template.ends_reply(written.text):
                        break
                    if follow.grown is not None and (shown := template.shown(written.text)):
                        follow.grown(shown)
        except TimeoutError:
            written.late = True
        except (httpx.HTTPError, _NotUnderstoodError) as error:
            self._breaker.failed()
            _log.error("the server at %s failed: %s", self._where, type(error).__name__)
            raise EngineFailed from None
        self._breaker.worked()
        return written

    async def _tried(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield what the server writes, piece by piece; tries again while nothing has come."""
        for attempt in range(TRIES):
            begun = False
            try:
                async with self._client.stream("POST", "completions", json=body) as response:
                    response.raise_for_status()
                    async for piece in _pieces(response):
                        begun = True
                        yield piece
            except httpx.HTTPError as error:
                if begun or attempt == TRIES - 1 or not _passing(error):
                    raise
                pause = BACK_OFF_S * 4**attempt
                await asyncio.sleep(pause * (1 + random.random() / 2))  # noqa: S311  not a secret
            else:
                return


@dataclasses.dataclass
class _Written:
    """What came of one asking."""

    text: str = ""
    pieces: int = 0
    cut: bool = False
    late: bool = False
    first_at: float = 0.0

    def add(self, piece: dict[str, Any]) -> None:
        """Take a piece in. Raises _NotUnderstoodError."""
        try:
            choice = piece["choices"][0]
            text, finish = str(choice["text"] or ""), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _NotUnderstoodError from None
        self.first_at = self.first_at or time.perf_counter()
        self.text += text
        self.pieces += bool(text)
        self.cut = finish == "length"


class _NotUnderstoodError(Exception):
    """The server said something that is no piece of a completion."""


class Breaker:
    """Stops asking a server that fails and fails. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_at = 0.0

    def check(self) -> None:
        """Raise EngineFailed while it is open."""
        if self._failures >= FAILURES and self._clock() < self._closed_at:
            raise EngineFailed

    def failed(self) -> None:
        """Note a failure."""
        self._failures += 1
        self._closed_at = self._clock() + OPEN_S

    def worked(self) -> None:
        """Note that it worked."""
        self._failures = 0


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


async def _pieces(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON objects of a stream of server-sent events."""
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            yield json.loads(data)
        except ValueError:
            raise _NotUnderstoodError from None


def _passing(error: httpx.HTTPError) -> bool:
    """Whether it may work a moment later."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _LATER
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.ReadTimeout)
