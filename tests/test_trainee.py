"""What is trained, in this process: its precision and backend, its checkpoints, and that it serves as it was."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.settings import Settings
from tests.training_fixtures import OWN
from training.recipe import Recipe

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]


class Never:
    """Nobody asks for the end."""

    def is_set(self) -> bool:
        return False


def prepared(settings: Settings, **recipe: Any) -> tuple[Any, Recipe, Any]:
    """The embedded base with fresh LoRA weights, the recipe, and the examples of two steps."""
    from training.examples import Renderer, schedule
    from training.model import prepare
    from training.recipe import choose_recipe
    from training.rows import read_rows

    _, chosen = choose_recipe("small", "embedded", **recipe)
    trainee = prepare(settings, chosen, None)
    renderer = Renderer(trainee.tokenizer, trainee.eos_id, chosen)
    return trainee, chosen, schedule(read_rows(str(OWN), 30), renderer, chosen, 2)


def test_the_adapter_reloaded_for_serving_gives_the_logits_the_trainer_had(
    embedded_settings: Settings, tmp_path: Path
) -> None:
    import torch

    from persona_chat.engine.lora import attach
    from training.model import evaluating, save
    from training.stepping import take_steps

    trainee, recipe, made = prepared(embedded_settings, rows_per_step=2, rows_at_once=1, max_tokens=300, warmup_steps=1)
    checkpoints = tmp_path / "checkpoints"
    step, loss = take_steps(trainee, made, (), recipe, 2, checkpoints, lambda *_, **__: None, Never(), resume=False)
    assert step == 2
    assert loss > 0
    out = tmp_path / "adapter"
    out.mkdir()
    save(trainee, out, recipe.stored)
    ids = torch.tensor([made[0].input_ids])
    with evaluating(trainee.model):
        had = trainee.model(input_ids=ids).logits

    choice = base.choose(embedded_settings)
    loaded = base.load(choice, embedded_settings.data_dir, trainee.tokenizer)
    with torch.no_grad():
        plain = loaded.model(input_ids=ids).logits
        served = attach(loaded.model, read_adapter(out), choice.base)(input_ids=ids).logits
    assert not served.allclose(plain, atol=0.1)
    torch.testing.assert_close(served, had, rtol=0, atol=1e-4)


def test_a_checkpoint_that_lies_there_is_taken_up_only_when_that_is_asked_for(
    embedded_settings: Settings, tmp_path: Path
) -> None:
    from training.stepping import take_steps

    small = {"rows_per_step": 1, "rows_at_once": 1, "max_tokens": 220, "checkpoint_steps": 1}
    trainee, recipe, made = prepared(embedded_settings, **small)
    taken: list[list[int]] = []
    for resume in (False, False, True):
        taken.append([])

        def told(event: str, **fields: Any) -> None:
            if event == "step":
                taken[-1].append(fields["step"])

        if resume:
            shutil.rmtree(tmp_path / "checkpoint-2")
        take_steps(trainee, made, (), recipe, 2, tmp_path, told, Never(), resume=resume)
    assert taken == [[1, 2], [1, 2], [2]]


def test_lora_learns_beside_the_weights_rounded_as_they_serve(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import model

    seen: list[base.BaseChoice] = []
    monkeypatch.setattr(model, "_by_peft", lambda _settings, choice, *_: seen.append(choice))
    for precision in ("nf4", "bf16", "fp32"):
        served = base.BaseChoice("embedded", "cpu", "cpu", precision, "it serves so")
        monkeypatch.setattr(base, "choose", lambda _, served=served: served)
        model.prepare(embedded_settings.model_copy(update={"precision": "auto"}), Recipe(), None)
    assert [choice.precision for choice in seen] == ["nf4", "bf16", "fp32"]


def test_unsloth_trains_four_bit_bases_on_cuda_where_it_is_installed_and_nothing_else() -> None:
    from training.model import trains_by_unsloth

    cuda = base.BaseChoice("unsloth/Llama-3.2-1B", "cuda:0", "cuda:0 (a GPU)", "nf4", "4-bit is small")
    assert trains_by_unsloth(cuda, installed=True)
    assert not trains_by_unsloth(cuda, installed=False)
    assert not trains_by_unsloth(replace(cuda, precision="bf16"), installed=True)
    assert not trains_by_unsloth(replace(cuda, device="cpu"), installed=True)
