"""A message somebody said to the bot, as plain values. It knows nothing of Discord's objects."""

from dataclasses import dataclass

from persona_chat.place import Place


@dataclass(frozen=True)
class Heard:
    """One message, by Discord's id; `text` is what was said, `speaker_name` who it shows as saying it.

    `answers` is the id of the message that it replies to, if it does.
    """

    message_id: int
    place: Place
    speaker_name: str
    text: str
    answers: int | None = None


def encodable(text: str) -> str:
    """Replace half characters (lone surrogates): JSON may carry them, no file or database can hold them."""
    return text.encode("utf-8", "replace").decode()
