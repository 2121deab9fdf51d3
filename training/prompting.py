"""How a persona and a dialogue are put to a model: by our template, as the bot does, or by the base's chat template.

The second is for comparison: what the base can do when it is asked in the way it was trained to be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from persona_chat import template
from persona_chat.dialogue import Dialogue, Speaker, window
from persona_chat.engine.tokens import Tokens
from persona_chat.errors import InputError
from persona_chat.persona import Persona
from training.rows import Row

NOBODY = Persona("", "", ())

TASK = "You are a person who talks with somebody. Answer as yourself, in one or two short sentences."


class Prompting(Protocol):
    """One way to ask. `opens` says whether a reply must begin as the template's replies do."""

    @property
    def opens(self) -> bool:
        """Whether the first token must be one that a reply of our template may begin with."""
        ...

    def window(self, persona: Persona, dialogue: Dialogue) -> Dialogue:
        """Return the turns that fit. Raises InputError when the last turn alone does not."""
        ...

    def prompt(self, persona: Persona, turns: Dialogue) -> list[int]:
        """Return the ids of the prompt."""
        ...

    def completion(self, reply: str) -> list[int]:
        """Return the ids of what the model has to write for this reply, the end-of-sequence token last."""
        ...


@dataclass(frozen=True)
class TemplatePrompting:
    """The persona template, in the form that the adapter was trained in. `budget` is in tokens, as the bot's."""

    tokens: Tokens
    budget: int
    form: str = template.TEMPLATE_ID
    opens: bool = True

    def window(self, persona: Persona, dialogue: Dialogue) -> Dialogue:
        """Return the turns that fit, as in the bot."""
        return template.fit(persona, dialogue, self.budget, self.tokens.count, form=self.form)

    def prompt(self, persona: Persona, turns: Dialogue) -> list[int]:
        """Return the ids up to the cue."""
        return self.tokens.encode(template.render(persona, turns, form=self.form))

    def completion(self, reply: str) -> list[int]:
        """Return the ids of one space, the reply, and the end."""
        return _ended(self.tokens, f" {reply}")


@dataclass(frozen=True)
class ChatPrompting:
    """The base's own chat template: the persona is the system message, Person A the user. `budget` is in tokens."""

    tokens: Tokens
    budget: int
    opens: bool = False

    def window(self, persona: Persona, dialogue: Dialogue) -> Dialogue:
        """Return the turns that fit."""
        return window(dialogue, self.budget, lambda turns: len(self.prompt(persona, turns)))

    def prompt(self, persona: Persona, turns: Dialogue) -> list[int]:
        """Return the ids up to where the assistant begins."""
        messages = [{"role": "system", "content": _system(persona)}]
        for turn in turns:
            role = "user" if turn.speaker is Speaker.A else "assistant"
            if messages[-1]["role"] == role:  # many chat templates want the roles to alternate
                messages[-1]["content"] += f"\n{turn.text}"
            else:
                messages.append({"role": role, "content": turn.text})
        ids = self.tokens.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        return list(ids)

    def completion(self, reply: str) -> list[int]:
        """Return the ids of the reply and the end."""
        return _ended(self.tokens, reply)


@dataclass(frozen=True)
class Asked:
    """A row as it is put to a model: with the persona, and without it but with the same turns. All are token ids."""

    row: Row
    prompt: list[int]
    without: list[int]
    reference: list[int]


def ask(prompting: Prompting, rows: Sequence[Row]) -> list[Asked]:
    """Put each row, but leave out those whose last turn alone does not fit the window."""
    asked = []
    for row in rows:
        try:
            turns = prompting.window(row.persona, row.dialogue)
        except InputError:
            continue
        prompt, without = (prompting.prompt(persona, turns) for persona in (row.persona, NOBODY))
        asked.append(Asked(row, prompt, without, prompting.completion(row.reference)))
    return asked


def _system(persona: Persona) -> str:
    """The persona in plain words."""
    facts = "\n".join(f"- {fact}" for fact in template.prompt_facts(persona))
    parts = (TASK, persona.about and f"This is who you are: {persona.about}", facts and f"About you:\n{facts}")
    return "\n\n".join(part for part in parts if part)


def _ended(tokens: Tokens, text: str) -> list[int]:
    leading = len(tokens.encode(""))  # a prompt has the base's leading control token, a completion has not
    return [*tokens.encode(text)[leading:], int(tokens.tokenizer.eos_token_id)]
