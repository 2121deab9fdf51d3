"""The engine lets go of its model to make room for a training, and takes it up again."""

import logging

import psutil
import pytest

from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineResting
from persona_chat.settings import Settings
from tests.model_fixtures import HELLO, VERA

GREEDY = ReplyRequest(VERA, HELLO, Sampling(max_new_tokens=8, temperature=0.0))
MB = 1_000_000


@pytest.mark.model
async def test_a_resting_engine_gives_its_memory_back_and_wakes_with_the_same_replies(
    embedded_settings: Settings,
) -> None:
    # pytest keeps log records, this one an error, the error its frames, and those the model.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    engine = LocalEngine(embedded_settings)
    await engine.start()
    before = await engine.reply(GREEDY)
    loaded = psutil.Process().memory_info().rss
    await engine.rest()
    assert psutil.Process().memory_info().rss < loaded - 300 * MB
    with pytest.raises(EngineResting, match="learning right now"):
        await engine.reply(GREEDY)
    assert await engine.check_persona(VERA) > 0
    await engine.rest()

    await engine.wake()
    after = await engine.reply(GREEDY)
    assert after.text == before.text
    await engine.close()


async def test_a_scripted_engine_rests_too() -> None:
    engine = ScriptedEngine(lambda _: "Hello.")
    await engine.rest()
    with pytest.raises(EngineResting):
        await engine.reply(GREEDY)
    await engine.wake()
    assert (await engine.reply(GREEDY)).text == "Hello."
    assert len(engine.requests) == 1
