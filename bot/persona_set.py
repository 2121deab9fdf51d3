"""How a persona is set: by a form, in words, or one that there is; and what is said of it then."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import discord

from bot.admission import check, stopped
from bot.faces import Faces
from bot.log_channel import note
from bot.persona_form import PersonaForm, Typed, typed
from bot.portrait import SET_FOR, called, portrait, shortened
from bot.rights import check_change, check_make, check_set
from persona_chat.cast import Cast
from persona_chat.errors import Filtered
from persona_chat.language import N_, _
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope
from persona_chat.redrawing import NAME_STOPPED
from persona_chat.store.library import Kept

FORM = N_("Who talks here?")

WORDS_STOPPED = N_(
    "What it says of itself, or its greeting, has a word that this server's filter stops, so it is not shown here."
)

_CHECK_S = 1.5


class Setting:
    """Sets personas for whoever may. `note` is added to what is said, if there is one, and `first` where others see it.

    That is said once in a place, when the first persona comes there.
    """

    def __init__(self, cast: Cast, faces: Faces, note: str | None, first: Callable[[], str]) -> None:
        self._cast = cast
        self._faces = faces
        self._note = note
        self._first = first

    async def ask(self, interaction: discord.Interaction, place: Place, scope: Scope) -> None:
        """Open a form with who talks there, and set what comes back."""
        current = await self._cast.at(place, scope)

        async def done(interaction: discord.Interaction, persona: Persona) -> None:
            check(interaction, public=scope is not Scope.ME)  # it may have been open for long
            check_set(interaction, place, scope)
            await self.put(interaction, place, scope, persona)

        filled = typed(current.persona) if current else Typed()
        await interaction.response.send_modal(PersonaForm(_(FORM), filled, done))

    async def put(self, interaction: discord.Interaction, place: Place, scope: Scope, persona: Persona) -> None:
        """Let a persona in these words talk and say so, or leave everything as it was and raise."""
        check_name(interaction, persona)
        home = place.mine if scope is Scope.ME else place.home
        there = await self._cast.search(home, persona.name)
        if there is None:
            check_make(interaction, for_me=home == place.mine)
        else:
            now = there.persona
            persona = replace(persona, age_restricted=now.age_restricted, avatar_url=now.avatar_url)
            if persona != now:
                check_change(interaction, there)
        before = await self._cast.at(place, scope)
        # Before the answer is deferred: a deferred answer is seen by all, and a refusal is for one. But Discord waits
        # three seconds only.
        checking = asyncio.ensure_future(self._cast.check(persona))
        await asyncio.wait((checking,), timeout=_CHECK_S)
        if checking.done():
            await checking
        await interaction.response.defer(thinking=True, ephemeral=scope is Scope.ME)
        await checking
        kept = await self._cast.put(place, scope, persona)
        await self._say_set(interaction, scope, before, kept)

    async def seat(self, interaction: discord.Interaction, place: Place, scope: Scope, kept: Kept) -> None:
        """Let a persona that there is talk, and say so."""
        check_name(interaction, kept.persona)
        before = await self._cast.at(place, scope)
        await self._cast.seat(place, scope, kept)
        await interaction.response.defer(thinking=True, ephemeral=scope is Scope.ME)
        await self._say_set(interaction, scope, before, kept)

    async def _say_set(self, interaction: discord.Interaction, scope: Scope, before: Kept | None, kept: Kept) -> None:
        """Say who talks now, and let a newcomer greet."""
        newly = self._first() if before is None and scope is not Scope.ME else None
        lacking = self._faces.lacking(interaction, kept.persona) if scope is not Scope.ME else None
        persona = kept.persona
        public = scope is not Scope.ME
        hidden = public and stopped(interaction, persona.about, *persona.facts, persona.greeting) is not None
        lines = (self._note and _(self._note), newly, lacking, _(WORDS_STOPPED) if hidden else None)
        await interaction.edit_original_response(
            content="\n".join([set_line(scope, before, kept), *(f"-# {line}" for line in lines if line)]),
            embed=None if hidden else portrait(persona),
        )
        if public:
            name = called(persona)
            await note(interaction, lambda: _("set **{name}** for {place}").format(name=name, place=_(SET_FOR[scope])))
        came = before is None or before.id != kept.id
        if came and not hidden and scope in (Scope.CHANNEL, Scope.THREAD):
            await self.greet(interaction, persona)

    async def greet(self, interaction: discord.Interaction, persona: Persona) -> None:
        """Let a newcomer say its greeting, if it has one. The command was answered before."""
        greeting = shortened(persona.greeting, 2000)
        if not greeting or stopped(interaction, persona.greeting) is not None:
            return
        if await self._faces.put_on(interaction.channel, greeting, persona) is None:
            said = self._faces.lead(interaction.channel, persona) + greeting
            await interaction.followup.send(shortened(said, 2000), allowed_mentions=discord.AllowedMentions.none())


def check_name(interaction: discord.Interaction, persona: Persona) -> None:
    """Raise Filtered for a persona whose very name the server's filter stops."""
    if listed := stopped(interaction, persona.name):
        raise Filtered(NAME_STOPPED, listed)


def set_line(scope: Scope, before: Kept | None, kept: Kept) -> str:
    """Who talks now, in whose place."""
    same = before is not None and before.id == kept.id
    now = _("already") if before is not None and same and before.persona == kept.persona else _("now")
    name = f"**{called(kept.persona)}**"
    line = {
        Scope.ME: _("{name} answers you {now}, wherever you talk"),
        Scope.SERVER: _("{name} answers in this server {now}, where it is spoken to"),
    }.get(scope, _("{name} is talking here {now}"))
    line = line.format(name=name, now=now)
    if before is None or same:
        return _("{line}.").format(line=line)
    return _("{line}, in place of {before}.").format(line=line, before=f"**{called(before.persona)}**")


def nearest(place: Place) -> Scope:
    """What a command means that names no scope: the thread, else the channel."""
    return Scope.CHANNEL if place.parent_id is None else Scope.THREAD
