"""Another adapter between two replies, on the real embedded model: all or nothing, and no reply of a mixture."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from persona_chat import template
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import AdapterRefused, EngineFailed
from tests.adapter_folders import change_weights, make_adapter, write_card
from tests.model_fixtures import HELLO, QUEUE_SIZE, VERA

pytestmark = pytest.mark.model

ASK = ReplyRequest(VERA, HELLO, Sampling(5, 0), 200)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters over different modules, and one of another form."""
    place = tmp_path_factory.mktemp("adapters")
    made = {
        "a": make_adapter(place / "a", seed=1, strength=0.08),
        "b": make_adapter(place / "b", seed=2, modules=("k_proj", "up_proj"), strength=0.08),
        "ab0": make_adapter(place / "ab0", seed=3),
    }
    for name, folder in made.items():
        write_card(folder, template="persona-ab-0" if name == "ab0" else template.TEMPLATE_ID)
    return made


@pytest.fixture(scope="module")
def cold(embedded_settings, folders) -> dict[str | None, str]:
    """What each of them says when an engine starts with it."""

    async def say(folder: Path | None) -> str:
        engine = LocalEngine(embedded_settings, adapter=folder)
        await engine.start()
        try:
            return (await engine.reply(ASK)).text
        finally:
            await engine.close()

    said = {name: asyncio.run(say(folders.get(name))) for name in (None, "a", "b")}
    assert len(set(said.values())) == 3, "else this proves nothing"
    return said


@pytest.fixture(scope="module")
def started(embedded_settings) -> Iterator[LocalEngine]:
    engine = LocalEngine(embedded_settings.model_copy(update={"queue_size": 64}))
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
async def engine(started) -> LocalEngine:
    """The started engine, on its plain base."""
    await started.use(None)
    return started


def weights(engine: LocalEngine) -> int:
    """How many numbers of adapters the model holds."""
    layers = engine._writer.loaded.decoder._layers
    worn = [product._lora for layer in layers for product in layer.products.values()]
    return sum(lora.down.numel() + lora.up.numel() for lora in worn if lora is not None)


async def test_after_any_number_of_swaps_each_says_what_it_says_when_started_cold(engine, folders, cold):
    sizes: dict[str | None, set[int]] = {}
    for name in ("a", "b", "a", None, "b", None, "a", "a"):
        versioned = await engine.use(folders[name] if name else None)
        reply = await engine.reply(ASK)
        assert (reply.text, reply.adapter) == (cold[name], versioned)
        assert (versioned or "").split("@")[0] == (name or "")
        sizes.setdefault(name, set()).add(weights(engine))
    assert all(len(of_one) == 1 for of_one in sizes.values()), "what does not serve leaves memory"
    assert sizes[None] == {0}


async def test_a_refused_swap_leaves_the_one_that_serves(engine, folders, cold, tmp_path):
    await engine.use(folders["a"])
    size = weights(engine)
    for spoil in (lambda f: write_card(f, base="unsloth/Llama-3.2-1B"), lambda f: change_weights(f, dict.clear)):
        folder = make_adapter(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        spoil(folder)
        with pytest.raises(AdapterRefused):
            await engine.use(folder)
    assert (await engine.reply(ASK)).text == cold["a"]
    assert weights(engine) == size


async def test_a_swap_that_fails_for_no_foreseen_reason_is_refused_too(engine, folders, cold, monkeypatch, caplog):
    from persona_chat.engine import lora

    await engine.use(folders["a"])
    monkeypatch.setattr(lora, "loras", lambda *_: 1 / 0)
    with pytest.raises(AdapterRefused, match="in the log"):
        await engine.use(folders["b"])
    assert "ZeroDivisionError" in caplog.text
    assert (await engine.reply(ASK)).text == cold["a"]


async def test_while_many_are_answered_every_reply_is_of_one_adapter_and_none_is_lost(engine, folders, cold):
    asked = [asyncio.create_task(engine.reply(ASK)) for _ in range(3)]
    swapped = [asyncio.create_task(engine.use(folders["a"]))]
    asked += [asyncio.create_task(engine.reply(ASK)) for _ in range(3)]
    swapped += [asyncio.create_task(engine.use(folders["b"]))]
    asked += [asyncio.create_task(engine.reply(ASK)) for _ in range(3)]
    a, b = await asyncio.gather(*swapped)
    replies = await asyncio.gather(*asked)
    assert [reply.adapter for reply in replies] == [None] * 3 + [a] * 3 + [b] * 3
    assert [reply.text for reply in replies] == [cold[None]] * 3 + [cold["a"]] * 3 + [cold["b"]] * 3


async def test_a_full_queue_keeps_no_swap_out(embedded_settings, folders):
    engine = LocalEngine(embedded_settings)
    await engine.start()
    asked = [asyncio.create_task(engine.reply(ASK)) for _ in range(QUEUE_SIZE)]
    await asyncio.sleep(0)
    assert str(await engine.use(folders["a"])).startswith("a@")
    await asyncio.gather(*asked)
    await engine.close()


async def test_prompts_have_the_form_of_the_adapter_that_serves(engine, folders):
    assert (await engine.prompt(ASK)).text == template.render(VERA, HELLO)
    await engine.use(folders["ab0"])
    assert (await engine.prompt(ASK)).text == template.render(VERA, HELLO, form="persona-ab-0")
    reply = await engine.reply(replace(ASK, sampling=Sampling(3, 0)))
    count = engine._tokenizer().count
    assert reply.prompt_tokens == count(template.render(VERA, HELLO, form="persona-ab-0"))
    assert await engine.check_persona(VERA) == count(template.render(VERA, (), form="persona-ab-0"))
    await engine.use(None)
    assert (await engine.prompt(ASK)).text == template.render(VERA, HELLO)


async def test_a_prompt_has_that_form_before_anything_is_loaded(embedded_settings, folders):
    engine = LocalEngine(embedded_settings, adapter=folders["ab0"])
    assert (await engine.prompt(ASK)).text.endswith("\nReference:")
    await engine.close()


async def test_before_the_start_and_after_the_end_there_is_nothing_to_exchange(embedded_settings, folders):
    engine = LocalEngine(embedded_settings)
    with pytest.raises(EngineFailed):
        await engine.use(folders["a"])
    await engine.start()
    await engine.close()
    with pytest.raises(EngineFailed):
        await engine.use(folders["a"])
