"""Rows on which every candidate is measured, whatever it learned from: the project's own dialogues, as far as no
training ever learns from them. What an operator gives to learn from cannot vouch for itself.
"""

import json
from hashlib import sha256
from pathlib import Path

from persona_chat.errors import TrainingFailed
from persona_chat.example import example_file


def own_dialogues() -> Path | None:
    """Return the file with the project's dialogues; None where it is not installed."""
    file = example_file("dialogues.jsonl")
    return file if file.is_file() else None


def write_yardstick(own: Path, file: Path) -> None:
    """Write those rows that the trainer keeps out of every run. Raises TrainingFailed when that cannot be done."""
    try:
        rows = [line for line in own.read_text(encoding="utf-8").splitlines() if line.strip()]
        kept = [line for line in rows if held_out(json.loads(line)["conv_id"])]
        file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        raise TrainingFailed(f"The rows to compare on could not be written ({type(error).__name__}).") from None


def held_out(conversation: str) -> bool:
    """Whether a conversation is never learned from: one of 16, by its `conv_id`, so the same ones in every run."""
    return sha256(conversation.encode()).digest()[0] % 16 == 0
