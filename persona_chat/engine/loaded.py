"""The model in memory: a base, perhaps under an adapter, and the batch that it writes. For the model thread.

Importing it imports no torch.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_chat import template
from persona_chat.adapters import Adapter, read_adapter
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores
from persona_chat.engine.memory import give_back
from persona_chat.engine.reply import EngineFacts, Progress
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import AdapterRefused, BaseUnavailable, PersonaChatError, trace
from persona_chat.fit import check_base
from persona_chat.settings import Settings

if TYPE_CHECKING:
    from persona_chat.engine.batch import Batch

MB = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What the model thread works with. `decoder` computes, under the adapter; `batch` writes with it."""

    choice: base.BaseChoice
    decoder: Any
    adapter: Adapter | None
    batch: "Batch"

    @property
    def adapter_name(self) -> str | None:
        """The versioned name of the adapter."""
        return self.adapter.name if self.adapter is not None else None

    @property
    def form(self) -> str:
        """The form of the prompts."""
        return form_of(self.adapter)

    @property
    def facts(self) -> EngineFacts:
        """What it is, for people."""
        chosen = self.choice
        return EngineFacts(chosen.base, self.adapter_name, chosen.device_name, chosen.precision, chosen.why)


def form_of(adapter: Adapter | None) -> str:
    """Return the form of the adapter's prompts; the plain base gets ours."""
    return adapter.template if adapter is not None else template.TEMPLATE_ID


def load(settings: Settings, folder: Path | None, tokenizer: Callable[[], Tokens], progress: Progress) -> Loaded:
    """Load the base of the settings and the adapter of the folder. Raises BaseUnavailable or AdapterRefused."""
    choice = base.choose(settings)  # before any other import of torch: it says how threads wait

    import torch

    from persona_chat.engine.batch import Batch
    from persona_chat.engine.head import closed_tokens

    torch.set_num_threads(settings.threads or available_cores())
    adapter = _read(folder, choice.base)  # a fault is said before minutes of loading
    tokens = tokenizer()
    loaded = base.load(choice, settings.data_dir, tokens.tokenizer, progress)
    _check_room(settings, choice, loaded)
    openings = tokens.openings()
    if not openings:
        raise BaseUnavailable(f"The base {choice.base} has no words that begin with a space, as replies do.")
    give_back()  # loading leaves a lot behind, and a decoder packs its own copies
    decoder = decoder_of(loaded.model)
    wear(decoder, None, adapter, choice.base)
    batch = Batch(
        decoder,
        tokens.decode,
        loaded.eos_ids,
        closed_tokens(openings, loaded),
        most=settings.batch or (8 if choice.device == "cpu" else 32),
        cache_bytes=settings.cache_mb * MB,
    )
    del loaded
    give_back()
    return Loaded(choice, decoder, adapter, batch)


def with_adapter(loaded: Loaded, folder: Path | None) -> Loaded:
    """Put the adapter of the folder in the place of the one there is, None for the plain base.

    All or nothing: raises AdapterRefused, and then `loaded` still serves. Nothing is being written meanwhile.
    """
    adapter = _read(folder, loaded.choice.base)
    after = dataclasses.replace(loaded, adapter=adapter)
    if after.adapter_name == loaded.adapter_name:
        return loaded
    try:
        wear(loaded.decoder, loaded.adapter, adapter, loaded.choice.base)
    except PersonaChatError:
        raise
    except Exception as error:
        _log.error("an adapter could not be loaded: %s", trace(error))
        raise AdapterRefused(
            f"The adapter in {folder} is not used: it could not be loaded, for a reason that is in the log."
        ) from None
    loaded.batch.clear()
    _log.info("adapter %s serves, before it %s", after.adapter_name or "none", loaded.adapter_name or "none")
    return after


def decoder_of(model: Any) -> Any:
    """Return what computes with this model: our own forward where it is of the Llama form, else its own."""
    from persona_chat.engine.decoder import Decoder, is_llama
    from persona_chat.engine.plain import PlainDecoder

    return Decoder(model) if is_llama(model) else PlainDecoder(model)


def wear(decoder: Any, before: Adapter | None, adapter: Adapter | None, base_name: str) -> None:
    """Let the decoder compute under `adapter` in place of `before`. Raises AdapterRefused, and then changes nothing."""
    from persona_chat.engine.lora import exchange, loras
    from persona_chat.engine.plain import PlainDecoder

    if isinstance(decoder, PlainDecoder):
        decoder.model = exchange(decoder.model, before, adapter, base_name)
    else:
        decoder.wear(loras(adapter, base_name, decoder.linears, decoder.like) if adapter is not None else {})


def _read(folder: Path | None, base_name: str) -> Adapter | None:
    if folder is None:
        return None
    adapter = read_adapter(folder)
    check_base(adapter, base_name)
    return adapter


def _check_room(settings: Settings, choice: base.BaseChoice, loaded: base.LoadedBase) -> None:
    most = loaded.room - settings.max_new_tokens
    if settings.context_tokens > most:
        raise BaseUnavailable(
            f"The base {choice.base} has room for {most:,} prompt tokens. "
            f"Set PERSONA_CHAT_CONTEXT_TOKENS to that or less."
        )
