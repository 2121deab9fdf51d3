"""Our quicker loss is the model's own loss: the same value and the same gradients."""

from typing import Any

import pytest

from persona_chat.engine import base
from persona_chat.settings import Settings
from training.examples import IGNORED

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(embedded_settings: Settings) -> Any:
    """The embedded base in fp32 under fresh LoRA weights, none of them zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    choice = base.choose(embedded_settings)
    tokenizer = base.load_tokenizer(choice, embedded_settings.data_dir)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(base.load(choice, embedded_settings.data_dir, tokenizer).model, config)


def gradients(model: Any) -> dict[str, Any]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    return found


@pytest.mark.parametrize(("shared", "rows"), [(0, 3), (20, 3), (20, 1)])
def test_value_and_gradients_are_those_of_the_model(model: Any, shared: int, rows: int) -> None:
    import torch

    from training.loss import labelled_loss

    torch.manual_seed(shared)
    ids = torch.randint(100, 40_000, (rows, 48))
    ids[:, :shared] = ids[0, :shared].clone()
    labels = ids.clone()
    labels[:, : shared + 8] = IGNORED
    labels[0, 40:] = IGNORED  # a shorter row, padded on the right
    mask = torch.ones_like(ids)
    mask[0, 40:] = 0

    whole = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    whole.backward()
    expected = gradients(model)
    ours = labelled_loss(model, ids, labels)
    ours.backward()
    found = gradients(model)

    assert ours.item() == pytest.approx(whole.item(), rel=1e-5)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, rtol=2e-3, atol=2e-5 * float(gradient.abs().max()) + 1e-7)


def test_a_sum_over_several_batches_is_divided_by_what_is_given(model: Any) -> None:
    import torch

    from training.loss import labelled_loss

    ids = torch.randint(100, 40_000, (2, 16))
    labels = ids.clone()
    labels[:, :8] = IGNORED
    with torch.no_grad():
        mean, halved = labelled_loss(model, ids, labels), labelled_loss(model, ids, labels, 32)
    assert halved.item() == pytest.approx(mean.item() / 2, rel=1e-5)
