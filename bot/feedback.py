"""What people think of replies: the form for what should have been said, and `/feedback` for those who run the bot."""

from typing import TYPE_CHECKING, Self

import discord
from discord import app_commands

from bot.admins import Admins
from bot.command_table import ADMINS, YOU, says
from bot.persona_list import PAGE, Pages
from bot.portrait import shortened
from persona_chat.feedback import ENOUGH, SHOWN, SUGGESTION_CHARACTERS, Feedback, Opinion, share
from persona_chat.store.feedback import Suggestion, Tally, Thumb

if TYPE_CHECKING:
    from bot.client import PersonaBot

THUMBS = {Thumb.UP: "👍", Thumb.DOWN: "👎"}

PLAIN = "none, the plain base"
COUNTED = "It is counted for those who run this bot, and trains nothing."
READ = "Those who run this bot can read it. It trains nothing, and the reply stays as it is."
NO_VERDICTS = "Nobody has judged a reply yet: 👍 and 👎 as reactions, or in the menu that `⋯` under a reply opens."
NO_SUGGESTIONS = "Nobody has said yet what a reply should have been."
STATS_FIRST = f"From {ENOUGH} verdicts on, brackets show where the share would lie in 95 of 100 such counts."

# A page holds one suggestion, and an embed 4,096 characters.
_SAID, _BETTER = 1200, 2500


class FeedbackCommands(app_commands.Group):
    """For the bot's admins: one model serves all servers, and what is kept of a message does not name its server."""

    def __init__(self, feedback: Feedback, admins: Admins) -> None:
        super().__init__(name="feedback", description="See what people think of replies (for those who run this bot)")
        self._feedback = feedback
        self._admins = admins

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Let admins only."""
        self._admins.check(interaction.user)
        return True

    @app_commands.command(name="stats", extras=says(ADMINS, YOU))
    async def stats(self, interaction: discord.Interaction) -> None:
        """Show what people think of replies, by the adapter that wrote them."""
        lines = [tally_line(tally) for tally in await self._feedback.tallies()]
        await _show(interaction, "What people think of replies", lines, NO_VERDICTS, PAGE, STATS_FIRST)

    @app_commands.command(name="suggestions", extras=says(ADMINS, YOU))
    async def suggestions(self, interaction: discord.Interaction) -> None:
        """Show what people say that replies should have been, the newest first."""
        lines = [suggestion_line(suggestion) for suggestion in await self._feedback.suggestions()]
        title = "What replies should have been" + (f" (the newest {SHOWN})" if len(lines) == SHOWN else "")
        await _show(interaction, title, lines, NO_SUGGESTIONS, 1)


class SuggestionForm(discord.ui.Modal, title="What should it have said?"):
    """What one person would have had a version of a reply say, to be kept beside it."""

    def __init__(self, feedback: Feedback, of: Opinion) -> None:
        super().__init__()
        self._feedback = feedback
        self._of = of
        self.words = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=SUGGESTION_CHARACTERS,
            default=of.mine.suggestion,
            required=False,
        )
        self.add_item(discord.ui.Label(text="It should have said", description=READ, component=self.words))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Keep what was typed; nothing takes back what was kept."""
        words, of = self.words.value, self._of
        await self._feedback.suggest(of.message_id, of.number, interaction.user.id, words)
        line = f"Kept beside {_which(of)}. {READ}" if words.strip() else "Nothing of yours is kept there."
        await interaction.response.send_message(line, ephemeral=True)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


def thumb_of(emoji: str) -> Thumb | None:
    """The verdict that a reaction is, in any colour of skin."""
    return next((thumb for thumb, shown in THUMBS.items() if emoji.startswith(shown)), None)


def judged_line(of: Opinion) -> str:
    """What is said to who just judged a reply."""
    if of.mine.thumb is None:
        return f"Your verdict on {_which(of)} is taken back."
    return f"{THUMBS[of.mine.thumb]} for {_which(of)}. {COUNTED}"


def tally_line(tally: Tally) -> str:
    """An adapter's counts."""
    name = f"`{tally.adapter}`" if tally.adapter is not None else PLAIN
    found = share(tally)
    parts = [
        f"{tally.replies:,} {'reply' if tally.replies == 1 else 'replies'} judged",
        *(f"{count:,} {THUMBS[thumb]}" for thumb, count in ((Thumb.UP, tally.up), (Thumb.DOWN, tally.down))),
        *([f"{found.value:.0%} 👍 ({found.low:.0%} to {found.high:.0%})"] if found is not None else []),
        f"{tally.suggestions:,} {'suggestion' if tally.suggestions == 1 else 'suggestions'}",
    ]
    return f"**{name}**\n{' · '.join(parts)}"


def suggestion_line(suggestion: Suggestion) -> str:
    """A suggestion, and what it is about."""
    persona = discord.utils.escape_markdown(suggestion.persona) or "a persona that is gone"
    adapter = f"`{suggestion.adapter}`" if suggestion.adapter is not None else PLAIN
    said, better = (discord.utils.escape_markdown(words) for words in (suggestion.said, suggestion.better))
    return (
        f"**{persona}** · {adapter} · {discord.utils.format_dt(suggestion.at, 'R')}\n"
        f"said: {shortened(said, _SAID)}\n\n**should have said**: {shortened(better, _BETTER)}"
    )


def _which(of: Opinion) -> str:
    return "this reply" if of.versions == 1 else f"version {of.number} of this reply"


async def _show(
    interaction: discord.Interaction, title: str, lines: list[str], nothing: str, per_page: int, first: str = ""
) -> None:
    if lines:
        await Pages(title, lines, first=first, per_page=per_page).show(interaction)
    else:
        await interaction.response.send_message(nothing, ephemeral=True)
