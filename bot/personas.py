"""`/persona`: who talks where, and the personas that there are."""

from collections.abc import Callable
from typing import Literal

import discord
from discord import app_commands

from bot.command_table import ALL, CHANGERS, EVERYBODY, FOR_PLACE, MAKERS, TALKERS, YOU, says
from bot.faces import Faces
from bot.guests import GuestCommands, besides
from bot.log_channel import note, note_about
from bot.persona_cards import export_card, import_card
from bot.persona_draft import PersonaDraft, answer_trial
from bot.persona_form import NO_AVATAR, PersonaForm, Typed, changed, typed
from bot.persona_list import Deletion, Pages
from bot.persona_set import Setting, nearest
from bot.places import place_of
from bot.portrait import SET_FOR, called, came_from, line, portrait, revision_lines
from bot.rights import check_change, check_make, check_set
from bot.speaking import Chosen
from persona_chat.cast import check_age
from persona_chat.chat import Chat
from persona_chat.errors import InputError
from persona_chat.language import N_, _
from persona_chat.persona import (
    ABOUT_CHARACTERS,
    AVATAR_CHARACTERS,
    NAME_CHARACTERS,
    Persona,
    make_persona,
    split_facts,
)
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.library import Kept

NOBODY = N_("Nobody talks here. Set a persona with `/persona set`.")

_CHOICES = 25  # as many as Discord shows
_MINE = N_(" (yours)")  # in no language longer: a test

_AVATAR = "The address of a picture: https://…"

Somewhere = app_commands.Transform[Scope, Chosen(SET_FOR)]
Name = app_commands.Range[str, 1, NAME_CHARACTERS + len(_MINE)]
Address = app_commands.Range[str, 1, AVATAR_CHARACTERS]


