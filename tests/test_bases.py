"""What is known of a base without loading it: which names mean the same one, and how large its layers are."""

import json
from pathlib import Path

import pytest

from persona_chat.bases import EMBEDDED, EMBEDDED_CONFIG, config_of, lora_shapes, same_base
from persona_chat.fit import base_sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("unsloth/Llama-3.2-1B", "unsloth/Llama-3.2-1B"),
        ("unsloth/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("unsloth/llama-3.2-1b-unsloth-bnb-4bit", "unsloth/Llama-3.2-1B"),
        ("unsloth/Llama-3.2-1B-bnb-4bit", "meta-llama/Llama-3.2-1B"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", EMBEDDED),
        ("/somewhere/models/smollm2-135m-instruct-0123abcd", EMBEDDED),
        ("here", "./here"),
    ],
)
def test_names_of_one_base(one: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()  # tests run in tmp_path
    assert same_base(one, other)
    assert same_base(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("unsloth/Llama-3.2-1B", "unsloth/Llama-3.2-3B"),
        ("unsloth/Llama-3.2-1B", "unsloth/Llama-3.2-1B-Instruct"),
        ("somebody/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("somebody/SmolLM2-135M-Instruct", EMBEDDED),
        ("HuggingFaceTB/SmolLM2-135M", EMBEDDED),
        ("/models/one", "/models/other"),
        ("/models/Llama-3.2-1B", "unsloth/Llama-3.2-1B"),
        ("", EMBEDDED),
    ],
)
def test_names_of_two_bases(one: str, other: str) -> None:
    assert not same_base(one, other)
    assert not same_base(other, one)


@pytest.mark.model
def test_the_embedded_model_has_the_sizes_that_are_written_down(embedded_data_dir: Path) -> None:
    (folder,) = (embedded_data_dir / "models").iterdir()
    config = json.loads((folder / "config.json").read_text())
    assert {field: config[field] for field in EMBEDDED_CONFIG} == EMBEDDED_CONFIG
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert lora_shapes(config, modules, 16) == lora_shapes(EMBEDDED_CONFIG, modules, 16)


@pytest.mark.parametrize(
    ("config", "modules"),
    [(EMBEDDED_CONFIG, ["c_attn"]), ({}, ["q_proj"]), ({**EMBEDDED_CONFIG, "num_attention_heads": 0}, ["q_proj"])],
)
def test_of_another_architecture_nothing_is_known(config: dict[str, int], modules: list[str]) -> None:
    assert lora_shapes(config, modules, 4) is None


def test_a_config_is_taken_only_where_it_is_at_hand(tmp_path: Path) -> None:
    assert config_of("nobody/has-this-model") is None
    assert config_of(str(tmp_path)) is None
    (tmp_path / "config.json").write_text("[]")
    assert config_of(str(tmp_path)) is None


def test_a_base_in_a_folder_is_known_by_its_weights(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("one", b"1"), ("two", b"2"), ("again", b"1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        digests.add(base_sha256(str(tmp_path / name)))
    assert len(digests) == 2
    assert base_sha256("nobody/has-this-model") is None
