"""What a plain bot does: one `model.generate()` at a time, nothing remembered. Only to measure against."""

import asyncio
import time
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from persona_chat import template
from persona_chat.adapters import read_adapter
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores
from persona_chat.engine.lora import attach
from persona_chat.engine.reply import Finish, Reply, ReplyRequest
from persona_chat.engine.tokens import Tokens
from persona_chat.settings import Settings


class GenerateEngine:
    """Answers as most bots do: a lock, and transformers' `generate()` under PEFT, on a thread."""

    def __init__(self, settings: Settings, adapter: Path | None) -> None:
        """Load nothing yet. `adapter` is the folder of the one to serve."""
        self._settings = settings
        self._adapter = adapter
        self._one = asyncio.Lock()
        self._model: Any = None
        self._tokens: Tokens | None = None

    async def start(self) -> None:
        """Load the model."""
        await asyncio.to_thread(self._load)

    async def reply(self, request: ReplyRequest) -> Reply:
        """Write exactly as many tokens as the sampling allows, greedily."""
        asked = time.perf_counter()
        async with self._one:
            return await asyncio.to_thread(self._write, request, asked)

    async def close(self) -> None:
        """Let go of the model."""
        self._model = None

    def _load(self) -> None:
        choice = base.choose(self._settings)
        torch.set_num_threads(self._settings.threads or available_cores())
        tokenizer = base.load_tokenizer(choice, self._settings.data_dir)
        self._tokens = Tokens(tokenizer)
        self._model = base.load(choice, self._settings.data_dir, tokenizer).model
        if self._adapter is not None:
            self._model = attach(self._model, read_adapter(self._adapter), choice.base)

    def _write(self, request: ReplyRequest, asked: float) -> Reply:
        started = time.perf_counter()
        assert self._tokens is not None
        ids = torch.tensor([self._tokens.encode(template.render(request.persona, request.dialogue))])
        ids = ids.to(self._model.device)
        tokens, clock = request.sampling.max_new_tokens, _Clock()
        config = GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([clock]),
            )
        return Reply(
            text=self._tokens.decode(output[0, ids.shape[1] :].tolist()),
            finish=Finish.LENGTH,
            turns=len(request.dialogue),
            prompt_tokens=ids.shape[1],
            reply_tokens=output.shape[1] - ids.shape[1],
            waited_s=started - asked,
            first_token_s=clock.first_token_at - started,
            total_s=time.perf_counter() - started,
            read_tokens=ids.shape[1],
        )


class _Clock(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types here
    """Stops nothing; notes when the first token was there, in time.perf_counter() seconds."""

    def __init__(self) -> None:
        self.first_token_at = 0.0

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        self.first_token_at = self.first_token_at or time.perf_counter()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
