"""What is measured: one loaded base, under one adapter after another or none, and how it is asked.

Importing it imports no torch, so that wrong input is said before any of that is loaded.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_chat import template
from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores, share_cores
from persona_chat.engine.loaded import MB, decoder_of, wear
from persona_chat.engine.reply import Progress, Sampling
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import InputError
from persona_chat.registry import find_adapter
from persona_chat.settings import Settings
from training.prompting import ChatPrompting, Prompting, TemplatePrompting

if TYPE_CHECKING:
    from persona_chat.engine.batch import Batch

REPLIES_AT_ONCE = 16


class Way(StrEnum):
    """How a persona and a dialogue are put to a model."""

    TEMPLATE = "template"
    CHAT = "chat"


@dataclass(frozen=True)
class Asking:
    """How a model is asked: in which way, and whether words are drawn as the bot draws them, or greedily."""

    way: Way = Way.TEMPLATE
    drawn: bool = False


@dataclass(frozen=True)
class System:
    """A model under an adapter, and how it is asked: `model` scores, and `batch` writes replies as the bot does."""

    called: str
    model: Any
    base: base.LoadedBase
    tokens: Tokens
    prompting: Prompting
    batch: "Batch"
    sampling: Sampling


@dataclass(frozen=True)
class Wanted:
    """An adapter as it was asked for: a path, a name, or `none`, and where that is."""

    called: str
    folder: Path | None


def find(called: str, data_dir: Path) -> Wanted:
    """Find an adapter and check what can be checked without the base. Raises AdapterRefused."""
    folder = find_adapter(called, data_dir)
    if folder is not None:
        read_adapter(folder)
    return Wanted(called, folder)


class Bench:
    """One loaded base, which serves one adapter at a time."""

    def __init__(self, settings: Settings, asking: Asking, progress: Progress | None = None) -> None:
        """Load the base. Raises BaseUnavailable, and InputError when it cannot be asked in this way."""
        share_cores()
        import torch

        from persona_chat.engine.head import closed_tokens

        torch.set_num_threads(settings.threads or available_cores())
        self.choice = base.choose(settings)
        self._settings = settings
        self._asking = asking
        tokenizer = base.load_tokenizer(self.choice, settings.data_dir, progress)
        if asking.way is Way.CHAT and tokenizer.chat_template is None:
            raise InputError(f"The base {self.choice.base} has no chat template. Use --prompting template.")
        self._tokens = Tokens(tokenizer)
        self._base = base.load(self.choice, settings.data_dir, tokenizer, progress)
        # Before the first forward pass, which packs 4-bit weights.
        self._decoder = decoder_of(self._base.model)
        self._closed = closed_tokens(self._tokens.openings(), self._base) if asking.way is Way.TEMPLATE else None

    @contextmanager
    def under(self, wanted: Wanted) -> Iterator[System]:
        """Serve under this adapter inside the block. Raises AdapterRefused when it does not fit the base."""
        if wanted.folder is None:
            yield self._system(wanted.called, self._base.model, template.TEMPLATE_ID)
            return
        from persona_chat.engine.lora import attach

        adapter = read_adapter(wanted.folder)
        served = attach(self._base.model, adapter, self.choice.base)
        wear(self._decoder, None, adapter, self.choice.base)
        try:
            yield self._system(wanted.called, served, adapter.template)
        finally:
            wear(self._decoder, adapter, None, self.choice.base)
            served.unload()

    def _system(self, called: str, model: Any, form: str) -> System:
        from persona_chat.engine.batch import Batch

        budget = self._settings.context_tokens
        prompting: Prompting = TemplatePrompting(self._tokens, budget, form)
        if self._asking.way is Way.CHAT:
            prompting = ChatPrompting(self._tokens, budget)
        sampling = self._settings.sampling
        if not self._asking.drawn:
            sampling = dataclasses.replace(sampling, temperature=0.0)
        batch = Batch(
            self._decoder,
            self._tokens.decode,
            self._base.eos_ids,
            self._closed if prompting.opens else None,
            most=REPLIES_AT_ONCE,
            cache_bytes=self._settings.cache_mb * MB,
        )
        return System(called, model, self._base, self._tokens, prompting, batch, sampling)
