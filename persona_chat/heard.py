"""A message somebody said to the bot, as plain values. It knows nothing of Discord's objects."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """What was said, by whom and where. Ids are Discord's; `text` is one line."""

    message_id: int
    channel_id: int
    speaker_id: int
    speaker_name: str
    text: str
