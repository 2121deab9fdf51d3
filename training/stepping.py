"""The steps themselves: trl's trainer on examples that are rendered already, told of, checked, and stoppable."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from persona_chat.errors import TrainingFailed
from training.examples import IGNORED, Example
from training.loss import labelled_loss
from training.model import Trainee, evaluating, trainable
from training.progress import Pace, Told
from training.recipe import Recipe
from training.run import check_finite

_STATE = "trainer_state.json"  # what transformers writes last into a checkpoint


def steps_of(recipe: Recipe, rows: int) -> int:
    """Return how many steps the recipe's epochs take, at most its `max_steps` (0: no bound)."""
    steps = max(1, math.ceil(rows * recipe.epochs / recipe.rows_per_step))
    return min(steps, recipe.max_steps) if recipe.max_steps else steps


def take_steps(
    trainee: Trainee,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    recipe: Recipe,
    steps: int,
    checkpoints: Path,
    told: Told,
    stop: Any,
    *,
    resume: bool,
) -> tuple[int, float]:
    """Take the steps, with `resume` those after the newest whole checkpoint; return the last step and its loss.

    Ends earlier, after a checkpoint, once the event `stop` is set. Raises TrainingFailed when the loss is no number
    or a LoRA tensor got no gradient.
    """
    watch = _Watch(trainee, held_out, steps, told, stop)
    kind = SFTTrainer if trainee.by_unsloth else _Trainer
    trainer = kind(
        model=trainee.model,
        args=_arguments(trainee, recipe, steps, checkpoints),
        train_dataset=Dataset.from_list([{"input_ids": e.input_ids, "labels": e.labels} for e in examples]),
        processing_class=trainee.tokenizer,
        data_collator=_Collator(trainee.pad_id),
        callbacks=[watch],
    )
    for weight in trainable(trainee.model).values():
        # trl rounds LoRA beside 4-bit weights to bfloat16, where a late, small step is rounded away.
        weight.data = weight.data.float()
    for noisy in ("PrinterCallback", "ProgressCallback"):
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ == noisy:
                trainer.remove_callback(callback)
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints) if resume else None)
    return trainer.state.global_step, watch.loss


def newest_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; None where there is none."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / _STATE).is_file()]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


class _Trainer(SFTTrainer):  # type: ignore[misc]  # trl ships no types
    """trl's trainer with our loss: the same number in less time."""

    def compute_loss(
        self, _model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of one batch, over all of the step's labelled tokens."""
        device = inputs["input_ids"].device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.args.bf16):
            loss = labelled_loss(self.model, inputs["input_ids"], inputs["labels"], num_items_in_batch)
        return (loss, None) if return_outputs else loss


class _Collator:
    """Pads examples on the right into one batch, whose length is a multiple of 32.

    On a CPU each new length costs memory that stays: over 30 steps a run grew by 26 MB so, and by 314 MB with every
    length that a batch can have. What keeps it was not found out.
    """

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `labels` and `attention_mask`, each [rows, tokens]."""
        longest = -(-max(len(row["input_ids"]) for row in rows) // 32) * 32

        def padded(row: Sequence[int], filler: int) -> list[int]:
            return [*row, *[filler] * (longest - len(row))]

        return {
            "input_ids": torch.tensor([padded(row["input_ids"], self._pad_id) for row in rows]),
            "labels": torch.tensor([padded(row["labels"], IGNORED) for row in rows]),
            "attention_mask": torch.tensor([padded([1] * len(row["input_ids"]), 0) for row in rows]),
        }


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Tells of each step, checks loss and gradients, measures on held-out rows, and stops when asked to."""

    def __init__(self, trainee: Trainee, held_out: Sequence[Example], steps: int, told: Told, stop: Any) -> None:
        self._trainee = trainee
        self._held_out = held_out
        self._steps = steps
        self._told = told
        self._stop = stop
        self._pace = Pace()
        self._seen = 0
        self.loss = math.nan

    def on_pre_optimizer_step(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """See that every LoRA tensor has a gradient."""
        without = [name for name, weight in trainable(self._trainee.model).items() if weight.grad is None]
        if without:
            raise TrainingFailed(
                f"{len(without)} LoRA tensors got no gradient, {without[0]} among them: this base or precision cannot "
                "be trained here. Try --precision bf16."
            )

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Take the step's loss and tell of it."""
        if logs is None or "loss" not in logs:
            return
        self.loss = float(logs["loss"])
        check_finite(self.loss, state.global_step)
        seen = int(state.num_input_tokens_seen)
        rate, seconds = self._pace.step(seen - self._seen)
        self._seen = seen
        self._told(
            "step",
            step=state.global_step,
            steps=self._steps,
            loss=round(self.loss, 5),
            tokens_per_s=round(rate, 1),
            seconds_left=round(seconds * (self._steps - state.global_step), 1),
        )

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        """Save and stop when asked to."""
        if self._stop.is_set():
            control.should_save = control.should_training_stop = True
        return control

    def on_save(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Tell of the checkpoint and of the loss on rows that are never trained on."""
        self._told("checkpoint", step=state.global_step)
        if self._held_out and not self._stop.is_set():
            self._told("held_out", step=state.global_step, loss=round(self._measure(), 5))
            self._pace = Pace()

    def _measure(self) -> float:
        collate, model = _Collator(self._trainee.pad_id), self._trainee.model
        device = model.device.type
        summed = tokens = 0.0
        with evaluating(model), torch.autocast(device, dtype=torch.bfloat16, enabled=self._trainee.half):
            for start in range(0, len(self._held_out), 8):
                some = self._held_out[start : start + 8]
                batch = collate([{"input_ids": e.input_ids, "labels": e.labels} for e in some])
                labels = batch["labels"].to(model.device)
                summed += float(labelled_loss(model, batch["input_ids"].to(model.device), labels, 1))
                tokens += float((labels != IGNORED).sum())
        return summed / tokens


def _arguments(trainee: Trainee, recipe: Recipe, steps: int, checkpoints: Path) -> SFTConfig:
    cuda = trainee.choice.device != "cpu"
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=recipe.rows_at_once,
        gradient_accumulation_steps=max(1, recipe.rows_per_step // recipe.rows_at_once),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
        optim=recipe.optimizer if cuda or "8bit" not in recipe.optimizer else "adamw_torch",
        seed=recipe.seed,
        data_seed=recipe.seed,
        train_sampling_strategy="sequential",  # the order is made in training.examples
        use_cpu=not cuda,
        bf16=trainee.half,
        fp16=False,
        gradient_checkpointing=False,  # costs a third of the time; rows are short
        max_length=None,  # trl would cut the end, where the reply is
        packing=False,  # without FlashAttention rows would see each other
        loss_type="nll",
        dataloader_num_workers=0,
        dataloader_pin_memory=cuda,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="all",
        save_steps=recipe.checkpoint_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
    )
