"""A persona as people see it in Discord: a card, a line, and its name without formatting."""

from collections.abc import Sequence

import discord

from persona_chat.language import N_, _, grouped, ngettext
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.library import Kept, Revision

EMBED_CHARACTERS = 4096

AI = N_("A persona is played by a language model. What it says of itself is made up.")

SET_FOR = {
    Scope.THREAD: N_("this thread"),
    Scope.CHANNEL: N_("this channel"),
    Scope.SERVER: N_("this server"),
    Scope.ME: N_("you, wherever you talk"),
}


def portrait(persona: Persona, *, tokens: int | None = None) -> discord.Embed:
    """The persona as a card, cut to what an embed may hold. `tokens` is its size for the model."""
    parts = [persona.about, "\n".join(f"• {fact}" for fact in persona.facts)]
    body = discord.utils.escape_markdown("\n\n".join(part for part in parts if part))
    card = discord.Embed(title=called(persona)[:256], description=shortened(body, EMBED_CHARACTERS))
    if persona.greeting:
        card.add_field(
            name=_("Greeting"), value=shortened(discord.utils.escape_markdown(persona.greeting), 1024), inline=False
        )
    notes = [_("{tokens} tokens").format(tokens=grouped(tokens))] if tokens is not None else []
    notes += [_("age-restricted")] if persona.age_restricted else []
    card.set_footer(text=" · ".join([*notes, _(AI)]))
    if persona.avatar_url:
        card.set_thumbnail(url=persona.avatar_url)
    return card


def line(kept: Kept, place: Place) -> str:
    """The persona in one line, for a list."""
    persona = kept.persona
    first = next(iter((*persona.about.splitlines(), *persona.facts)), "")
    whose = _(" · yours") if kept.home == place.mine else ""
    adult = " · " + _("age-restricted") if persona.age_restricted else ""
    return f"**{called(persona)}**{whose}{adult}\n{discord.utils.escape_markdown(shortened(first, 120))}"


def revision_lines(kept: Kept, revisions: Sequence[Revision]) -> list[str]:
    """The revisions, the newest first, each with what became different."""
    before = {revision.number: revision.persona for revision in revisions}
    lines = []
    for revision in revisions:
        now = " · **" + _("now") + "**" if revision.number == kept.number else ""
        by = f" · <@{revision.by}>" if revision.by is not None else ""
        what = difference(before.get(revision.number - 1), revision.persona)
        lines.append(f"`{revision.number}`{now} · {discord.utils.format_dt(revision.written_at, 'R')}{by} · {what}")
    return lines


def difference(before: Persona | None, after: Persona) -> str:
    """What became different, in words."""
    if before is None:
        return _("first words")
    parts = []
    if before.name != after.name:
        parts.append(_("called {name} before").format(name=called(before)))
    if before.about != after.about:
        parts.append(_("about changed"))
    if before.greeting != after.greeting:
        parts.append(_("greeting changed"))
    if before.avatar_url != after.avatar_url:
        parts.append(_("another picture") if after.avatar_url else _("no picture any more"))
    new, old = set(after.facts) - set(before.facts), set(before.facts) - set(after.facts)
    if new:
        parts.append(ngettext("{number} fact new", "{number} facts new", len(new)).format(number=len(new)))
    if old:
        parts.append(ngettext("{number} fact gone", "{number} facts gone", len(old)).format(number=len(old)))
    if before.age_restricted != after.age_restricted:
        parts.append(_("age-restricted") if after.age_restricted else _("not age-restricted any more"))
    return ", ".join(parts) or _("facts in another order")


def came_from(spot: Spot) -> str:
    """Where a persona was set, for people."""
    return _("Set for {place}.").format(place=_(SET_FOR[spot.scope]))


def called(persona: Persona) -> str:
    """The persona's name, with nothing in it that Discord would format."""
    return discord.utils.escape_markdown(persona.name)


def in_code(persona: Persona) -> str:
    """The persona's name, for inside of backticks: one of its own would end them."""
    return persona.name.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")


def shortened(text: str, most: int) -> str:
    """The text, or as much of it as may stand there."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
