"""The registry: what may come in, under which names, and what never does."""

import json
import math
import os
import time
from pathlib import Path

import pytest

from persona_chat import imports
from persona_chat.adapters import CARD, CONFIG, WEIGHTS
from persona_chat.errors import AdapterRefused, DataFolderUnusable, InputError
from persona_chat.registry import Registry, adapters_folder
from tests.adapter_folders import FIRST, SPOILED, change_config, make_adapter, write_card

REFUSED = SPOILED | {
    "other base in its config": (lambda f: change_config(f, base_model_name_or_path="a/b"), "made for the base a/b")
}


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.list()]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_imported_whole_under_a_name_and_not_put_in_service(registry, trained):
    (trained / "loss.png").write_bytes(b"")
    (trained / "more").mkdir()
    entry = registry.import_(str(trained))
    assert (entry.name, entry.in_service, entry.template) == ("run-7", False, "persona-ab-1")
    assert (entry.base, entry.created) == ("embedded", "2026-11-25T10:00:00+00:00")
    assert entry.scores["f1"]["value"] == 0.2
    assert everything(entry.folder) == {name: (trained / name).read_bytes() for name in (CONFIG, WEIGHTS, CARD)}
    assert [path.name for path in entry.folder.parent.iterdir()] == ["run-7"]
    assert registry.in_service() is None
    registry.use("run-7")
    assert registry.show("run-7").in_service
    assert registry.list() == (registry.show("run-7"),)


def test_an_adapter_without_a_card_gets_one_that_says_what_the_person_said(registry, tmp_path):
    folder = make_adapter(tmp_path / "published")
    with pytest.raises(InputError, match="--template"):
        registry.import_(str(folder))
    with pytest.raises(InputError, match="no template 'chatml'"):
        registry.import_(str(folder), template="chatml")
    assert names(registry) == []
    entry = registry.import_(str(folder), template="persona-ab-0")
    assert (entry.template, entry.base) == ("persona-ab-0", "embedded")
    assert entry.card["imported_from"] == str(folder)
    registry.use("published")


def test_a_card_is_not_overruled(registry, trained):
    with pytest.raises(AdapterRefused, match="names the template 'persona-ab-1', and not 'persona-ab-0'"):
        registry.import_(str(trained), template="persona-ab-0")


