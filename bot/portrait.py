"""A persona as people see it in Discord: a card, a line, and its name without formatting."""

from collections.abc import Sequence

import discord

from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.library import Kept, Revision

EMBED_CHARACTERS = 4096

AI = "A persona is played by a language model. What it says of itself is made up."

SET_FOR = {
    Scope.THREAD: "this thread",
    Scope.CHANNEL: "this channel",
    Scope.SERVER: "this server",
    Scope.ME: "you, wherever you talk",
}


def portrait(persona: Persona, *, tokens: int | None = None) -> discord.Embed:
    """The persona as a card, cut to what an embed may hold. `tokens` is its size for the model."""
    parts = [persona.about, "\n".join(f"• {fact}" for fact in persona.facts)]
    body = discord.utils.escape_markdown("\n\n".join(part for part in parts if part))
    card = discord.Embed(title=called(persona)[:256], description=shortened(body, EMBED_CHARACTERS))
    if persona.greeting:
        card.add_field(
            name="Greeting", value=shortened(discord.utils.escape_markdown(persona.greeting), 1024), inline=False
        )
    notes = [f"{tokens:,} tokens"] if tokens is not None else []
    notes += ["age-restricted"] if persona.age_restricted else []
    card.set_footer(text=" · ".join([*notes, AI]))
    if persona.avatar_url:
        card.set_thumbnail(url=persona.avatar_url)
    return card


def line(kept: Kept, place: Place) -> str:
    """The persona in one line, for a list."""
    persona = kept.persona
    first = next(iter((*persona.about.splitlines(), *persona.facts)), "")
    whose = " · yours" if kept.home == place.mine else ""
    adult = " · age-restricted" if persona.age_restricted else ""
    return f"**{called(persona)}**{whose}{adult}\n{discord.utils.escape_markdown(shortened(first, 120))}"


def revision_lines(kept: Kept, revisions: Sequence[Revision]) -> list[str]:
    """The revisions, the newest first, each with what became different."""
    before = {revision.number: revision.persona for revision in revisions}
    lines = []
    for revision in revisions:
        now = " · **now**" if revision.number == kept.number else ""
        by = f" · <@{revision.by}>" if revision.by is not None else ""
        what = difference(before.get(revision.number - 1), revision.persona)
        lines.append(f"`{revision.number}`{now} · {discord.utils.format_dt(revision.written_at, 'R')}{by} · {what}")
    return lines


def difference(before: Persona | None, after: Persona) -> str:
    """What became different, in words."""
    if before is None:
        return "first words"
    parts = []
    if before.name != after.name:
        parts.append(f"called {called(before)} before")
    for name in ("about", "greeting"):
        if getattr(before, name) != getattr(after, name):
            parts.append(f"{name} changed")
    if before.avatar_url != after.avatar_url:
        parts.append("another picture" if after.avatar_url else "no picture any more")
    new, old = set(after.facts) - set(before.facts), set(before.facts) - set(after.facts)
    parts += [
        f"{len(facts)} {'fact' if len(facts) == 1 else 'facts'} {how}"
        for facts, how in ((new, "new"), (old, "gone"))
        if facts
    ]
    if before.age_restricted != after.age_restricted:
        parts.append("age-restricted" if after.age_restricted else "not age-restricted any more")
    return ", ".join(parts) or "facts in another order"


def came_from(spot: Spot) -> str:
    """Where a persona was set, for people."""
    return f"Set for {SET_FOR[spot.scope]}."


def called(persona: Persona) -> str:
    """The persona's name, with nothing in it that Discord would format."""
    return discord.utils.escape_markdown(persona.name)


def shortened(text: str, most: int) -> str:
    """The text, or as much of it as may stand there."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
