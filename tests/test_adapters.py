"""Adapter folders: a real one is served, a spoiled one is refused before anything changes."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_chat.adapters import CONFIG, WEIGHTS, read_adapter
from persona_chat.engine import base
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import AdapterRefused
from persona_chat.settings import Settings
from tests.adapter_folders import FIRST, RANK, SPOILED, change_config, change_weights, write_card
from tests.model_fixtures import HELLO, VERA

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(embedded_settings: Settings) -> Any:
    """The embedded base, plain."""
    choice = base.choose(embedded_settings)
    tokenizer = base.load_tokenizer(choice, embedded_settings.data_dir)
    return base.load(choice, embedded_settings.data_dir, tokenizer).model


@pytest.fixture(scope="module")
def made(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter for the embedded base, written by PEFT itself."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    config = LoraConfig(
        r=RANK,
        lora_alpha=8,
        target_modules=["q_proj", "down_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    trained = get_peft_model(model, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT looks for the base's config on the hub
        trained.save_pretrained(folder)
    trained.unload()
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the adapter, to spoil."""
    folder = tmp_path / "vera.v1"
    folder.mkdir()
    for name in (CONFIG, WEIGHTS):
        (folder / name).write_bytes((made / name).read_bytes())
    return folder


@pytest.fixture
def logits(model: Any) -> Iterator[Callable[..., Any]]:
    """Return the logits of a fixed text; after the test the base must be what it was."""
    import torch

    def of(served: Any) -> Any:
        with torch.inference_mode():
            return served(input_ids=torch.arange(100, 120)[None]).logits.clone()

    before = of(model)
    modules = [type(module) for module in model.modules()]
    yield of
    assert [type(module) for module in model.modules()] == modules
    assert before.equal(of(model))


@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_adapter_is_refused_and_the_base_stays_as_it_was(model, logits, folder, spoil, said):
    from persona_chat.engine.lora import attach

    spoil(folder)
    with pytest.raises(AdapterRefused, match=said):
        attach(model, read_adapter(folder), "embedded")


def test_the_class_of_transformers_that_unsloth_notes_is_no_code_to_import(folder):
    change_config(folder, auto_mapping={"parent_library": "transformers.models.llama.modeling_llama"})
    assert read_adapter(folder).rank == RANK


def test_whatever_would_change_a_reply_gives_another_name(folder):
    write_card(folder)
    names = {read_adapter(folder).name}
    change_config(folder, lora_alpha=9)
    names.add(read_adapter(folder).name)
    write_card(folder, template="persona-ab-0")
    assert read_adapter(folder).template == "persona-ab-0"
    names.add(read_adapter(folder).name)
    change_weights(folder, lambda arrays: arrays.update({FIRST: 2 * arrays[FIRST]}))
    names.add(read_adapter(folder).name)
    assert len(names) == 4


@pytest.mark.parametrize("with_card", [True, False])
def test_a_sound_adapter_changes_what_the_model_says(model, logits, folder, with_card):
    from persona_chat.engine.lora import attach

    if with_card:
        write_card(folder)
    adapter = read_adapter(folder)
    assert adapter.name.startswith("vera-v1@")
    plain = logits(model)
    served = attach(model, adapter, "embedded")
    try:
        assert not logits(served).allclose(plain, atol=0.1)
    finally:
        served.unload()


def test_a_second_version_takes_over_and_a_refused_third_changes_nothing(model, logits, folder, monkeypatch):
    from persona_chat.engine import lora

    first = lora.attach(model, read_adapter(folder), "embedded")
    try:
        one = logits(first)
        change_weights(folder, lambda arrays: arrays.update({key: -0.5 * array for key, array in arrays.items()}))
        second = lora.attach(first, read_adapter(folder), "embedded")
        two = logits(second)
        assert second is first
        assert not one.equal(two)
        change_weights(folder, lambda arrays: arrays.update({FIRST: 3 * arrays[FIRST]}))
        monkeypatch.setattr(lora, "_fill", _broken)
        with pytest.raises(AdapterRefused, match="PEFT cannot load it"):
            lora.attach(second, read_adapter(folder), "embedded")
        assert logits(second).equal(two)
        assert len(second.peft_config) == 2
    finally:
        first.unload()


def test_when_peft_fails_the_base_is_plain_again(model, logits, folder, monkeypatch):
    from persona_chat.engine import lora

    monkeypatch.setattr(lora, "_fill", _broken)
    with pytest.raises(AdapterRefused, match="PEFT cannot load it"):
        lora.attach(model, read_adapter(folder), "embedded")


def test_weights_that_change_between_reading_and_loading_are_refused(model, logits, folder):
    from persona_chat.engine.lora import attach

    adapter = read_adapter(folder)
    change_weights(folder, lambda arrays: arrays.update({FIRST: 2 * arrays[FIRST]}))
    with pytest.raises(AdapterRefused, match="changed"):
        attach(model, adapter, "embedded")


async def test_the_engine_answers_in_four_bits_under_an_adapter_and_without_it_and_again(embedded_settings, folder):
    ask = ReplyRequest(VERA, HELLO, Sampling(3, 0), 200)
    engine = LocalEngine(embedded_settings.model_copy(update={"precision": "nf4"}), adapter=folder)
    try:
        facts = await engine.start()
        reply = await engine.reply(ask)
        assert await engine.use(None) is None
        plain = await engine.reply(ask)
        assert await engine.use(folder) == facts.adapter
        again = await engine.reply(ask)
    finally:
        await engine.close()
    assert (facts.base, facts.precision) == ("embedded", "nf4")
    assert facts.adapter is not None
    assert facts.adapter.startswith("vera-v1@")
    assert reply.text == again.text != plain.text
    assert [said.adapter for said in (reply, plain, again)] == [facts.adapter, None, facts.adapter]


async def test_an_engine_does_not_start_with_a_refused_adapter(embedded_settings, folder):
    change_config(folder, r=RANK + 1)
    engine = LocalEngine(embedded_settings, adapter=folder)
    with pytest.raises(AdapterRefused):
        await engine.start()
    await engine.close()


def _broken(*_: object) -> None:
    raise RuntimeError("as PEFT might")