LLAMA = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
}
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exactly the shape of vikas117/Llama-3.2-1B-persona-chat, as unsloth and PEFT left it."""
    from safetensors.numpy import load_file, save_file

    folder = make_adapter(
        tmp_path_factory.mktemp("hub") / "Llama-3.2-1B-persona-chat",
        made_for="unsloth/llama-3.2-1b-unsloth-bnb-4bit",
        config=LLAMA,
        modules=SEVEN,
        rank=16,
    )
    change_config(folder, lora_alpha=16)
    arrays = load_file(folder / WEIGHTS)
    assert sum(array.size for array in arrays.values()) == 11_272_192
    save_file({key: array.astype("f2") for key, array in arrays.items()}, folder / WEIGHTS)
    for name in ("README.md", "tokenizer.json", "special_tokens_map.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("base", ["unsloth/Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "unsloth/Llama-3.2-1B-bnb-4bit"])
def test_the_published_adapter_is_imported_for_its_own_base(settings, store, published, base):
    registry = Registry(settings.data_dir, store, base)
    entry = registry.import_(str(published), template="persona-ab-0")
    assert (entry.name, entry.base) == ("llama-3.2-1b-persona-chat", base)
    assert {path.name for path in entry.folder.iterdir()} == {CONFIG, WEIGHTS, CARD}
    registry.use(entry.name)
    assert registry.in_service() == entry.name


@pytest.mark.parametrize("base", ["embedded", "unsloth/Llama-3.2-3B", "meta-llama/Llama-3.2-1B-Instruct"])
def test_the_published_adapter_is_refused_for_another_base(settings, store, published, base):
    with pytest.raises(AdapterRefused, match=r"made for the base unsloth/llama-3\.2-1b-unsloth-bnb-4bit"):
        Registry(settings.data_dir, store, base).import_(str(published), template="persona-ab-0")


@pytest.mark.parametrize(("changed", "fits"), [({}, True), ({"intermediate_size": 4096}, False)])
def test_for_a_base_in_a_folder_the_sizes_of_its_layers_decide(settings, store, tmp_path, published, changed, fits):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(LLAMA | changed))
    registry = Registry(settings.data_dir, store, str(tmp_path / "base"))
    if fits:
        registry.use(registry.import_(str(published), template="persona-ab-0").name)
    else:
        with pytest.raises(AdapterRefused, match="does not fit the base"):
            registry.import_(str(published), template="persona-ab-0")


@pytest.mark.parametrize(("spoil", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_spoiled_adapter_is_not_imported(two, trained, spoil, said):
    before = everything(adapters_folder(two._data_dir))
    spoil(trained)
    with pytest.raises(AdapterRefused, match=said) as error:
        two.import_(str(trained), name="new", template="persona-ab-1")
    assert str(trained) in str(error.value)
    assert everything(adapters_folder(two._data_dir)) == before
    assert two.in_service() == "one"


@pytest.mark.parametrize(("spoil", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_an_adapter_that_was_spoiled_in_the_registry_is_not_put_in_service(two, spoil, said):
    spoil(two.folder("two"))
    with pytest.raises(AdapterRefused, match=said):
        two.use("two")
    assert two.in_service() == "one"


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 3e4, 0.0])
def test_every_kind_of_number_is_looked_at(registry, trained, kind, number):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {key: tensor.to(getattr(torch, kind)) for key, tensor in load_file(trained / WEIGHTS).items()}
    tensors[FIRST].view(-1)[-1] = number
    save_file(tensors, trained / WEIGHTS)
    write_card(trained)
    if math.isfinite(number):
        registry.use(registry.import_(str(trained)).name)
    else:
        with pytest.raises(AdapterRefused, match="not finite"):
            registry.import_(str(trained))


TRICKS = (
    *("", ".", "..", "../x", "a/../../x", "/etc/x", "a/b", "a\\b", "-x", ".x", "a b", "a\nb", "a\0b", "x" * 65),
    *(
        "default",
        "none",
        "Default",
        "ONE",
        "оne",
        "ｏne",
        "one\u200b",
        "one\u2024x",
        "٣",
        "a:b",
        "~",
        "$HOME",
        "con\ufe0f",
    ),
)


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_never_leads_anywhere_else(two, trained, tmp_path, name):
    before = everything(tmp_path)
    for act in (lambda: two.import_(str(trained), name=name), lambda: two.remove(name)):
        with pytest.raises(InputError):
            act()
    with pytest.raises(InputError):
        two.use(name)
    assert {path: content for path, content in everything(tmp_path).items() if path in before} == before
    assert names(two) == ["one", "two"]
    assert two.in_service() == "one"


def test_a_folder_that_gives_no_name_asks_for_one(registry, tmp_path):
    folder = make_adapter(tmp_path / "Ωμέγα")
    write_card(folder)
    with pytest.raises(InputError, match="--name"):
        registry.import_(str(folder))
    assert registry.import_(str(folder), name="omega").name == "omega"


def test_a_name_is_taken_only_by_another_adapter(two, trained, tmp_path):
    with pytest.raises(InputError, match="another adapter called one"):
        two.import_(str(trained), name="one")
    assert two.import_(str(tmp_path / "one")).name == "one"
    (adapters_folder(two._data_dir) / "half").mkdir()
    with pytest.raises(InputError, match="another adapter called half"):
        two.import_(str(trained), name="half")


def test_an_import_that_breaks_off_leaves_nothing_and_old_leftovers_go(registry, trained, monkeypatch):
    def no_room(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(imports, "sync", no_room)
        with pytest.raises(DataFolderUnusable, match="No space left"):
            registry.import_(str(trained))
    folder = adapters_folder(registry._data_dir)
    assert list(folder.iterdir()) == []
    for name, age_s in ((".importing-old", 7200), (".removing-old", 7200), (".importing-young", 60)):
        (folder / name / "made").mkdir(parents=True)
        os.utime(folder / name, (time.time() - age_s,) * 2)
    registry.import_(str(trained))
    assert {path.name for path in folder.iterdir()} == {".importing-young", "run-7"}
    assert names(registry) == ["run-7"]


def test_what_is_no_whole_adapter_has_no_name(two, trained):
    folder = adapters_folder(two._data_dir)
    (folder / "link").symlink_to(trained)
    (folder / "two" / CARD).unlink()
    assert names(two) == ["one"]
    for name in ("link", "two"):
        with pytest.raises(InputError, match="no adapter"):
            two.use(name)
