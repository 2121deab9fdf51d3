"""How an adapter is trained: every number is a field of `Recipe`, with its reason. No torch here."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from persona_chat.errors import InputError

LossOn = Literal["every B turn", "reference"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training. The defaults are those of the original project where it had them."""

    rank: int = 16  # the original's; more did not fit 16 MiB by much and a small base is short of data, not of room
    alpha: int = 16  # scale alpha / rank = 1: the learning rate alone says how fast it learns
    dropout: float = 0.0  # the original's; data is seen once or twice, which hardly overfits
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    learning_rate: float = 2e-4
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup_steps: int = 5
    weight_decay: float = 0.01
    optimizer: str = "adamw_8bit"  # half the optimizer's memory on a GPU
    rows_per_step: int = 8  # the original's 2 x 4; LoRA learns worse from large batches
    rows_at_once: int = 2  # what a small GPU holds; a step adds up several
    epochs: float = 1.0
    max_steps: int = 2000  # the original stopped there, before the end of its epoch
    max_tokens: int = 1024  # the bot's window; older turns are cut, the persona never
    loss_on: LossOn = "every B turn"  # about five times as many learned words a row at the same cost
    facts_move: bool = True  # personas come as text, as a list, or both, and in any order
    clip: float = 1.0  # a single odd batch must not undo the others
    stored: Literal["bf16", "fp32"] = "bf16"  # the precision it is served in; half the file
    checkpoint_steps: int = 50
    seed: int = 3407


RECIPES: dict[str, Recipe] = {
    "original": Recipe(),
    # A small base on two cores sees few rows: it must learn fast from each.
    "small": Recipe(
        learning_rate=7e-4,  # what the default adapter was trained with; no sweep was made yet
        schedule="cosine",
        warmup_steps=20,
        optimizer="adamw_torch",  # the 8-bit one needs a GPU
        rows_at_once=8,
        max_tokens=640,
        max_steps=0,
        checkpoint_steps=25,
    ),
}


def choose_recipe(name: str | None, base: str, **overrides: Any) -> tuple[str, Recipe]:
    """Return the recipe by name, or the base's own, with the fields that were given replaced.

    Raises InputError for a name or a field that is not there.
    """
    chosen = name or ("original" if "llama" in base.lower() else "small")
    if chosen not in RECIPES:
        raise InputError(f"There is no recipe {chosen}. There are: {', '.join(sorted(RECIPES))}.")
    given = {field: value for field, value in overrides.items() if value is not None}
    return chosen, replace(RECIPES[chosen], **given)


def read_override(text: str) -> tuple[str, Any]:
    """Read `field=value` for a field of the recipe. Raises InputError that lists the fields."""
    known = {field.name: field for field in fields(Recipe)}
    name, _, value = text.partition("=")
    if name not in known or not value:
        raise InputError(f"--set takes field=value, with a field of the recipe: {', '.join(known)}.")
    default = getattr(Recipe(), name)
    try:
        if isinstance(default, bool):
            return name, {"true": True, "false": False}[value.lower()]
        if isinstance(default, tuple):
            return name, tuple(part.strip() for part in value.split(",") if part.strip())
        return name, type(default)(value)
    except (KeyError, ValueError):
        raise InputError(f"--set {name}: {value} is no {type(default).__name__}.") from None
