"""The engine that asks a server, against a real one: llama.cpp's, on loopback, with the embedded model."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from persona_chat import template
from persona_chat.engine.embedded import source_file
from persona_chat.engine.remote import RemoteEngine
from persona_chat.engine.reply import Finish, Follow, ReplyRequest, Sampling
from persona_chat.errors import (
    EngineFailed,
)
from tests.model_fixtures import HELLO, VERA

pytestmark = pytest.mark.model

ASK = ReplyRequest(VERA, HELLO, Sampling(12, 0))


@pytest.fixture(scope="module")
def llama_server() -> Iterator[str]:
    """llama.cpp's server with the embedded model, on a port of loopback; its address."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(source_file())
    params.n_ctx, params.n_parallel = 4096, 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
    running = xllamacpp.Server(params)
    yield running.listening_address
    del running


async def test_a_real_server_writes_the_reply_that_its_model_writes_and_shows_it_meanwhile(llama_server, settings_of):
    engine = RemoteEngine(settings_of(f"{llama_server}/v1"))
    facts = await engine.start()
    assert "127.0.0.1" in facts.device
    try:
        shown: list[str] = []
        first = await engine.reply(ASK, Follow(None, shown.append))
        again = await engine.reply(ASK)
        together = await asyncio.gather(*(engine.reply(replace(ASK, channel=n)) for n in range(4)))
        seeded = [
            (await engine.reply(replace(ASK, sampling=Sampling(12, 1.2, 0.95, seed=seed)))).text for seed in (3, 3, 4)
        ]
        whole = await engine.reply(replace(ASK, sampling=Sampling(24, 0, whole=True)))
        as_text = RemoteEngine(settings_of(f"{llama_server}/v1", server_prompts="text"))
        await as_text.start()
        same = await as_text.reply(ASK)
        await as_text.close()
    finally:
        await engine.close()
    assert first.text == again.text == same.text
    assert first.finish in (Finish.STOP, Finish.LENGTH)
    assert 0 < first.first_token_s <= first.total_s
    assert shown
    assert all(first.text.startswith(text) for text in shown)
    assert [reply.text for reply in together].count(first.text) >= 3, "one row or another may round otherwise"
    assert seeded[0] == seeded[1]
    assert whole.reply_tokens >= 20
    assert first.prompt_tokens == engine._tokenizer().count(template.render(VERA, HELLO))


async def test_a_cancelled_reply_ends_at_the_server_too(llama_server, settings_of):
    engine = RemoteEngine(settings_of(f"{llama_server}/v1"))
    await engine.start()
    grown = asyncio.Event()
    long = replace(ASK, sampling=Sampling(400, 0, whole=True))
    task = asyncio.create_task(engine.reply(long, Follow(None, lambda _: grown.set())))
    await asyncio.wait_for(grown.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(engine.reply(ASK), 60)).text
    await engine.close()
    await engine.close()
    with pytest.raises(EngineFailed):
        await engine.reply(ASK)