class PersonaCommands(app_commands.Group):
    """Everybody sees them; who may use which is checked here. `note` is added when one is set, if there is one.

    `first` is added where nobody talked before.
    """

    def __init__(self, chat: Chat, faces: Faces, note: str | None, first: Callable[[], str]) -> None:
        super().__init__(name="persona", description="Choose who talks here, and make personas")
        self._chat = chat
        self._cast = chat.cast
        self._setting = Setting(self._cast, faces, note, first)
        self.add_command(GuestCommands(self._cast, self._setting, self._named, self._choices))

    @app_commands.command(name="set", extras=says(FOR_PLACE, ALL))
    @app_commands.describe(
        name="Who it is: one that there is, or a new name with `about` or `facts`",
        about="Who it is, in your words",
        facts='Short sentences it says of itself, such as "I have two dogs. I live by the sea."',
        scope="For this channel (or thread), the whole server, or you alone",
    )
    async def set(
        self,
        interaction: discord.Interaction,
        name: Name | None = None,
        about: app_commands.Range[str, 1, ABOUT_CHARACTERS] | None = None,
        facts: str | None = None,
        scope: Somewhere | None = None,
    ) -> None:
        """Set who talks here; without options a form opens."""
        place = place_of(interaction)
        scope = scope or nearest(place)
        check_set(interaction, place, scope)
        if name is about is facts is None:
            await self._setting.ask(interaction, place, scope)
        elif name is None:
            raise InputError(_("The persona needs a name: give the option `name` as well."))
        elif about is facts is None:
            await self._setting.seat(interaction, place, scope, await self._named(place, name, scope))
        else:
            home = place.mine if scope is Scope.ME else place.home
            there = await self._cast.search(home, name)
            now = there.persona if there else Persona(name, "")
            said = now.facts if facts is None else split_facts(facts)  # what is not given stays as it is
            persona = make_persona(name, now.about if about is None else about, said, now.greeting)
            await self._setting.put(interaction, place, scope, persona)

    @app_commands.command(name="show", extras=says(EVERYBODY, YOU))
    @app_commands.describe(name="Of whom; without it, of who talks here to you")
    async def show(self, interaction: discord.Interaction, name: Name | None = None) -> None:
        """Show who talks here, and where that was set, or any persona that there is."""
        place = place_of(interaction)
        if name is not None:
            kept, where = await self._named(place, name), None
        else:
            seated = await self._cast.seated(place)
            also = besides(self._cast.guests.at(place))
            if seated is None:
                await interaction.response.send_message(also or _(NOBODY), ephemeral=True)
                return
            kept, where = seated.kept, " ".join(filter(None, (came_from(seated.spot), also)))
        await interaction.response.send_message(where, embed=portrait(kept.persona), ephemeral=True)

    @app_commands.command(name="clear", extras=says(FOR_PLACE, ALL))
    @app_commands.describe(scope="For this channel (or thread), the whole server, or you alone")
    async def clear(self, interaction: discord.Interaction, scope: Somewhere | None = None) -> None:
        """Let nobody talk here any more; what was said is kept for when the persona returns."""
        place = place_of(interaction)
        scope = scope or nearest(place)
        check_set(interaction, place, scope)
        before = await self._cast.unseat(place, scope)
        if before is None:
            await interaction.response.send_message(_(NOBODY), ephemeral=True)
            return
        left, mine = _("**{name}** has left {place}."), _("**{name}** is not set for you any more.")
        line = (mine if scope is Scope.ME else left).format(name=called(before.persona), place=_(SET_FOR[scope]))
        await interaction.response.send_message(line, ephemeral=scope is Scope.ME)
        if scope is not Scope.ME:
            gone, here = called(before.persona), SET_FOR[scope]
            await note(interaction, lambda: _("let **{name}** leave {place}").format(name=gone, place=_(here)))

    @app_commands.command(name="list", extras=says(EVERYBODY, YOU))
    async def listing(self, interaction: discord.Interaction) -> None:
        """List the personas of this server, and your own."""
        place = place_of(interaction)
        personas = await self._cast.list(*_homes(place))
        if not personas:
            raise InputError(_("There are no personas here yet. Make one with `/persona create`."))
        await Pages(_("Personas"), [line(kept, place) for kept in personas]).show(interaction)

    @app_commands.command(name="create", extras=says(MAKERS, YOU))
    @app_commands.describe(
        for_me="Yours alone, for wherever you talk", age_restricted="Only for age-restricted channels", avatar=_AVATAR
    )
    async def create(
        self,
        interaction: discord.Interaction,
        for_me: bool = False,
        age_restricted: bool = False,
        avatar: Address | None = None,
    ) -> None:
        """Make a persona with a form, and try it before it is saved."""
        place = place_of(interaction)
        check_make(interaction, for_me=for_me)
        home = place.mine if for_me else place.home

        async def done(interaction: discord.Interaction, persona: Persona) -> None:
            await PersonaDraft(self._chat, home, persona, None).show(interaction)

        filled = changed(Typed(), age_restricted, avatar)
        await interaction.response.send_modal(PersonaForm(_("A new persona"), filled, done))

    @app_commands.command(name="edit", extras=says(CHANGERS, YOU))
    @app_commands.describe(
        name="Whom to change",
        age_restricted="Only for age-restricted channels, or not any more",
        avatar=f"{_AVATAR}, or `{NO_AVATAR}`",
    )
    async def edit(
        self,
        interaction: discord.Interaction,
        name: Name,
        age_restricted: bool | None = None,
        avatar: Address | None = None,
    ) -> None:
        """Change a persona's words, and try them before they are saved."""
        kept = await self._named(place_of(interaction), name)
        check_change(interaction, kept)

        async def done(interaction: discord.Interaction, persona: Persona) -> None:
            await PersonaDraft(self._chat, kept.home, persona, kept).show(interaction)

        filled = changed(typed(kept.persona), age_restricted, avatar)
        await interaction.response.send_modal(PersonaForm(_("Change the persona"), filled, done))

    @app_commands.command(name="test", extras=says(TALKERS, YOU))
    @app_commands.describe(name="Whom to ask", message="What to say")
    async def test(
        self, interaction: discord.Interaction, name: Name, message: app_commands.Range[str, 1, 300]
    ) -> None:
        """Hear what a persona would answer, without anybody else seeing it and without it being remembered."""
        place = place_of(interaction)
        kept = await self._named(place, name)
        check_age(place, kept.persona)
        await answer_trial(self._chat, interaction, kept.persona, message)

    @app_commands.command(name="history", extras=says(EVERYBODY, YOU))
    @app_commands.describe(name="Of whom")
    async def history(self, interaction: discord.Interaction, name: Name) -> None:
        """Show how a persona's words changed."""
        kept = await self._named(place_of(interaction), name)
        lines = revision_lines(kept, await self._cast.revisions(kept))
        await Pages(_("Versions of {name}").format(name=called(kept.persona)), lines).show(interaction)

    @app_commands.command(name="undo", extras=says(CHANGERS, YOU))
    @app_commands.describe(
        name="Whose words", to="The number in `/persona history`; without it, the words before these"
    )
    async def undo(self, interaction: discord.Interaction, name: Name, to: int | None = None) -> None:
        """Give a persona its earlier words back."""
        kept = await self._named(place_of(interaction), name)
        check_change(interaction, kept)
        now = await self._cast.return_to(kept, to)
        await interaction.response.send_message(
            _("**{name}** is as in version {number} again.").format(name=called(now.persona), number=now.number),
            embed=portrait(now.persona),
            ephemeral=True,
        )
        who, number = called(now.persona), now.number
        said = N_("brought **{name}** back to version {number}")
        await note_about(interaction, now, lambda: _(said).format(name=who, number=number))

    @app_commands.command(name="delete", extras=says(CHANGERS, YOU))
    @app_commands.describe(name="Whom")
    async def delete(self, interaction: discord.Interaction, name: Name) -> None:
        """Delete a persona, after a question; that can be undone."""
        kept = await self._named(place_of(interaction), name)
        check_change(interaction, kept)
        await interaction.response.send_message(
            _("Delete **{name}**? It will be gone from every channel.").format(name=called(kept.persona)),
            view=Deletion(self._cast, kept),
            ephemeral=True,
        )

    @app_commands.command(name="import", extras=says(MAKERS, YOU))
    @app_commands.describe(file="A character card: JSON or PNG", for_me="Yours alone, for wherever you talk")
    async def import_(self, interaction: discord.Interaction, file: discord.Attachment, for_me: bool = False) -> None:
        """Make a persona of a character card (V1, V2, V3), and try it before it is saved."""
        place = place_of(interaction)
        check_make(interaction, for_me=for_me)
        await import_card(self._chat, interaction, place.mine if for_me else place.home, file)

    @app_commands.command(name="export", extras=says(EVERYBODY, YOU))
    @app_commands.describe(name="Whom", kind="A picture with the card in it, or the card alone")
    async def export(self, interaction: discord.Interaction, name: Name, kind: Literal["png", "json"] = "png") -> None:
        """Get a persona as a character card that SillyTavern opens."""
        await export_card(interaction, await self._named(place_of(interaction), name), kind)

    @set.autocomplete("name")
    @show.autocomplete("name")
    @edit.autocomplete("name")
    @test.autocomplete("name")
    @history.autocomplete("name")
    @undo.autocomplete("name")
    @delete.autocomplete("name")
    @export.autocomplete("name")
    async def _names(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, written)

    async def _choices(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        place = place_of(interaction)
        names = [
            kept.persona.name + (_(_MINE) if kept.home == place.mine and place.guild_id is not None else "")
            for kept in await self._cast.list(*_homes(place))
        ]
        fitting = [name for name in names if written.casefold() in name.casefold()]
        return [app_commands.Choice(name=name[:100], value=name[:100]) for name in fitting[:_CHOICES]]

    async def _named(self, place: Place, name: str, scope: Scope | None = None) -> Kept:
        """The persona of that name: the server's, and for `me` and after the mark for it one's own first."""
        homes = _homes(place)
        if name.endswith(_(_MINE)):
            name, homes = name.removesuffix(_(_MINE)), (place.mine,)
        elif scope is Scope.ME:
            homes = homes[::-1]
        return await self._cast.find(homes, name)


def _homes(place: Place) -> tuple[Spot, ...]:
    return (place.home,) if place.home == place.mine else (place.home, place.mine)
