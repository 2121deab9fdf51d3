"""`/privacy`: what is kept of whoever asks, to be seen, taken along, deleted, or not kept at all. For everybody."""

import io
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands

from bot.command_table import EVERYBODY, YOU, says
from bot.persona_form import OPEN_S
from bot.speaking import Buttons
from persona_chat.language import N_, _, grouped, ngettext
from persona_chat.privacy import About, Forgotten, Privacy
from persona_chat.store.holdings import Held

if TYPE_CHECKING:
    from bot.client import PersonaBot

FILE = "persona-chat-my-data.json"

OPTED_OUT = N_("You opted out, so I keep and answer nothing that you say. `/privacy opt-in` ends that.")
NEVER_TRAINED = N_("What is said in Discord is never training data.")
NOTHING = N_("Nothing is kept of you.")
STAYS = N_(
    "Not deleted is what is not mine to delete: messages in Discord itself, what others said and what I answered them, "
    "and words that you wrote for a server's personas, which do not say any more that they are yours."
)


class PrivacyCommands(app_commands.Group):
    """All answers are seen by who asks alone."""

    def __init__(self, privacy: Privacy) -> None:
        super().__init__(name="privacy", description="See, take along or delete what is kept of you")
        self._privacy = privacy

    @app_commands.command(name="show", extras=says(EVERYBODY, YOU, always=True))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show what is kept of you, and for how long."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        about = await self._privacy.about(interaction.user.id)
        await _answer(interaction, "\n".join(lines(about, self._privacy.days)))

    @app_commands.command(name="export", extras=says(EVERYBODY, YOU, always=True))
    async def export(self, interaction: discord.Interaction) -> None:
        """Get everything that is kept of you as a file."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        export = await self._privacy.export(interaction.user.id)
        line = _("This is everything that is kept of you.")
        if export.left_out:
            line = ngettext(
                "This is what is kept of you but {number} oldest entry: Discord takes no larger file.",
                "This is what is kept of you but {number} oldest entries: Discord takes no larger file.",
                export.left_out,
            ).format(number=grouped(export.left_out))
        await _answer(interaction, line, attachments=[discord.File(io.BytesIO(export.content), FILE)])

    @app_commands.command(name="forget", extras=says(EVERYBODY, YOU, always=True))
    async def forget(self, interaction: discord.Interaction) -> None:
        """Delete what is kept of you, after a question."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        about = await self._privacy.about(interaction.user.id)
        if not (about.held or about.seat):
            await _answer(interaction, _(NOTHING))
            return
        question = _("Delete {what}? That cannot be undone.").format(what=counted(about))
        await _answer(interaction, question, view=Forgetting(self._privacy))

    @app_commands.command(name="opt-out", extras=says(EVERYBODY, YOU, always=True))
    async def opt_out(self, interaction: discord.Interaction) -> None:
        """Have nothing that you say kept or answered, from now on."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._privacy.opt_out(interaction.user.id)
        about = await self._privacy.about(interaction.user.id)
        line = _("From now on I keep and answer nothing that you say. `/privacy opt-in` ends that.")
        if about.held or about.seat:
            stays = _("What is kept of you until now stays: {what}. Delete that as well?").format(what=counted(about))
            await _answer(interaction, f"{line}\n{stays}", view=Forgetting(self._privacy))
        else:
            await _answer(interaction, line)

    @app_commands.command(name="opt-in", extras=says(EVERYBODY, YOU, always=True))
    async def opt_in(self, interaction: discord.Interaction) -> None:
        """Have what you say to a persona answered again, and kept for that."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._privacy.opt_in(interaction.user.id)
        await _answer(interaction, " ".join((_("I answer you again."), kept_for(self._privacy.days))))


