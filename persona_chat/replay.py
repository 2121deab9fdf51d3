"""A reply once more: the request that made it, put together from what was kept. Knows no Discord and no SQL."""

from pathlib import Path

from persona_chat.adapters import SHIPPED, SHIPPED_NAME, read_adapter
from persona_chat.dialogue import Speaker, Turn
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import InputError, PersonaChatError
from persona_chat.memory import remembering
from persona_chat.registry import kept_folder
from persona_chat.rework import NOT_MINE
from persona_chat.settings import Settings
from persona_chat.store.answers import Version
from persona_chat.store.store import Store


def recorded(store: Store, message_id: int, settings: Settings) -> tuple[Version, ReplyRequest]:
    """Return the version of the reply that is shown, and the request that made it.

    `message_id` is Discord's, of the message that was answered or of the answer. Raises InputError when it was not
    answered, when the reply was written by a person, and when what made it was not kept.
    """
    answer = store.answers.find(message_id)
    if answer is None:
        raise InputError(NOT_MINE)
    version = answer.version
    if version.how is None or "edited_by" in version.how:
        raise InputError("What made that reply was not kept: it was written by a person, or by an earlier release.")
    drawn = {name: version.how[name] for name in Sampling.__dataclass_fields__ if name in version.how}
    begun = ""
    if (number := version.how.get("goes_on")) is not None:
        begun = next((one.text for one in answer.versions if one.number == number), "")
        if not begun:
            raise InputError("That reply went on after words that are not kept any more.")
    past = store.answers.before(answer, settings.history_turns)
    asked = Turn(Speaker.A, answer.asked, answer.asker_name)
    request = ReplyRequest(version.persona, (*past, asked), Sampling(**drawn), settings.deadline_s, begun=begun)
    kept = store.memories.of(answer.channel_id, answer.persona_id, answer.message_id)
    return version, remembering(request, kept, on=settings.memory)


def folder_of(adapter: str | None, settings: Settings) -> Path | None:
    """Return where the adapter of that versioned name is; None is the plain base. Raises InputError."""
    if adapter is None:
        return None
    name = adapter.rpartition("@")[0]
    try:
        folder = SHIPPED if name == SHIPPED_NAME else kept_folder(name, settings.data_dir)
        if read_adapter(folder).name == adapter:
            return folder
    except PersonaChatError:
        pass
    raise InputError(f"The adapter {adapter}, which wrote that reply, is not here any more.")
