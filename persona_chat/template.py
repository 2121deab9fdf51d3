"""The Person A/B template `persona-ab-1`: the one place that writes prompts and reads replies.

Serving, training and evaluation all call it; nobody rebuilds the format by hand. It knows no tokenizer
class, only the few things it needs one to do. `form` names the form that an adapter was trained in: this one, or
`persona-ab-0`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from persona_chat.dialogue import Dialogue, Speaker, Turn, window
from persona_chat.errors import InputError, PersonaTooLong
from persona_chat.heard import encodable
from persona_chat.persona import Persona
from persona_chat.template_ab0 import TEMPLATE_AB_0, render_ab_0

TEMPLATE_ID = "persona-ab-1"
FORMS = (TEMPLATE_ID, TEMPLATE_AB_0)

CUE = f"{Speaker.B}:"

_HEADER = """\
Below is a persona information of a Person B, followed by a conversation between two individuals, Person A and Person B.
Please carefully consider the flow and context of the conversation below, and use the Person B's Persona information appropriately to generate a response that you think are
the most appropriate replying for Person B.

"""  # noqa: E501  the adapters were trained on exactly these lines

# JSON leaves these raw, yet they end a line for some readers (U+0085, U+2028, U+2029) or cannot be encoded
# (lone surrogates). Their escapes are the same JSON string.
_UNSAFE_IN_STRING = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# A reply that starts somebody's line is cut before it, wherever in the line that is.
_JSON = json.JSONEncoder(ensure_ascii=False)  # json.dumps makes one for each text
_NEXT_SPEAKER = re.compile(r"Persona [AB]\s*(?::|$)|\s*Reference:")

# How what ends a reply may begin: a quotation mark, or the first letters of another speaker's line.
# It looks only where such a run begins: else many brackets would be read once from each of them.
_MAY_END = re.compile(r"""(?<!["\s,\]}])["\s,\]}]*(?:(?:Persona [AB]|Reference).*|\b[PR]\w*(?: [AB]?)?)?$""")

_CLOSING = re.compile(r'"[\s,\]}]*$')

_FILE_FIELDS = {"name", "about", "persona_b", "dialogue"}
_ROW_FIELDS = {"reference", "conv_id", "candidates", "provenance"}


class Encoder(Protocol):
    """What the template needs of a tokenizer: `transformers` tokenizers have it."""

    bos_token_id: int | None
    added_tokens_decoder: Mapping[int, object]

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        """Return the token ids of the text."""
        ...


def render(
    persona: Persona,
    dialogue: Sequence[Turn],
    *,
    show_names: bool = False,
    form: str = TEMPLATE_ID,
    begun: str = "",
) -> str:
    """Return the prompt: header, persona, dialogue and the cue (`Persona B:`), with no newline after it.

    `show_names` puts a Persona A turn's display name before its text, when more than one person speaks. `begun` is what
    Person B has said already, after the cue.
    """
    names = {turn.name for turn in dialogue if turn.speaker is Speaker.A and turn.name}
    spoken = [(turn.speaker, _spoken(turn, show_name=show_names and len(names) > 1)) for turn in dialogue]
    said = f" {begun}" if begun else ""
    if form == TEMPLATE_AB_0:
        return render_ab_0((persona.about, *prompt_facts(persona)), spoken) + said
    lines = [f"{speaker}: {text}" for speaker, text in spoken]
    return (
        f"{_HEADER}"
        f"Persona: {{ {_about(persona.about)}}}\n"
        f'Conversation: {{"persona_b" = {_list(prompt_facts(persona))},\n'
        f"\n"
        f'"dialogue" = {_list(lines)}}}\n'
        f"{CUE}{said}"
    )


def prompt_facts(persona: Persona) -> tuple[str, ...]:
    """Return the facts as the model gets them: the form has no field for a name, so one that no text mentions
    becomes the first fact.
    """
    if not persona.name or persona.name.casefold() in " ".join((persona.about, *persona.facts)).casefold():
        return persona.facts
    return (f"My name is {persona.name}.", *persona.facts)


def fit(
    persona: Persona,
    dialogue: Sequence[Turn],
    budget: int,
    count: Callable[[str], int],
    *,
    show_names: bool = False,
    form: str = TEMPLATE_ID,
    steady: bool = False,
    begun: str = "",
) -> Dialogue:
    """Return the window of the dialogue whose prompt takes at most `budget` tokens, by `count` of the prompt text.

    See `window` for what is `steady`, and `render` for what is `begun`.

    Raises InputError when the last Persona A turn does not fit even alone.
    """
    return window(
        dialogue,
        budget,
        lambda turns: count(render(persona, turns, show_names=show_names, form=form, begun=begun)),
        steady=steady,
    )


def check_persona(persona: Persona, allowed: int, count: Callable[[str], int], *, form: str = TEMPLATE_ID) -> int:
    """Return how many tokens the persona takes with header and cue; raise PersonaTooLong over `allowed`."""
    tokens = count(render(persona, (), form=form))
    if tokens > allowed:
        raise PersonaTooLong(tokens, allowed)
    return tokens


def encode(tokenizer: Encoder, prompt: str) -> list[int]:
    """Return the prompt's token ids; the only control token among them is the leading one of the base, if any.

    With `split_special_tokens` a typed `<|im_end|>` is read as plain characters.
    """
    ids = tokenizer.encode(prompt, add_special_tokens=False, split_special_tokens=True)
    # Some tokenizers know control tokens that they do not call special, or have one for bytes they do not know.
    control = {number for number, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
    ids = [number for number in ids if number not in control]
    # Only bases that were trained with a leading control token say so by adding it to an empty text.
    leading = tokenizer.encode("", add_special_tokens=True, split_special_tokens=False)
    return leading + ids if leading == [tokenizer.bos_token_id] else ids


def read_reply(completion: str) -> str:
    """Return the reply in what the model wrote after the cue: one line, one speaker, no prefix.

    It ends at a newline; a further speaker's line is cut. May be empty.
    """
    line = completion.strip().removeprefix(CUE).strip()
    line = line.splitlines()[0] if line else ""
    if (other := _NEXT_SPEAKER.search(line)) is not None:
        line = line[: other.start()]
    line = line.strip()
    # The turns of the prompt stand in quotation marks; an untuned base closes one that it never opened.
    if line.count('"') % 2 == 1:
        line = _CLOSING.sub("", line)
    return line.rstrip()


def ends_reply(completion: str) -> bool:
    """Whether nothing more of this completion can belong to the reply: a newline or another speaker came."""
    text = completion.lstrip()
    return "\n" in text or _NEXT_SPEAKER.search(text.removeprefix(CUE)) is not None


def shown(completion: str) -> str:
    """Return what of an unfinished completion can be shown: each time more, and never a part of what ends a reply."""
    text = read_reply(completion)
    return text if text == completion.strip() and _MAY_END.search(text) is None else _MAY_END.sub("", text).rstrip()


def opens_reply(token_text: str) -> bool:
    """Whether a completion may begin with this token: one space, then what a person would say.

    Adapters learned that. A base without one often goes on writing the prompt's brackets instead.
    """
    return len(token_text) > 1 and token_text[0] == " " and token_text[1] not in ' {}[]"=\n\t'


def read_example(data: object) -> tuple[Persona, Dialogue]:
    """Read an example or data-set row: `about`, `persona_b`, `dialogue`, and perhaps `name`.

    Raises InputError that names the field.
    """
    if not isinstance(data, dict):
        raise InputError(f"Expected a JSON object with {_named(_FILE_FIELDS)}, found {_kind(data)}.")
    if unknown := set(data) - _FILE_FIELDS - _ROW_FIELDS:
        raise InputError(f"Unknown field {_named(unknown)}. Known are {_named(_FILE_FIELDS)}.")
    if "dialogue" not in data:
        raise InputError("The field `dialogue` is missing.")
    persona = Persona(_text(data, "name"), _text(data, "about"), _texts(data, "persona_b"))
    if not persona.about.strip() and not persona.facts:
        raise InputError("The persona is empty: give `about`, `persona_b`, or both.")
    dialogue = tuple(_read_turn(line, number) for number, line in enumerate(_texts(data, "dialogue"), 1))
    if not dialogue or dialogue[-1].speaker is not Speaker.A:
        raise InputError(f"`dialogue` must end with a line of {Speaker.A}, for {Speaker.B} to answer.")
    return persona, dialogue


def _about(about: str) -> str:
    """The lines of `about` as they stand between the braces; a lone surrogate cannot be encoded and is replaced."""
    lines = encodable(about).splitlines()
    return "\n ".join(lines) + "\n" if lines else ""


def _spoken(turn: Turn, *, show_name: bool) -> str:
    return f"({turn.name}) {turn.text}" if show_name and turn.name and turn.speaker is Speaker.A else turn.text


def _list(items: Sequence[str]) -> str:
    if not items:
        return "[]"
    return "[\n" + ",\n".join(f"    {_string(item)}" for item in items) + "\n]"


def _string(text: str) -> str:
    """S(x) of the template: the JSON string of x, not ASCII-escaped, always one line and always encodable."""
    return _UNSAFE_IN_STRING.sub(lambda match: f"\\u{ord(match[0]):04x}", _JSON.encode(text))


def _read_turn(line: str, number: int) -> Turn:
    for speaker in Speaker:
        if line.startswith(f"{speaker}:"):
            return Turn(speaker, line.removeprefix(f"{speaker}:").removeprefix(" "))
    raise InputError(f'Line {number} of `dialogue` must start with "{Speaker.A}:" or "{Speaker.B}:".')


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field, "")
    if not isinstance(value, str):
        raise InputError(f"`{field}` must be text, found {_kind(value)}.")
    return value


def _texts(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = data.get(field, [])
    if not isinstance(value, list):
        raise InputError(f"`{field}` must be a list of texts, found {_kind(value)}.")
    for number, item in enumerate(value, 1):
        if not isinstance(item, str):
            raise InputError(f"Item {number} of `{field}` must be text, found {_kind(item)}.")
    return tuple(value)


def _named(fields: set[str]) -> str:
    return ", ".join(f"`{field}`" for field in sorted(fields))


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def spans_of_b(prompt: str, dialogue: Sequence[Turn]) -> list[tuple[int, int]]:
    """Return where Person B's words stand in the prompt that `render` made of the dialogue: [start, end) each.

    A span begins at the space after the speaker, as a completion does, and ends before the closing quote.
    """
    spans, at = [], prompt.index('"dialogue" = [')
    for turn in dialogue:
        line = _string(f"{turn.speaker}: {turn.text}")
        start = prompt.index(line, at)
        at = start + len(line)
        if turn.speaker is Speaker.B:
            spans.append((start + len(f'"{turn.speaker}:'), at - 1))
    return spans
