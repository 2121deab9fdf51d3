"""A message somebody said to the bot, as plain values. It knows nothing of Discord's objects."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """One message. The ids are Discord's; `text` is what was said, `speaker_name` who it shows as saying it."""

    message_id: int
    channel_id: int
    speaker_id: int
    speaker_name: str
    text: str


def encodable(text: str) -> str:
    """Replace half characters (lone surrogates): JSON may carry them, no file or database can hold them."""
    return text.encode("utf-8", "replace").decode()
