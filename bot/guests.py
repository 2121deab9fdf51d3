"""`/persona guest`: personas that talk in a channel besides, when they are called."""

from collections.abc import Awaitable, Callable

import discord
from discord import app_commands

from bot.admission import stopped
from bot.command_table import ALL, FOR_GUESTS, says
from bot.log_channel import note
from bot.persona_set import Setting, check_name, nearest
from bot.places import place_of
from bot.portrait import called
from bot.rights import check_set
from persona_chat.cast import Cast
from persona_chat.errors import Filtered, InputError
from persona_chat.guests import TRIGGER_CHARACTERS
from persona_chat.language import N_, _
from persona_chat.persona import NAME_CHARACTERS
from persona_chat.place import Place
from persona_chat.store.guests import Guest
from persona_chat.store.library import Kept

NO_GUEST = N_("There is no guest called {name} here.")

TRIGGER_STOPPED = N_("There is a word in that trigger which this server's filter stops. Choose another.")

Named = Callable[[Place, str], Awaitable[Kept]]
Choices = Callable[[discord.Interaction, str], Awaitable[list[app_commands.Choice[str]]]]


class GuestCommands(app_commands.Group):
    """Whoever may set a persona for the channel, or the thread, may invite others. `named` finds personas by name."""

    def __init__(self, cast: Cast, setting: Setting, named: Named, choices: Choices) -> None:
        super().__init__(name="guest", description="Personas that talk here besides, when they are called")
        self._cast = cast
        self._setting = setting
        self._named = named
        self._choices = choices

    @app_commands.command(name="invite", extras=says(FOR_GUESTS, ALL))
    @app_commands.describe(name="Whom", trigger="A word that it answers to as well, such as a nickname")
    async def invite(
        self,
        interaction: discord.Interaction,
        name: app_commands.Range[str, 1, NAME_CHARACTERS + 20],
        trigger: app_commands.Range[str, 1, TRIGGER_CHARACTERS] | None = None,
    ) -> None:
        """Let one more persona answer here, when somebody says its name or replies to it."""
        place = place_of(interaction)
        check_set(interaction, place, nearest(place))
        kept = await self._named(place, name)
        check_name(interaction, kept.persona)
        if trigger and (listed := stopped(interaction, trigger)):
            raise Filtered(_(TRIGGER_STOPPED), listed)
        before = self._cast.guests.at(place)
        guest = await self._cast.invite(place, nearest(place), kept, trigger or "")
        await interaction.response.defer(thinking=True)
        name = called(kept.persona)
        line = _("**{name}** is already a guest here.") if guest in before else _("**{name}** is a guest here.")
        await interaction.edit_original_response(content=" ".join((line.format(name=name), answers_line(guest))))
        if guest.persona_id not in [one.persona_id for one in before]:
            await note(interaction, lambda: _("invited **{name}**").format(name=name))
            await self._setting.greet(interaction, kept.persona)

    @app_commands.command(name="dismiss", extras=says(FOR_GUESTS, ALL))
    @app_commands.describe(name="Whom")
    async def dismiss(
        self, interaction: discord.Interaction, name: app_commands.Range[str, 1, NAME_CHARACTERS + 20]
    ) -> None:
        """Let a guest go; what it said is kept for when it returns."""
        place = place_of(interaction)
        check_set(interaction, place, nearest(place))
        guest = await self._cast.guests.dismiss(place, name)
        shown = discord.utils.escape_markdown(name if guest is None else guest.name)
        if guest is None:
            raise InputError(_(NO_GUEST).format(name=shown))
        left = _("**{name}** has left. What it said here it will remember.")
        await interaction.response.send_message(left.format(name=shown))
        await note(interaction, lambda: _("let the guest **{name}** go").format(name=shown))

    @invite.autocomplete("name")
    async def _all(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, written)

    @dismiss.autocomplete("name")
    async def _here(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        return guest_choices(self._cast, interaction, written)


def guest_choices(cast: Cast, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
    """The guests of the place whose names fit what was written so far."""
    names = [
        guest.name for guest in cast.guests.at(place_of(interaction)) if written.casefold() in guest.name.casefold()
    ]
    return [app_commands.Choice(name=name, value=name) for name in names]


async def whose(cast: Cast, place: Place, name: str | None) -> tuple[Kept, int | None]:
    """Whom a command is about, and its id if it is a guest: who is called so, else who would answer a message.

    Raises InputError where that is nobody.
    """
    guest_id = cast.guests.named(place, name) if name else None
    if name and guest_id is None:
        raise InputError(_(NO_GUEST).format(name=discord.utils.escape_markdown(name)))
    if guest_id is None:
        if (seated := await cast.seated(place)) is not None:
            return seated.kept, None
        guests = cast.guests.at(place)
        if not guests:
            raise InputError(_("Nobody talks here. Set a persona with `/persona set`."))
        guest_id = guests[0].persona_id
    return await cast.get(guest_id), guest_id


def answers_line(guest: Guest) -> str:
    """What a guest answers to."""
    line = _("It answers to “{name}”, and to replies.")
    if guest.trigger:
        line = _("It answers to “{name}” or “{trigger}”, and to replies.")
    return line.format(**_words(guest))


def besides(guests: tuple[Guest, ...]) -> str:
    """Who else is here, in a line."""
    if not guests:
        return ""
    with_trigger = _("**{name}** (“{trigger}”)")
    names = [(with_trigger if guest.trigger else "**{name}**").format(**_words(guest)) for guest in guests]
    return _("Also here, when called: {names}.").format(names=_(", ").join(names))


def _words(guest: Guest) -> dict[str, str]:
    name, trigger = map(discord.utils.escape_markdown, (guest.name, guest.trigger))
    return {"name": name, "trigger": trigger}
