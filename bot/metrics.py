"""What Prometheus may know of a bot: counts, times and sizes. No text, no name and no id of anybody is in a label."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from bot.client import PersonaBot
from persona_chat.engine.reply import EngineFacts, EngineState, Follow, Prompt, Reply, ReplyEngine, ReplyRequest
from persona_chat.errors import PersonaChatError
from persona_chat.persona import Persona

SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60)
"""The bounds of times: a reply of the small model on two cores takes one to three, and 60 is the deadline."""


class Metrics:
    """What is counted as it happens; `Standing` is what is read when somebody looks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.first_word = Histogram(
            "persona_chat_reply_first_word_seconds",
            "From the asking to the model's first token.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.last_word = Histogram(
            "persona_chat_reply_last_word_seconds",
            "From the asking to the whole reply.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.written = self._counter("reply_tokens", "Tokens that the model wrote.")
        self.read = self._counter("prompt_tokens", "Tokens of prompts: read, or kept from before.", "source")
        self.kept_hits = self._counter("kept_hits", "Replies whose prompt went on from what was read before.")
        self.replies = self._counter("model_replies", "Replies of the model, by why they ended.", "finish")
        self.refusals = self._counter("model_errors", "Askings without a reply, by the class of the error.", "error")
        self.responses = self._counter("discord_responses", "Discord's answers to our requests, by status.", "status")

    def count(self, reply: Reply) -> None:
        """Take a reply in."""
        self.replies.labels(reply.finish.value).inc()
        self.first_word.observe(reply.waited_s + reply.first_token_s)
        self.last_word.observe(reply.waited_s + reply.total_s)
        self.written.inc(reply.reply_tokens)
        kept = reply.prompt_tokens - reply.read_tokens
        self.read.labels("read").inc(reply.read_tokens)
        self.read.labels("kept").inc(kept)
        self.kept_hits.inc(bool(kept))

    def trace(self) -> aiohttp.TraceConfig:
        """Return what counts Discord's answers: discord.py tells nobody of the rate limits that it waits for."""
        config = aiohttp.TraceConfig()

        async def ended(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
            self.responses.labels(str(end.response.status)).inc()

        config.on_request_end.append(ended)
        return config

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"persona_chat_{name}", help_, labels, registry=self.registry)


class Measured:
    """A ReplyEngine that counts what the one inside does."""

    def __init__(self, inner: ReplyEngine, metrics: Metrics) -> None:
        self.inner = inner
        self._metrics = metrics
        self.facts: EngineFacts | None = None

    async def start(self) -> EngineFacts:
        """Start the one inside."""
        self.facts = await self.inner.start()
        return self.facts

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        """Let it answer, and count what comes of it."""
        try:
            reply = await self.inner.reply(request, follow)
        except PersonaChatError as error:
            self._metrics.refusals.labels(type(error).__name__).inc()
            raise
        self._metrics.count(reply)
        return reply

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return its prompt."""
        return await self.inner.prompt(request)

    async def check_persona(self, persona: Persona) -> int:
        """Let it check."""
        return await self.inner.check_persona(persona)

    def state(self) -> EngineState:
        """Return its state."""
        return self.inner.state()

    async def use(self, adapter: Path | None) -> str | None:
        """Let it serve another adapter, and know which."""
        name = await self.inner.use(adapter)
        self.facts = replace(self.facts, adapter=name) if self.facts is not None else None
        return name

    async def rest(self) -> None:
        """Let it rest."""
        await self.inner.rest()

    async def wake(self) -> None:
        """Wake it."""
        await self.inner.wake()

    async def close(self) -> None:
        """Close it."""
        await self.inner.close()


class Standing:
    """Reads the bot and its engine when somebody looks; a collector of Prometheus."""

    def __init__(self, bot: PersonaBot, engine: Measured) -> None:
        self._bot = bot
        self._engine = engine
        self.database_ok = False  # asked by whoever serves this, since it takes a thread

    def collect(self) -> Iterator[Metric]:
        """Yield everything, as it is now."""
        bot, state = self._bot, self._engine.state()
        yield _gauge("gateway_connected", "Whether Discord's gateway is connected.", bot.connected)
        yield _gauge("servers", "In how many servers the bot is.", len(bot.guilds))
        yield _gauge("database_ok", "Whether the database answered just now.", self.database_ok)
        yield _gauge("model_ready", "Whether the model could write a reply.", state.ready)
        yield _gauge("messages_waiting", "Messages that are being answered, or wait for it.", bot.chat.waiting)
        yield _gauge("model_waiting", "Replies that wait for the model.", state.waiting)
        yield _gauge("model_writing", "Replies that are being written.", state.writing)
        yield _gauge("kept_prompts", "Prompts that the model keeps read.", state.kept)
        yield _gauge("kept_bytes", "The bytes that these take.", state.kept_bytes)
        yield _counts("messages", "Messages, by what became of them.", "outcome", bot.outcomes)
        yield _counts("pace_limited", "Askings over a limit of the pace, by whose it is.", "limit", bot.pace.refused)
        yield _counts("errors", "What went wrong unforeseen, by the class of the error.", "error", bot.errors)
        yield _serving(self._engine.facts)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"persona_chat_{name}", help_, float(value))


def _counts(name: str, help_: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"persona_chat_{name}", help_, labels=(label,))
    for value, number in sorted(counts.items()):
        family.add_metric((value,), number)
    return family


def _serving(facts: EngineFacts | None) -> Metric:
    serves = {} if facts is None else {"base": facts.base, "precision": facts.precision, "device": facts.device}
    if facts is not None:
        serves["adapter"] = facts.adapter or "none"
    return InfoMetricFamily("persona_chat_serving", "The model and the adapter in service.", value=serves)
