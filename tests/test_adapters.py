"""Adapter folders: a real one is served, a spoiled one is refused before anything changes."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_chat.adapters import CARD, CONFIG, WEIGHTS, read_adapter
from persona_chat.engine import base
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import AdapterRefused
from persona_chat.settings import Settings
from persona_chat.template import TEMPLATE_ID
from tests.model_fixtures import HELLO, VERA

pytestmark = pytest.mark.model

RANK = 4
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


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


def write_card(folder: Path, **changes: object) -> None:
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    card = {"template": TEMPLATE_ID, "weights_sha256": digest, "base": "embedded"} | changes
    (folder / CARD).write_text(json.dumps(card))


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def flip_a_bit(folder: Path) -> None:
    write_card(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))


def only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def link_outside(folder: Path) -> None:
    outside = folder.parent / "elsewhere.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


def other_width(tensors: dict[str, Any]) -> None:
    for key in [key for key in tensors if "q_proj.lora_A" in key]:
        tensors[key] = tensors[key][:, :64].contiguous()


def no_layer_29(tensors: dict[str, Any]) -> None:
    for key in [key for key in tensors if ".layers.29." in key]:
        del tensors[key]


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flip": (flip_a_bit, "sha256 differs"),
    "other template": (lambda f: write_card(f, template="persona-ab-9"), "template 'persona-ab-9'"),
    "other base": (lambda f: write_card(f, base="unsloth/Llama-3.2-1B"), "trained on the base"),
    "NaN": (lambda f: change_weights(f, lambda t: t[FIRST].view(-1)[0:1].fill_(float("nan"))), "not finite"),
    "infinity": (lambda f: change_weights(f, lambda t: t[FIRST].view(-1)[0:1].fill_(float("inf"))), "not finite"),
    "renamed key": (
        lambda f: change_weights(f, lambda t: t.update({FIRST.replace("q_proj", "z_proj"): t.pop(FIRST)})),
        "does not belong",
    ),
    "missing key": (lambda f: change_weights(f, lambda t: t.pop(FIRST)), "half of"),
    "missing layer": (lambda f: change_weights(f, no_layer_29), "does not fit the base"),
    "other width": (lambda f: change_weights(f, other_width), "does not fit the base"),
    "no tensors": (lambda f: change_weights(f, lambda t: t.clear()), "missing|does not fit"),
    "wrong rank": (lambda f: change_config(f, r=RANK + 1), "rank 5"),
    "damaged file": (lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 100), "damaged"),
    "pickle instead": (only_pickle, "pickle"),
    "pickle beside": (lambda f: (f / "training_args.bin").write_bytes(b""), "pickle"),
    "link": (link_outside, "link"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "has no adapter_model.safetensors"),
    "no config": (lambda f: (f / CONFIG).unlink(), "has no adapter_config.json"),
    "config no JSON": (lambda f: (f / CONFIG).write_text("{"), "cannot be read as JSON"),
    "card no object": (lambda f: (f / CARD).write_text("[]"), "not a JSON object"),
    "a single number": (
        lambda f: change_weights(f, lambda t: t.update({FIRST: t[FIRST].view(-1)[0].clone()})),
        "has the shape",
    ),
    "endless alpha": (lambda f: change_config(f, lora_alpha=float("inf")), "lora_alpha"),
    "alpha beyond floats": (lambda f: change_config(f, lora_alpha=10**400), "lora_alpha"),
    "not LoRA": (lambda f: change_config(f, peft_type="IA3"), "peft_type"),
    "code to import": (lambda f: change_config(f, auto_mapping={"parent_library": "os"}), "auto_mapping"),
    "whole modules": (lambda f: change_config(f, modules_to_save=["lm_head"]), "modules_to_save"),
    "DoRA": (lambda f: change_config(f, use_dora=True), "use_dora"),
    "changes the base": (lambda f: change_config(f, init_lora_weights="pissa"), "init_lora_weights"),
    "from the future": (lambda f: change_config(f, quantum=1), "quantum"),
    "modules by pattern": (lambda f: change_config(f, target_modules=".*"), "target_modules"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_adapter_is_refused_and_the_base_stays_as_it_was(model, logits, folder, spoil, said):
    from persona_chat.engine.lora import attach

    spoil(folder)
    with pytest.raises(AdapterRefused, match=said):
        attach(model, read_adapter(folder), "embedded")


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
        change_weights(folder, lambda tensors: [tensor.mul_(-0.5) for tensor in tensors.values()])
        second = lora.attach(first, read_adapter(folder), "embedded")
        two = logits(second)
        assert second is first
        assert not one.equal(two)
        change_weights(folder, lambda tensors: tensors[FIRST].mul_(3))
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
    change_weights(folder, lambda tensors: tensors[FIRST].mul_(2))
    with pytest.raises(AdapterRefused, match="changed"):
        attach(model, adapter, "embedded")


async def test_the_engine_answers_in_four_bits_under_an_adapter(embedded_settings, folder):
    engine = LocalEngine(embedded_settings.model_copy(update={"precision": "nf4"}), adapter=folder)
    try:
        facts = await engine.start()
        reply = await engine.reply(ReplyRequest(VERA, HELLO, Sampling(3, 0), 200))
    finally:
        await engine.close()
    assert (facts.base, facts.precision) == ("embedded", "nf4")
    assert facts.adapter is not None
    assert facts.adapter.startswith("vera-v1@")
    assert reply.text
    assert reply.adapter == facts.adapter


async def test_an_engine_does_not_start_with_a_refused_adapter(embedded_settings, folder):
    change_config(folder, r=RANK + 1)
    engine = LocalEngine(embedded_settings, adapter=folder)
    with pytest.raises(AdapterRefused):
        await engine.start()
    await engine.close()


def _broken(*_: object) -> None:
    raise RuntimeError("as PEFT might")
