"""`/privacy`: what is kept of whoever asks, to be seen, taken along, deleted, or not kept at all. For everybody."""

import io
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands

from bot.command_table import EVERYBODY, YOU, says
from bot.persona_form import OPEN_S
from persona_chat.privacy import About, Forgotten, Privacy
from persona_chat.store.holdings import Held

if TYPE_CHECKING:
    from bot.client import PersonaBot

FILE = "persona-chat-my-data.json"

OPTED_OUT = "You opted out, so I keep and answer nothing that you say. `/privacy opt-in` ends that."
NEVER_TRAINED = "What is said in Discord is never training data."
NOTHING = "Nothing is kept of you."
STAYS = (
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
        line = "This is everything that is kept of you."
        if export.left_out:
            line = f"This is what is kept of you but {_count(export.left_out, 'oldest entry', 'oldest entries')}: "
            line += "Discord takes no larger file."
        await _answer(interaction, line, attachments=[discord.File(io.BytesIO(export.content), FILE)])

    @app_commands.command(name="forget", extras=says(EVERYBODY, YOU, always=True))
    async def forget(self, interaction: discord.Interaction) -> None:
        """Delete what is kept of you, after a question."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        about = await self._privacy.about(interaction.user.id)
        if not (about.held or about.seat):
            await _answer(interaction, NOTHING)
            return
        question = f"Delete {counted(about)}? That cannot be undone."
        await _answer(interaction, question, view=Forgetting(self._privacy))

    @app_commands.command(name="opt-out", extras=says(EVERYBODY, YOU, always=True))
    async def opt_out(self, interaction: discord.Interaction) -> None:
        """Have nothing that you say kept or answered, from now on."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._privacy.opt_out(interaction.user.id)
        about = await self._privacy.about(interaction.user.id)
        line = "From now on I keep and answer nothing that you say. `/privacy opt-in` ends that."
        if about.held or about.seat:
            line += f"\nWhat is kept of you until now stays: {counted(about)}. Delete that as well?"
            await _answer(interaction, line, view=Forgetting(self._privacy))
        else:
            await _answer(interaction, line)

    @app_commands.command(name="opt-in", extras=says(EVERYBODY, YOU, always=True))
    async def opt_in(self, interaction: discord.Interaction) -> None:
        """Have what you say to a persona answered again, and kept for that."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._privacy.opt_in(interaction.user.id)
        await _answer(interaction, f"I answer you again. {kept_for(self._privacy.days)}")


class Forgetting(discord.ui.View):
    """Asks whether everything of a person is to be deleted."""

    def __init__(self, privacy: Privacy) -> None:
        super().__init__(timeout=OPEN_S)
        self._privacy = privacy

    @discord.ui.button(label="Delete my data", style=discord.ButtonStyle.danger)
    async def delete(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Delete it, and say what that was."""
        await interaction.response.edit_message(content="It is being deleted…", view=None)
        forgotten = await self._privacy.forget(interaction.user.id)
        await _answer(interaction, "\n".join(confirmation(forgotten, self._privacy.days)), view=None)

    @discord.ui.button(label="Keep", style=discord.ButtonStyle.secondary)
    async def keep(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Leave it."""
        await interaction.response.edit_message(content="Everything stays as it is.", view=None)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


def notice(days: int) -> str:
    """What people of a channel are told when a persona comes there."""
    return f"{kept_for(days)} `/privacy` shows yours and deletes them."


def kept_for(days: int) -> str:
    """How long what is said is kept, and what for."""
    how_long = f"for {_count(days, 'day')}" if days else "until somebody deletes them"
    return f"Messages to a persona are kept {how_long}, so that it remembers the talk."


def lines(about: About, days: int) -> list[str]:
    """What is kept of a person, in words and numbers."""
    held, said = about.held, [f"**Kept of you**: {counted(about)}." if about.held or about.seat else NOTHING]
    if held.oldest is not None:
        said.append(f"The oldest message is from {discord.utils.format_dt(held.oldest, 'D')}.")
    if about.opted_out_at is not None:
        said.append(f"You opted out on {discord.utils.format_dt(about.opted_out_at, 'D')}: nothing you say is kept.")
    else:
        said.append("You did not opt out.")
    said += [kept_for(days), NEVER_TRAINED]
    said.append("`/privacy export` gives you all of it, `forget` deletes it, `opt-out` keeps nothing from now on.")
    return said


def counted(about: About) -> str:
    """What is kept of a person, in numbers."""
    chosen = [f"that {discord.utils.escape_markdown(about.seat.persona)} is set for you"] if about.seat else []
    return _listed([*_numbers(about.held), *chosen])


def confirmation(forgotten: Forgotten, days: int) -> list[str]:
    """What was deleted, and what was not."""
    numbers = _listed(_numbers(forgotten.held))
    said = [f"Deleted: {numbers}." if numbers else NOTHING, STAYS]
    if not forgotten.scrubbed:
        said.append("The database's file could not be written anew now, so traces may stay in it for up to an hour.")
    if forgotten.backups:
        until = f"until it is {_count(days, 'day')} old" if days else "until whoever runs this bot deletes it"
        said.append(f"A backup of the database from before an upgrade may hold it {until}.")
    return said


def _numbers(held: Held) -> list[str]:
    messages = f"{_count(held.messages, 'message')} in {_count(held.channels, 'channel')}"
    parts = {
        messages: held.messages,
        _count(held.replies, "reply to them", "replies to them"): held.replies,
        f"the ids of {_count(held.unanswered, 'message')} without words": held.unanswered,
        f"{_count(held.personas, 'persona')} of your own": held.personas,
        _count(held.edits, "reply that you rewrote", "replies that you rewrote"): held.edits,
        f"feedback on {_count(held.feedback, 'reply', 'replies')}": held.feedback,
        _count(held.reports, "report to moderators", "reports to moderators"): held.reports,
    }
    return [text for text, number in parts.items() if number]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else " and ".join([", ".join(parts[:-1]), *parts[-1:]]) if parts else ""


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


async def _answer(interaction: discord.Interaction, text: str, **more: Any) -> None:
    await interaction.edit_original_response(content=text, allowed_mentions=discord.AllowedMentions.none(), **more)
