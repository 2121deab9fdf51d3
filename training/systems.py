"""What is measured: one loaded base, under one adapter after another or none, and how it is asked.

Importing it imports no torch, so that wrong input is said before any of that is loaded.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from persona_chat import template
from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores, share_cores
from persona_chat.engine.reply import Progress, Sampling
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import InputError
from persona_chat.registry import find_adapter
from persona_chat.settings import Settings
from training.prompting import ChatPrompting, Prompting, TemplatePrompting


class Way(StrEnum):
    """How a persona and a dialogue are put to a model."""

    TEMPLATE = "template"
    CHAT = "chat"


@dataclass(frozen=True)
class System:
    """A model that serves, and how it is asked. `closed` is the mask of tokens that no reply may begin with."""

    called: str
    model: Any
    base: base.LoadedBase
    tokens: Tokens
    prompting: Prompting
    closed: Any
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

    def __init__(self, settings: Settings, way: Way, progress: Progress | None = None) -> None:
        """Load the base. Raises BaseUnavailable, and InputError when it cannot be asked in this way."""
        share_cores()
        import torch

        torch.set_num_threads(settings.threads or available_cores())
        self.choice = measured_in(base.choose(settings), settings)
        self._settings = settings
        self._way = way
        tokenizer = base.load_tokenizer(self.choice, settings.data_dir, progress)
        if way is Way.CHAT and tokenizer.chat_template is None:
            raise InputError(f"The base {self.choice.base} has no chat template. Use --prompting template.")
        self._tokens = Tokens(tokenizer)
        self._closed: Any = None
        self._base = base.load(self.choice, settings.data_dir, tokenizer, progress)

    @contextmanager
    def under(self, wanted: Wanted) -> Iterator[System]:
        """Serve under this adapter inside the block. Raises AdapterRefused when it does not fit the base."""
        if wanted.folder is None:
            yield self._system(wanted.called, self._base.model, template.TEMPLATE_ID)
            return
        from persona_chat.engine.lora import attach

        adapter = read_adapter(wanted.folder)
        served = attach(self._base.model, adapter, self.choice.base)
        try:
            yield self._system(wanted.called, served, adapter.template)
        finally:
            served.unload()

    def _system(self, called: str, model: Any, form: str) -> System:
        from persona_chat.engine.generation import closed_tokens

        budget = self._settings.context_tokens
        prompting: Prompting = TemplatePrompting(self._tokens, budget, form)
        if self._way is Way.CHAT:
            prompting = ChatPrompting(self._tokens, budget)
        if prompting.opens and self._closed is None:  # decodes the whole vocabulary, so once for all adapters
            self._closed = closed_tokens(self._tokens.openings(), self._base)
        closed = self._closed if prompting.opens else None
        greedy = dataclasses.replace(self._settings.sampling, temperature=0.0)
        return System(called, model, self._base, self._tokens, prompting, closed, greedy)


def measured_in(choice: base.BaseChoice, settings: Settings) -> base.BaseChoice:
    """Return the choice in the precision that measuring is done in: as served, but bf16 where that is nf4 on a CPU.

    Many tokens at once are read several times faster so. A precision that the operator set stays.
    """
    if settings.precision == "auto" and choice.device == "cpu" and choice.precision == "nf4":
        return dataclasses.replace(choice, precision="bf16", why="this CPU reads many tokens at once fastest in it")
    return choice
