"""What people think of replies: the form for what should have been said, and `/feedback` for those who run the bot."""

from typing import TYPE_CHECKING, Self

import discord
from discord import app_commands

from bot.admins import Admins
from bot.command_table import ADMINS, YOU, says
from bot.persona_list import PAGE, Pages
from bot.portrait import shortened
from bot.speaking import Speaking
from persona_chat.feedback import ENOUGH, SHOWN, SUGGESTION_CHARACTERS, Feedback, Opinion, share
from persona_chat.language import N_, _, grouped, ngettext
from persona_chat.store.feedback import Suggestion, Tally, Thumb

if TYPE_CHECKING:
    from bot.client import PersonaBot

THUMBS = {Thumb.UP: "👍", Thumb.DOWN: "👎"}

PLAIN = N_("none, the plain base")
COUNTED = N_("It is counted for those who run this bot, and trains nothing.")
READ = N_("Those who run this bot can read it. It trains nothing, and the reply stays as it is.")
NO_VERDICTS = N_("Nobody has judged a reply yet: 👍 and 👎 as reactions, or in the menu that `⋯` under a reply opens.")
NO_SUGGESTIONS = N_("Nobody has said yet what a reply should have been.")
STATS_FIRST = N_("From {enough} verdicts on, brackets show where the share would lie in 95 of 100 such counts.")

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
        first = _(STATS_FIRST).format(enough=ENOUGH)
        await _show(interaction, _("What people think of replies"), lines, _(NO_VERDICTS), PAGE, first)

    @app_commands.command(name="suggestions", extras=says(ADMINS, YOU))
    async def suggestions(self, interaction: discord.Interaction) -> None:
        """Show what people say that replies should have been, the newest first."""
        lines = [suggestion_line(suggestion) for suggestion in await self._feedback.suggestions()]
        title = _("What replies should have been")
        if len(lines) == SHOWN:
            title = _("What replies should have been (the newest {number})").format(number=SHOWN)
        await _show(interaction, title, lines, _(NO_SUGGESTIONS), 1)


class SuggestionForm(Speaking, discord.ui.Modal):
    """What one person would have had a version of a reply say, to be kept beside it."""

    def __init__(self, feedback: Feedback, of: Opinion) -> None:
        super().__init__(title=_("What should it have said?"))
        self._feedback = feedback
        self._of = of
        self.words = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=SUGGESTION_CHARACTERS,
            default=of.mine.suggestion,
            required=False,
        )
        self.add_item(discord.ui.Label(text=_("It should have said"), description=_(READ), component=self.words))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Keep what was typed; nothing takes back what was kept."""
        words, of = self.words.value, self._of
        await self._feedback.suggest(of.message_id, of.number, interaction.user.id, words)
        line = _("Nothing of yours is kept there.")
        if words.strip():
            line = " ".join((_("Kept beside {reply}.").format(reply=_which(of)), _(READ)))
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
        return _("Your verdict on {reply} is taken back.").format(reply=_which(of))
    judged = _("{thumb} for {reply}.").format(thumb=THUMBS[of.mine.thumb], reply=_which(of))
    return " ".join((judged, _(COUNTED)))


def tally_line(tally: Tally) -> str:
    """An adapter's counts."""
    name = f"`{tally.adapter}`" if tally.adapter is not None else _(PLAIN)
    replies, suggestions = tally.replies, tally.suggestions
    parts = [
        ngettext("{number} reply judged", "{number} replies judged", replies).format(number=grouped(replies)),
        *(f"{grouped(count)} {THUMBS[thumb]}" for thumb, count in ((Thumb.UP, tally.up), (Thumb.DOWN, tally.down))),
        *_share_part(tally),
        ngettext("{number} suggestion", "{number} suggestions", suggestions).format(number=grouped(suggestions)),
    ]
    return f"**{name}**\n{' · '.join(parts)}"


def suggestion_line(suggestion: Suggestion) -> str:
    """A suggestion, and what it is about."""
    persona = discord.utils.escape_markdown(suggestion.persona) or _("a persona that is gone")
    adapter = f"`{suggestion.adapter}`" if suggestion.adapter is not None else _(PLAIN)
    said, better = (discord.utils.escape_markdown(words) for words in (suggestion.said, suggestion.better))
    words = _("said: {said}\n\n**should have said**: {better}")
    return f"**{persona}** · {adapter} · {discord.utils.format_dt(suggestion.at, 'R')}\n" + words.format(
        said=shortened(said, _SAID), better=shortened(better, _BETTER)
    )


def _share_part(tally: Tally) -> list[str]:
    found = share(tally)
    if found is None:
        return []
    value, low, high = (grouped(part * 100) for part in (found.value, found.low, found.high))
    return [_("{value}% 👍 ({low}% to {high}%)").format(value=value, low=low, high=high)]


def _which(of: Opinion) -> str:
    return _("this reply") if of.versions == 1 else _("version {number} of this reply").format(number=of.number)


async def _show(
    interaction: discord.Interaction, title: str, lines: list[str], nothing: str, per_page: int, first: str = ""
) -> None:
    if lines:
        await Pages(title, lines, first=first, per_page=per_page).show(interaction)
    else:
        await interaction.response.send_message(nothing, ephemeral=True)
