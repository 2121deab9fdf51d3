"""The base model: which one, on what device, in what precision, and loading it. It knows no adapters or prompts."""

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from persona_chat.bases import EMBEDDED
from persona_chat.engine import embedded
from persona_chat.engine.cores import share_cores
from persona_chat.engine.reply import Progress
from persona_chat.engine.tokens import choose_pad
from persona_chat.errors import BaseUnavailable
from persona_chat.settings import Settings

CUDA_BASE = "unsloth/Llama-3.2-1B"

Precision = Literal["nf4", "bf16", "fp32"]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class BaseChoice:
    """Which base will be loaded, and how. `base` is `embedded`, a folder, or a hub id."""

    base: str
    device: str  # "cpu" or "cuda:0"
    device_name: str  # "cpu" or "cuda:0 (NVIDIA …)"
    precision: Precision
    why: str  # why this precision

    @property
    def called(self) -> str:
        """The base's name for people."""
        return "the embedded model" if self.base == EMBEDDED else self.base


@dataclass(frozen=True)
class LoadedBase:
    """The weights and what to know about them. `eos_ids` are all tokens that end a text."""

    model: Any
    tokenizer: Any
    eos_ids: frozenset[int]
    pad_id: int
    room: int  # the most tokens that prompt and reply may have together
    vocabulary: int  # the width of the output layer; the tokenizer's may be smaller


def choose(settings: Settings) -> BaseChoice:
    """Choose base, device and precision from the settings and the machine. Imports torch, loads no weights."""
    share_cores()
    import torch

    cuda = torch.cuda.is_available()
    base = settings.base if settings.base != "auto" else CUDA_BASE if cuda else EMBEDDED
    precision, why = _precision(settings.precision, cuda=cuda)
    if not cuda:
        return BaseChoice(base, "cpu", "cpu", precision, why)
    return BaseChoice(base, "cuda:0", f"cuda:0 ({torch.cuda.get_device_name(0)})", precision, why)


def name_of(settings: Settings) -> str:
    """Return which base the settings mean: `embedded`, a folder, or a hub id. Only `auto` has to ask torch."""
    return settings.base if settings.base != "auto" else choose(settings).base


def folder_of(choice: BaseChoice, data_dir: Path, progress: Progress | None = None) -> str:
    """Return what `transformers` loads: a folder (converting the embedded model if need be) or a hub id.

    Raises BaseUnavailable when there is no such folder, or no safetensors model in it.
    """
    if choice.base == EMBEDDED:
        with quiet():
            return str(embedded.ready_folder(data_dir, progress))
    folder = Path(choice.base).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return str(folder)
    if not _HUB_ID.fullmatch(choice.base):
        raise BaseUnavailable(f"There is no folder {choice.base}, and a hub id looks like owner/name.")
    return choice.base


def presence(choice: BaseChoice, data_dir: Path) -> str:
    """Say where the base is, without loading or fetching it. Raises BaseUnavailable when it cannot be had here."""
    if choice.base == EMBEDDED:
        return embedded.presence(data_dir)
    folder = folder_of(choice, data_dir)
    if Path(folder).is_dir():
        return "a folder on this machine"
    from huggingface_hub import try_to_load_from_cache

    cached = isinstance(try_to_load_from_cache(folder, "config.json"), str)
    return "in the hub's cache on this machine" if cached else "not here yet; the first start fetches it from the hub"


def load_tokenizer(choice: BaseChoice, data_dir: Path, progress: Progress | None = None) -> Any:
    """Load the tokenizer alone. Raises BaseUnavailable."""
    source = folder_of(choice, data_dir, progress)
    with quiet(), _explained(choice):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def load(choice: BaseChoice, data_dir: Path, tokenizer: Any, progress: Progress | None = None) -> LoadedBase:
    """Load the weights as chosen, ready to answer. Raises BaseUnavailable."""
    source = folder_of(choice, data_dir, progress)
    if progress is not None:
        progress(0.0, f"Loading {choice.called}")
    with quiet(), _explained(choice):
        from transformers import AutoModelForCausalLM, GenerationConfig

        model = AutoModelForCausalLM.from_pretrained(
            source,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            device_map={"": choice.device},
            **_weights(choice.precision),
        )
        room, vocabulary = int(model.config.max_position_embeddings), int(model.config.vocab_size)
    model.eval()
    eos_ids = _eos_ids(model, tokenizer)
    pad_id = choose_pad(tokenizer, eos_ids)
    # What generate() is not told it would take from the base's own, such as a temperature or a penalty.
    model.generation_config = GenerationConfig()
    if progress is not None:
        progress(1.0, f"Loaded {choice.called}")
    return LoadedBase(model, tokenizer, eos_ids, pad_id, room, vocabulary)


