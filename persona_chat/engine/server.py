"""A server that speaks OpenAI's `/v1/completions`: asking it, again where that may help, and not where it will not.

It knows HTTP; it knows no prompts, personas or tokenizers.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from persona_chat.adapters import Adapter
from persona_chat.errors import AdapterRefused, BaseUnavailable, EngineFailed

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


class Server:
    """One server at `url`, which ends in /v1. `transport` replaces the network, for tests."""

    def __init__(
        self,
        url: str,
        key: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(silent_s, connect=CONNECT_S),
            transport=transport,
        )
        self.where = urlsplit(url).netloc or "nowhere"
        self.breaker = Breaker()

    async def names(self) -> list[str]:
        """Return the names of what the server serves. Raises BaseUnavailable."""
        try:
            response = await self._client.get("models")
            response.raise_for_status()
            names = [str(model["id"]) for model in response.json()["data"]]
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            hint = "Check PERSONA_CHAT_SERVER_KEY." if status in (401, 403) else "Does its URL end in /v1?"
            raise BaseUnavailable(f"The server at {self.where} answered with HTTP {status}. {hint}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BaseUnavailable(
                f"The server at {self.where} cannot be reached ({type(error).__name__}). Start it, or correct "
                "PERSONA_CHAT_SERVER_URL."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise BaseUnavailable(
                f"What runs at {self.where} is no server of language models: it has no list of them at /models."
            ) from None
        if not names:
            raise BaseUnavailable(f"The server at {self.where} serves no model.")
        return names

    async def load(self, adapter: Adapter) -> None:
        """Have vLLM load the adapter under its versioned name. Raises AdapterRefused."""
        body = {"lora_name": adapter.name, "lora_path": str(adapter.folder.resolve())}
        try:
            response = await self._client.post("load_lora_adapter", json=body)
        except httpx.HTTPError as error:
            raise AdapterRefused(
                f"The server at {self.where} could not be asked for {adapter.name} ({type(error).__name__})."
            ) from None
        if response.is_error and "already" not in response.text:
            raise AdapterRefused(
                f"The server at {self.where} does not take the adapter {adapter.name} (HTTP {response.status_code}). "
                f"It must see the folder {adapter.folder}, and be started with --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
            )

    async def check_has(self, adapter: Adapter) -> None:
        """Raise AdapterRefused unless the server serves the adapter under its versioned name."""
        if adapter.name not in await self.names():
            raise AdapterRefused(
                f"The server at {self.where} has no adapter {adapter.name}. Let it serve that folder under this "
                "name, set PERSONA_CHAT_SERVER_ADAPTERS=vllm where it is vLLM, or set PERSONA_CHAT_ADAPTER=none."
            )

    async def unload(self, adapter: Adapter) -> None:
        """Have vLLM forget the adapter, if it can be asked."""
        try:
            await self._client.post("unload_lora_adapter", json={"lora_name": adapter.name})
        except httpx.HTTPError as error:
            _log.info("the server keeps an adapter that serves no more: %s", type(error).__name__)

    async def write(self, body: dict[str, Any]) -> AsyncGenerator["Piece"]:
        """Yield what the server writes, piece by piece. Raises EngineFailed."""
        try:
            async with aclosing(self._tried(body)) as pieces:
                async for said in pieces:
                    piece = _piece(said)
                    self.breaker.worked()
                    yield piece
        except (httpx.HTTPError, _NotUnderstoodError) as error:
            self.breaker.failed()
            _log.error("the server at %s failed: %s", self.where, type(error).__name__)
            raise EngineFailed from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

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


@dataclass(frozen=True)
class Piece:
    """A piece of a completion; `cut` says that the limit of tokens ended it."""

    text: str
    cut: bool


def _piece(said: dict[str, Any]) -> Piece:
    try:
        choice = said["choices"][0]
        return Piece(str(choice["text"] or ""), choice.get("finish_reason") == "length")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _NotUnderstoodError from None


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
