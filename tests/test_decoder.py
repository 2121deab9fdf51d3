"""Our forward pass: the numbers of transformers', each row's as if it were alone, and caches that change nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_chat.engine.base import load, load_tokenizer
from persona_chat.engine.loaded import decoder_of, wear
from persona_chat.settings import Settings
from tests.adapter_folders import make_adapter

pytestmark = pytest.mark.model

# Reckoned in another order, sums differ in their last digits.
NEAR = {"fp32": 2e-3, "bf16": 1.0, "nf4": 1.0}


def exact() -> bool:
    """Whether the 4-bit kernel for CPUs is there, whose sums are the same ones however many rows there are."""
    from bitsandbytes.functional import has_avx512bf16

    return has_avx512bf16()


def pieces(vocabulary: int, *lengths: int) -> list[list[int]]:
    """Texts of these lengths, all different."""
    return [
        [(7919 * (row + 1) * (place + 3)) % (vocabulary - 100) + 50 for place in range(n)]
        for row, n in enumerate(lengths)
    ]


@pytest.fixture(scope="module", params=["fp32", "bf16", "nf4"])
def loaded(request: pytest.FixtureRequest, embedded_settings: Settings) -> Iterator[Any]:
    """The embedded base in each precision, the decoder that took its weights, and an adapter's folder."""
    import torch

    from persona_chat.engine import base

    settings = embedded_settings.model_copy(update={"precision": request.param})
    choice = base.choose(settings)
    tokenizer = load_tokenizer(choice, settings.data_dir)
    loaded = load(choice, settings.data_dir, tokenizer)
    with torch.inference_mode():
        yield request.param, loaded.model, decoder_of(loaded.model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "one", strength=0.08)


def read(decoder: Any, slot: int, ids: list[int], chunk: int = 128, start: int = 0) -> Any:
    """Read a text in chunks; return what follows it."""
    for first in range(start, len(ids), chunk):
        hidden = decoder.read(slot, ids[first : first + chunk], first)
    return hidden


def test_it_computes_what_transformers_does_also_under_an_adapter(loaded, folder):
    import torch

    from persona_chat.adapters import read_adapter
    from persona_chat.engine.lora import attach

    precision, model, decoder = loaded
    near = NEAR[precision]
    ids = pieces(model.config.vocab_size, 70)[0]
    plain = decoder.head(read(decoder, 0, ids, 32))
    adapter = read_adapter(folder)
    served = attach(model, adapter, "embedded")
    wear(decoder, None, adapter, "embedded")
    try:
        worn = decoder.head(read(decoder, 0, ids, 32))
        under = served(input_ids=torch.tensor([ids])).logits[0, -1].float()
    finally:
        wear(decoder, adapter, None, "embedded")
        served.unload()
    base = model(input_ids=torch.tensor([ids])).logits[0, -1].float()
    assert (under - base).abs().max() > 2 * near
    for candidates, logits in ((plain, base), (worn, under)):
        assert (candidates.logits[0] - logits[candidates.ids[0]]).abs().max() < near
        assert logits[candidates.ids[0, 0]] > logits.max() - near
    assert torch.equal(decoder.head(read(decoder, 0, ids, 32)).logits, plain.logits)


def test_steps_of_a_batch_give_what_single_ones_give_in_whatever_order_texts_were_read(loaded, folder):
    import torch

    from persona_chat.adapters import read_adapter

    precision, model, decoder = loaded
    wear(decoder, None, read_adapter(folder), "embedded")
    lengths = (300, 40, 129, 64, 65, 17, 200, 128)
    texts = pieces(model.config.vocab_size, *lengths)
    for slot, ids in enumerate(texts):
        read(decoder, slot, ids, 64)
    tokens = [ids[0] for ids in texts]
    together = decoder.head(decoder.step(tokens, lengths))
    for slot, (ids, token) in enumerate(zip(texts, tokens, strict=True)):
        read(decoder, 9, ids, 37)
        alone = decoder.head(decoder.step([token], [len(ids)], 9))
        if precision == "nf4" and exact():
            assert torch.equal(alone.ids[0], together.ids[slot])
            assert torch.equal(alone.logits[0], together.logits[slot])
        else:
            assert (alone.logits[0] - together.logits[slot]).abs().max() < NEAR[precision]
    wear(decoder, None, None, "embedded")


def test_a_kept_cache_goes_on_as_if_all_had_been_read(loaded):
    import torch

    precision, model, decoder = loaded
    ids = pieces(model.config.vocab_size, 150)[0]
    whole = decoder.head(read(decoder, 0, ids))
    kept = decoder.keep(0, 100)
    read(decoder, 0, ids[::-1])
    decoder.put(3, kept, 90)
    went_on = decoder.head(read(decoder, 3, ids, 60, start=90))
    decoder.copy(3, 5, 120)
    copied = decoder.head(read(decoder, 5, ids, start=120))
    for other in (went_on, copied):
        if precision == "nf4" and exact():
            assert torch.equal(other.logits, whole.logits)
        assert (other.logits - whole.logits)[:, :20].abs().max() < NEAR[precision]
    assert kept.numel() * kept.element_size() == 100 * decoder.token_bytes


def test_a_text_longer_than_a_span_is_read_and_gone_on_with(embedded_settings, monkeypatch, loaded):
    import torch

    from persona_chat.engine import decoder as module

    precision, model, decoder = loaded
    ids = pieces(model.config.vocab_size, 200)[0]
    before = decoder.head(read(decoder, 0, ids))
    monkeypatch.setattr(module, "_SPAN", 64)
    spans = decoder.head(read(decoder, 0, ids))
    assert (spans.logits - before.logits)[:, :20].abs().max() < NEAR[precision]
    assert torch.equal(decoder.head(decoder.step([5], [200])).ids, decoder.head(decoder.step([5], [200])).ids)


def test_a_base_of_another_form_is_served_by_its_own_forward(tmp_path):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from persona_chat.engine.plain import PlainDecoder

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=128, n_embd=32, n_layer=2, n_head=4)).eval()
    decoder = decoder_of(model)
    assert isinstance(decoder, PlainDecoder)
    one, other = pieces(300, 20, 33)
    with torch.inference_mode():
        for slot, ids in enumerate((one, other)):
            read(decoder, slot, ids, 8)
        together = decoder.head(decoder.step([7, 8], [20, 33]))
        whole = [model(input_ids=torch.tensor([[*ids, token]])).logits[0, -1] for ids, token in ((one, 7), (other, 8))]
        for slot, logits in enumerate(whole):
            assert (together.logits[slot] - logits[together.ids[slot]]).abs().max() < 1e-4
            assert together.ids[slot, 0] == logits.argmax()
        kept = decoder.keep(1, 30)
        decoder.put(0, kept, 25)
        decoder.copy(1, 2, 33)
        again = decoder.head(read(decoder, 0, other, start=25))
        beside = decoder.head(decoder.step([8], [33], 2))
        assert (again.logits[0, 0] - model(input_ids=torch.tensor([other])).logits[0, -1].max()).abs() < 1e-4
        assert torch.allclose(beside.logits[0], together.logits[1], atol=1e-4)
    assert decoder.token_bytes == 2 * 2 * 32 * 4
