"""Rows on which every candidate is measured, whatever it learned from: the project's own dialogues, as far as no
training ever learns from them. What an operator gives to learn from cannot vouch for itself.
"""

import json
from hashlib import sha256
from pathlib import Path

from persona_chat.errors import TrainingFailed

_OWN = Path("examples") / "dialogues.jsonl"
_PACKAGE = Path(__file__).parents[1]


def own_dialogues() -> Path | None:
    """Return the file with the project's dialogues: in the installed package, or beside it in a checkout."""
    found = [folder / _OWN for folder in (_PACKAGE, _PACKAGE.parent) if (folder / _OWN).is_file()]
    return found[0] if found else None


def write_yardstick(own: Path, file: Path) -> None:
    """Write those rows that the trainer keeps out of every run. Raises TrainingFailed when that cannot be done."""
    try:
        rows = [line for line in own.read_text(encoding="utf-8").splitlines() if line.strip()]
        kept = [line for line in rows if _held_out(json.loads(line)["conv_id"])]
        file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        raise TrainingFailed(f"The rows to compare on could not be written ({type(error).__name__}).") from None


def _held_out(conversation: str) -> bool:
    # The trainer's rule: a conversation's own name decides, so it is the same in every run.
    return sha256(conversation.encode()).digest()[0] % 16 == 0