def _precision(wanted: Precision | Literal["auto"], *, cuda: bool) -> tuple[Precision, str]:
    if wanted != "auto":
        return wanted, "the settings say so"
    if cuda:
        return "nf4", "4-bit is small and fast on a GPU"
    flags = _cpu_flags()
    # Without that instruction bitsandbytes unpacks every weight at every token: 6 times slower than bf16.
    if "avx512_bf16" in flags and _fast_nf4():
        return "nf4", "this CPU has AVX512-BF16, where 4-bit is fastest"
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return "bf16", "this CPU computes in bfloat16"
    return "fp32", "this CPU has no bfloat16 arithmetic"


def _cpu_flags() -> set[str]:
    """Return the CPU's feature names as Linux gives them (x86 `flags`, ARM `Features`); empty elsewhere."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}


def _fast_nf4() -> bool:
    """Whether the installed bitsandbytes was built with its kernel for AVX512-BF16."""
    with quiet():
        try:
            from bitsandbytes.functional import has_avx512bf16
        except ImportError:  # on macOS it is not a dependency
            return False
        return bool(has_avx512bf16())


def _weights(precision: Precision) -> dict[str, Any]:
    import torch

    if precision == "fp32":
        return {"dtype": torch.float32}
    if precision == "bf16":
        return {"dtype": torch.bfloat16}
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,  # the default is float32, which is slow everywhere
    )
    return {"dtype": torch.bfloat16, "quantization_config": quantization}


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise BaseUnavailable(f"The folder {folder} holds no model: it has no config.json.")
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise BaseUnavailable(
            f"The weights in {folder} are pickle files, which can run code when they are read. "
            "Only safetensors are loaded; convert them where you trust their source."
        )
    raise BaseUnavailable(f"The folder {folder} holds no weights: it has no .safetensors file.")


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every id that ends a text: each place may name one, several, or none."""
    found: set[int] = set()
    for place in (model.generation_config, model.config, tokenizer):
        ids = place.eos_token_id
        if ids is not None:
            found.update([ids] if isinstance(ids, int) else ids)
    return frozenset(found)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' bars, log lines and warnings off the terminal while one of them loads."""
    # It asks for the package `kernels`, which would download code; it logs this while it is imported.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _explained(choice: BaseChoice) -> Iterator[None]:
    """Turn what loading raises into one BaseUnavailable that says what to do."""
    import torch
    from safetensors import SafetensorError

    what = f"The base {choice.base}"
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise BaseUnavailable(
            f"{what} does not fit into the GPU's memory in {choice.precision}. Free some, choose a smaller base "
            "(PERSONA_CHAT_BASE=embedded), or set PERSONA_CHAT_PRECISION=nf4."
        ) from error
    except SafetensorError as error:
        raise BaseUnavailable(f"{what} has a damaged weights file ({error}). Get it again.") from error
    except ImportError as error:
        raise BaseUnavailable(f"{what} needs a package that is missing: {error.name or error}.") from error
    except OSError as error:  # what transformers raises for offline, gated, not found and pickle-only
        raise BaseUnavailable(
            f"{what} could not be had. If it is a hub id: check the name and the network; for a gated model accept "
            "its licence and set HF_TOKEN; it must have safetensors. PERSONA_CHAT_BASE=embedded needs no network."
        ) from error
    except Exception as error:  # a folder from elsewhere makes transformers raise almost anything
        raise BaseUnavailable(
            f"{what} cannot be loaded in {choice.precision}: it is no causal language model that the installed "
            "transformers knows, or it does not fit this precision."
        ) from error
