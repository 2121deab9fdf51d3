"""`/chat`: to whom the bot listens in a channel, and what it remembers there."""

import io
from dataclasses import replace

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.command_table import ALL, CHANNEL_MANAGERS, EVERYBODY, YOU, says
from bot.guests import guest_choices, whose
from bot.log_channel import note
from bot.memory import MemoryCommands
from bot.places import place_of
from bot.rights import managed
from bot.telling import finish
from persona_chat.chat import Chat
from persona_chat.errors import InputError
from persona_chat.language import N_, _, grouped, ngettext
from persona_chat.manners import Manners, Mode
from persona_chat.rework import Rework

SAID = {
    None: N_("every message where a persona was set for the channel, else mentions and replies to me"),
    Mode.EVERY: N_("every message"),
    Mode.MENTION: N_("mentions and replies to me"),
    Mode.CHANCE: N_("mentions, replies to me, and some other messages"),
    Mode.OFF: N_("nothing"),
}

MODES = {"usual": None, **{mode.value: mode for mode in Mode}}
"""As they are chosen; the usual one is what counts where nothing was chosen."""

_DAY_S = 86_400


class ChatCommands(app_commands.Group):
    """How the bot behaves in a channel or a thread. Changing it takes Manage Channels; looking is everybody's."""

    def __init__(self, chat: Chat, rework: Rework) -> None:
        super().__init__(name="chat", description="To whom I listen here, and what I remember")
        self._chat = chat
        self._rework = rework
        self.add_command(MemoryCommands(chat, rework))

    @app_commands.command(name="mode", extras=says(CHANNEL_MANAGERS, ALL))
    @app_commands.describe(
        answer="Which messages are answered",
        chance="Of a hundred other messages, where some are answered, so many",
        cooldown="The fewest seconds between two of them",
    )
    @app_commands.choices(
        answer=[app_commands.Choice(name=locale_str(SAID[mode]), value=name) for name, mode in MODES.items()]
    )
    async def mode(
        self,
        interaction: discord.Interaction,
        answer: str,
        chance: app_commands.Range[int, 1, 100] = 10,
        cooldown: app_commands.Range[int, 0, _DAY_S] = 60,
    ) -> None:
        """Choose which messages are answered here."""
        place = managed(interaction)
        before, mode = self._chat.listening.manners(place), MODES[answer]
        some = {"chance": chance, "cooldown_s": cooldown} if mode is Mode.CHANCE else {"chance": 0, "cooldown_s": 0}
        after = Manners(mode, paused=before.paused, **some)
        await self._chat.listening.set(place.channel_id, after)
        now, then = _(SAID[mode]), _(SAID[before.mode])
        line = _("I answer {now} here now. Before: {then}.").format(now=now, then=then)
        if mode is Mode.CHANCE:
            often = _("Of other messages {chance} in a hundred, at most one every {seconds} seconds.")
            line = f"{line}\n{often.format(chance=chance, seconds=grouped(cooldown))}"
        paused = _("I am paused here.")
        await interaction.response.send_message(f"{line}\n-# {paused}" if after.paused else line)
        await note(interaction, lambda: _("let me answer {messages}").format(messages=_(SAID[mode])))

    @app_commands.command(name="pause", extras=says(CHANNEL_MANAGERS, ALL))
    async def pause(self, interaction: discord.Interaction) -> None:
        """Answer nobody here until /chat resume."""
        await self._pause(interaction, paused=True)

    @app_commands.command(name="resume", extras=says(CHANNEL_MANAGERS, ALL))
    async def resume(self, interaction: discord.Interaction) -> None:
        """Answer here again, as before the pause."""
        await self._pause(interaction, paused=False)

    @app_commands.command(name="reset", extras=says(CHANNEL_MANAGERS, ALL))
    async def reset(self, interaction: discord.Interaction) -> None:
        """Begin afresh: what was said here is not remembered, the persona stays. /chat undo brings it back."""
        place = managed(interaction)
        await interaction.response.defer(thinking=True)  # the answers under way come first
        forgotten = await self._rework.reset(place)
        put = ngettext("I put {number} message out of my mind.", "I put {number} messages out of my mind.", forgotten)
        what = put.format(number=grouped(forgotten)) if forgotten else _("There is nothing here that I remember.")
        undo = _("`/chat undo` brings back what the last reset took.")
        await finish(interaction, f"{what} {undo}", public=True)
        await note(interaction, lambda: _("reset what I remember"))

    @app_commands.command(name="undo", extras=says(CHANNEL_MANAGERS, ALL))
    async def undo(self, interaction: discord.Interaction) -> None:
        """Undo the last reset."""
        if not await self._rework.undo_reset(managed(interaction)):
            raise InputError(_("There is no reset to undo here."))
        await interaction.response.send_message(_("I remember again what was said here before the reset."))
        await note(interaction, lambda: _("undid the last reset of what I remember"))

    @app_commands.command(name="context", extras=says(EVERYBODY, YOU))
    @app_commands.describe(guest="Of which guest; without it, of who was set here")
    async def context(self, interaction: discord.Interaction, guest: str | None = None) -> None:
        """Show exactly what I read before the next message, to you alone."""
        place = place_of(interaction)
        _kept, guest_id = await whose(self._chat.cast, place, guest)
        await interaction.response.defer(ephemeral=True, thinking=True)
        prompt, remembered = await self._rework.context(place, guest_id)
        earlier = prompt.turns - 1
        left = _(", {count} older ones do not fit").format(count=remembered - earlier) if remembered > earlier else ""
        await interaction.edit_original_response(
            content=_(
                "Before the next message I read the persona and {earlier} turns{left}. "
                "The file holds it word for word; `…` stands for that message."
            ).format(earlier=earlier, left=left),
            attachments=[discord.File(io.BytesIO(prompt.text.encode()), "context.txt")],
        )

    @context.autocomplete("guest")
    async def _guests(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        return guest_choices(self._chat.cast, interaction, written)

    async def _pause(self, interaction: discord.Interaction, *, paused: bool) -> None:
        place = managed(interaction)
        before = self._chat.listening.manners(place)
        await self._chat.listening.set(place.channel_id, replace(before, paused=paused))
        line = {
            (False, True): _("I am silent here. `/chat resume` ends that."),
            (True, True): _("I am already silent here. `/chat resume` ends that."),
            (True, False): _("I am listening here."),
            (False, False): _("I am already listening here."),
        }[before.paused, paused]
        await interaction.response.send_message(line)
        if before.paused != paused:
            await note(interaction, lambda: _("paused me") if paused else _("ended my pause"))
