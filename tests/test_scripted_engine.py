"""The scripted engine keeps the promises of ReplyEngine, so that tests above the model mean something."""

from dataclasses import replace

import pytest

from persona_chat import template
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineFailed, InputError, PersonaTooLong, ReplyTimeout
from persona_chat.persona import Persona
from tests.model_fixtures import HELLO, VERA

ASK = ReplyRequest(VERA, HELLO, Sampling(24, 0))


async def test_the_scripted_engine_keeps_the_same_promises():
    engine = ScriptedEngine(lambda request: f"You said {request.dialogue[-1].text}")
    reply = await engine.reply(ASK)
    assert reply.text == "You said Hello! What do you do all day?"
    assert engine.requests == [ASK]
    assert (await engine.prompt(ASK)).text == template.render(VERA, HELLO)
    with pytest.raises(PersonaTooLong):
        await engine.check_persona(Persona("Vera", "sea " * 700))
    slow = ScriptedEngine(lambda _: InputError("no"), delay_s=0.01)
    with pytest.raises(InputError):
        await slow.reply(ASK)
    with pytest.raises(ReplyTimeout):
        await slow.reply(replace(ASK, deadline_s=0.001))
    await slow.close()
    with pytest.raises(EngineFailed):
        await slow.reply(ASK)
