"""The form `persona-ab-0`, in which adapters were trained that were published before ours. `template` calls it.

It has no quotes around anything, so what people type is kept in its place here by taking its line breaks and the
colons behind the form's own labels.
"""

import re
from collections.abc import Iterable

from persona_chat.heard import encodable

TEMPLATE_AB_0 = "persona-ab-0"

_HEADER = """\
Below is a persona information of a Person B, followed by a conversation between two individuals, Person A and Person B. Finally, there is a reference to Person B's response in the conversation.
Please carefully consider the flow and context of the conversation below, and use the Person B's Persona information appropriately to generate a response that you think are
the most appropriate replying for Person B with the help of reference.

"""  # noqa: E501  the adapters were trained on exactly these lines

_LABEL = re.compile(r"\b(Persona(?: [AB])?|Conversation|Reference)\s*:", re.ASCII)


def render_ab_0(persona: Iterable[str], dialogue: Iterable[tuple[str, str]]) -> str:
    """Return the prompt: header, the persona's sentences in one line, one line a turn, and the cue `Reference:`.

    `dialogue` has the speaker's label and the text of each turn.
    """
    turns = "\n".join(f"{speaker}: {_line(text)}" for speaker, text in dialogue)
    return f"{_HEADER}Persona: {_line(' '.join(persona))}\nConversation: {turns}\nReference:"


def _line(text: str) -> str:
    """The text as one line that holds none of the form's labels, nor half characters."""
    return _LABEL.sub(r"\1,", " ".join(encodable(text).split()))
