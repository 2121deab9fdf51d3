"""`persona-chat replay`: the real model gives the same reply once more, or says why it cannot."""

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

from persona_chat.chat import Chat
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import InputError
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope
from persona_chat.replay import folder_of, recorded
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.test_chat import Sent

VERA = Persona("Vera", "My name is Vera. I keep a lighthouse.", ("I have a parrot called Pickles.",))
PLACE = Place(100, 7, 5)


async def talk(chat: Chat, *texts: str) -> None:
    await chat.start()
    await chat.cast.put(PLACE, Scope.CHANNEL, VERA)
    for number, text in enumerate(texts, 1):
        await chat.answer(Heard(number, PLACE, "Gus", text), thinking=nullcontext, deliver=Sent())


@pytest.mark.model
async def test_a_reply_is_given_once_more(
    embedded_settings: Settings, model_engine: LocalEngine, tmp_path: Path, store: Store
) -> None:
    chat = Chat(store, model_engine, embedded_settings)
    await talk(chat, "Hello! Who are you?", "Do you have a pet?", "What is it called?")
    version, request = recorded(store, 2, embedded_settings)
    again = await model_engine.reply(request)
    assert again.text == version.text
    assert request.sampling.seed is not None
    assert len(request.dialogue) == 3
    longer = (await Rework(chat, store, embedded_settings).go_on(2, PLACE)).version.text
    assert longer.startswith(f"{version.text} ")
    longer_version, request = recorded(store, 2, embedded_settings)
    assert request.begun == version.text
    assert f"{request.begun} {(await model_engine.reply(request)).text}" == longer == longer_version.text


async def test_what_was_not_kept_is_said(store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(lambda _request: "Hi.")
    chat = Chat(store, engine, settings)
    await talk(chat, "Hello")
    version, request = recorded(store, 1, settings)
    assert (version.text, request.persona) == ("Hi.", VERA)
    assert {**asdict(request.sampling)} == {**asdict(settings.sampling), "seed": request.sampling.seed}
    with pytest.raises(InputError, match="no reply of mine"):
        recorded(store, 99, settings)
    await Rework(chat, store, settings).edit(1, "Ho.", 7)
    with pytest.raises(InputError, match="written by a person"):
        recorded(store, 1, settings)


def test_an_adapter_that_is_gone_is_said(settings: Settings) -> None:
    assert folder_of(None, settings) is None
    for name in ("elsewhere@12345678", "default@00000000", "../../etc@12345678"):
        with pytest.raises(InputError, match="is not here any more"):
            folder_of(name, settings)


def test_the_command_says_what_it_cannot_find(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "replay", "123", "--data-dir", str(settings.data_dir)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 2
    assert "no reply of mine" in done.stderr
    assert "Traceback" not in done.stderr
