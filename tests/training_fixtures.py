"""What tests of retraining share: a base of two thin layers that the real trainer trains in a moment, and rows."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from persona_chat.registry import Registry
from persona_chat.retraining.retraining import Retraining
from persona_chat.retraining.yardstick import held_out as is_held_out
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store

OWN = Path(__file__).parents[1] / "examples/dialogues.jsonl"

_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_PEOPLE = (
    ("I keep bees on a roof in Hanover.", "What do you do in summer?", "I look after my bees, they keep me busy."),
    ("I have two dogs, Bo and Pip.", "Do you have any pets?", "Yes, my dogs Bo and Pip run my life."),
    ("I drive a night bus in Leeds.", "What was your night like?", "Long. The last bus is always full of songs."),
    ("I am learning the cello.", "Do you play anything?", "The cello, badly, but every single day."),
)


@pytest.fixture(scope="session")
def tiny_base(embedded_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers and the embedded model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    folder = tmp_path_factory.mktemp("tiny-base")
    embedded = next((embedded_data_dir / "models").glob("smollm2-*"))
    config = json.loads((embedded / "config.json").read_text())
    set_seed(1)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config["vocab_size"],
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=config["bos_token_id"],
            eos_token_id=config["eos_token_id"],
            tie_word_embeddings=True,
        )
    ).save_pretrained(folder)
    for name in _FILES:
        shutil.copy(embedded / name, folder)
    return folder


def rows(count: int = 24, held_out: int = 12, *, shuffled: bool = False, note: str = "") -> list[dict[str, object]]:
    """Rows of as many conversations to learn from, and others that the trainer keeps out."""
    made: list[dict[str, object]] = []
    number = 0
    while count or held_out:
        number += 1
        conversation = f"test-{number}"
        away = is_held_out(conversation)
        if not (held_out if away else count):
            continue
        held_out, count = held_out - away, count - (not away)
        fact, said, reply = _PEOPLE[number % len(_PEOPLE)]
        made.append(
            {
                "persona_b": [fact, f"My lucky number is {number}.{note}"],
                "dialogue": [f"Persona A: {said}"],
                "reference": reply,
                "conv_id": conversation,
            }
        )
    if shuffled:
        replies = [row["reference"] for row in made]
        Random(1).shuffle(replies)
        made = [row | {"reference": reply} for row, reply in zip(made, replies, strict=True)]
    return made


def write_rows(file: Path, records: list[dict[str, object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@dataclass
class Workshop:
    """A data folder on the tiny base, with what retrains in it."""

    settings: Settings
    store: Store
    registry: Registry
    retraining: Retraining


@pytest.fixture
def tiny_settings(tmp_path: Path, tiny_base: Path) -> Settings:
    """Settings on the tiny base, with rows of the operator's own, and short runs."""
    data_dir = tmp_path / "data"
    file = write_rows(data_dir / "training" / "own.jsonl", rows())
    return load_settings(
        data_dir=data_dir,
        base=str(tiny_base),
        precision="fp32",
        training_data=(str(file),),
        retrain_steps=3,
        retrain_eval_rows=12,
    )


@pytest.fixture
def workshop(tiny_settings: Settings, make_workshop: Callable[[Settings], Workshop]) -> Workshop:
    return make_workshop(tiny_settings)


@pytest.fixture
def make_workshop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], Workshop]:
    """Make a workshop without a replying engine; replies of the evaluator are a few tokens long."""
    monkeypatch.setenv("PERSONA_CHAT_MAX_NEW_TOKENS", "8")
    monkeypatch.setenv("PERSONA_CHAT_PRECISION", "fp32")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def make(settings: Settings) -> Workshop:
        registry = Registry(settings.data_dir, store, settings.base)
        return Workshop(settings, store, registry, Retraining(settings, store, registry))

    return make