class Forgetting(Buttons):
    """Asks whether everything of a person is to be deleted."""

    def __init__(self, privacy: Privacy) -> None:
        super().__init__(timeout=OPEN_S)
        self._privacy = privacy

    @discord.ui.button(label=N_("Delete my data"), style=discord.ButtonStyle.danger)
    async def delete(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Delete it, and say what that was."""
        await interaction.response.edit_message(content=_("It is being deleted…"), view=None)
        forgotten = await self._privacy.forget(interaction.user.id)
        await _answer(interaction, "\n".join(confirmation(forgotten, self._privacy.days)), view=None)

    @discord.ui.button(label=N_("Keep"), style=discord.ButtonStyle.secondary)
    async def keep(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Leave it."""
        await interaction.response.edit_message(content=_("Everything stays as it is."), view=None)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


def notice(days: int) -> str:
    """What people of a channel are told when a persona comes there."""
    return " ".join((kept_for(days), _("`/privacy` shows yours and deletes them.")))


def kept_for(days: int) -> str:
    """How long what is said is kept, and what for."""
    if not days:
        return _("Messages to a persona are kept until somebody deletes them, so that it remembers the talk.")
    return ngettext(
        "Messages to a persona are kept for {number} day, so that it remembers the talk.",
        "Messages to a persona are kept for {number} days, so that it remembers the talk.",
        days,
    ).format(number=grouped(days))


def lines(about: About, days: int) -> list[str]:
    """What is kept of a person, in words and numbers."""
    held = about.held
    kept = _("**Kept of you**: {what}.").format(what=counted(about))
    said = [kept if held or about.seat else _(NOTHING)]
    if held.oldest is not None:
        said.append(_("The oldest message is from {day}.").format(day=discord.utils.format_dt(held.oldest, "D")))
    if about.opted_out_at is not None:
        day = discord.utils.format_dt(about.opted_out_at, "D")
        said.append(_("You opted out on {day}: nothing you say is kept.").format(day=day))
    else:
        said.append(_("You did not opt out."))
    said += [kept_for(days), _(NEVER_TRAINED)]
    said.append(_("`/privacy export` gives you all of it, `forget` deletes it, `opt-out` keeps nothing from now on."))
    return said


def counted(about: About) -> str:
    """What is kept of a person, in numbers."""
    parts = _numbers(about.held)
    if about.seat:
        name = discord.utils.escape_markdown(about.seat.persona)
        parts.append(_("that {name} is set for you").format(name=name))
    return _listed(parts)


def confirmation(forgotten: Forgotten, days: int) -> list[str]:
    """What was deleted, and what was not."""
    numbers = _listed(_numbers(forgotten.held))
    said = [_("Deleted: {what}.").format(what=numbers) if numbers else _(NOTHING), _(STAYS)]
    if not forgotten.scrubbed:
        said.append(_("The database's file could not be written anew now, so traces may stay in it for up to an hour."))
    if forgotten.backups and days:
        until = ngettext(
            "A backup of the database from before an upgrade may hold it until it is {number} day old.",
            "A backup of the database from before an upgrade may hold it until it is {number} days old.",
            days,
        )
        said.append(until.format(number=grouped(days)))
    elif forgotten.backups:
        said.append(
            _("A backup of the database from before an upgrade may hold it until whoever runs this bot deletes it.")
        )
    return said


def _numbers(held: Held) -> list[str]:
    channels = ngettext("{number} channel", "{number} channels", held.channels).format(number=grouped(held.channels))
    messages = ngettext("{number} message in {channels}", "{number} messages in {channels}", held.messages)
    unanswered = ngettext(
        "the ids of {number} message without words", "the ids of {number} messages without words", held.unanswered
    )
    parts = (
        (messages, held.messages),
        (ngettext("{number} reply", "{number} replies", held.replies), held.replies),
        (unanswered, held.unanswered),
        (ngettext("{number} persona of your own", "{number} personas of your own", held.personas), held.personas),
        (ngettext("{number} reply that you rewrote", "{number} replies that you rewrote", held.edits), held.edits),
        (ngettext("feedback on {number} reply", "feedback on {number} replies", held.feedback), held.feedback),
        (ngettext("{number} report to moderators", "{number} reports to moderators", held.reports), held.reports),
        (
            ngettext("{number} memory that you changed", "{number} memories that you changed", held.memories),
            held.memories,
        ),
    )
    return [text.format(number=grouped(count), channels=channels) for text, count in parts if count]


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return _("{some} and {last}").format(some=_(", ").join(parts[:-1]), last=parts[-1])


async def _answer(interaction: discord.Interaction, text: str, **more: Any) -> None:
    await interaction.edit_original_response(content=text, allowed_mentions=discord.AllowedMentions.none(), **more)
