"""The loss on labelled tokens alone, without the work that they do not need. It knows no rows and no recipe."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from training.examples import IGNORED


def labelled_loss(model: Any, input_ids: torch.Tensor, labels: torch.Tensor, divide_by: Any = None) -> torch.Tensor:
    """Return the mean cross-entropy of the labelled tokens, or their sum divided by `divide_by`.

    `input_ids` and `labels` are [rows, tokens], padded on the right. It is the model's own loss, in less time: the
    output head (a fifth of a small model's work) runs for labelled tokens only, and the beginning that all rows
    share, the template's header, is read once for all of them. tests/test_loss.py compares values and gradients.
    """
    causal = model.get_base_model()
    hidden = _hidden(causal.get_decoder(), input_ids, _shared(input_ids, labels))
    targets = labels[:, labels.shape[1] - hidden.shape[1] :]
    predicts = targets[:, 1:] != IGNORED
    logits = causal.get_output_embeddings()(hidden[:, :-1][predicts]).float()
    summed = cross_entropy(logits, targets[:, 1:][predicts], reduction="sum")
    return summed / (predicts.sum() if divide_by is None else divide_by)


def _shared(input_ids: torch.Tensor, labels: torch.Tensor) -> int:
    """How many tokens at the beginning are the same in all rows and predict nothing that is labelled."""
    if len(input_ids) < 2:
        return 0
    alike = (input_ids == input_ids[0]).all(dim=0) & (labels == IGNORED).all(dim=0)
    differing = (~alike).nonzero()
    length = int(differing[0]) if len(differing) else input_ids.shape[1]
    return max(0, length - 1)


def _hidden(decoder: Any, input_ids: torch.Tensor, shared: int) -> torch.Tensor:
    """Return the last hidden states [rows, tokens - shared, width]. Pads come last, where nothing looks at them."""
    if shared == 0:
        whole: torch.Tensor = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
        return whole
    cache = decoder(input_ids=input_ids[:1, :shared], use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.expand(len(input_ids), -1, -1, -1)
        layer.values = layer.values.expand(len(input_ids), -1, -1, -1)
    rest: torch.Tensor = decoder(
        input_ids=input_ids[:, shared:], past_key_values=cache, use_cache=True
    ).last_hidden_state
    return rest
