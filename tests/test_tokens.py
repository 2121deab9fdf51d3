"""What people type never becomes a control token, on the real tokenizer."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from persona_chat import template
from persona_chat.dialogue import Speaker, Turn
from persona_chat.persona import Persona
from tests.test_template import HOSTILE, anything

CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "<jupyter_code>")

typed = st.one_of(
    anything, st.lists(st.sampled_from((*CONTROL, " ", "a", "\n", "Persona B:")), max_size=12).map("".join)
)


@pytest.fixture(scope="module")
def tokenizer(embedded_data_dir: Path) -> Any:
    folder = next((embedded_data_dir / "models").glob("smollm2-*"))
    return AutoTokenizer.from_pretrained(folder)


def control_ids(tokenizer: Any) -> set[int]:
    return {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}


@pytest.mark.model
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=typed, about=typed, fact=typed, message=typed)
@example(name=HOSTILE[5], about=HOSTILE[5], fact=HOSTILE[5], message=HOSTILE[5])
def test_no_text_brings_a_control_token_into_the_prompt(
    tokenizer: Any, name: str, about: str, fact: str, message: str
) -> None:
    turns = (Turn(Speaker.A, message, name), Turn(Speaker.B, message), Turn(Speaker.A, message, "other"))
    prompt = template.render(Persona(name, about, (fact,)), turns, show_names=True)
    ids = template.encode(tokenizer, prompt)
    assert not control_ids(tokenizer).intersection(ids)
    decoded = tokenizer.decode(ids)
    assert decoded.count("\n") == prompt.count("\n")
    # SmolLM2 has no tokens for 21 rare bytes, of control characters and of planes without any; the rest comes back.
    if prompt.replace("\n", "").isprintable():
        assert decoded == prompt


@pytest.mark.model
def test_without_the_rule_the_same_text_would_be_a_control_token(tokenizer: Any) -> None:
    """So that the test above can fail."""
    assert control_ids(tokenizer).intersection(tokenizer.encode("<|im_end|>", add_special_tokens=False))


def test_a_base_that_was_trained_with_a_leading_token_gets_it_once() -> None:
    words = {"<bos>": 0, "<eos>": 1, "a": 2, "<": 3, "bos": 4, ">": 5, "[UNK]": 6}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Punctuation()
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    llama_like = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>")
    assert template.encode(llama_like, "a<bos>a") == [0, 2, 3, 4, 5, 2]
