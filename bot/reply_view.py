"""What stands under a reply: another one, back and forth between versions, and more. Knows no model and no SQL."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import discord

from bot.feedback import THUMBS, SuggestionForm, judged_line
from bot.persona_form import OPEN_S
from bot.speaking import Buttons, Speaking
from persona_chat.feedback import Opinion
from persona_chat.language import N_, _
from persona_chat.rework import LONGEST
from persona_chat.store.answers import Answer
from persona_chat.store.feedback import Mine, Thumb

if TYPE_CHECKING:
    from bot.client import PersonaBot


def reply_view(shown: int = 1, count: int = 1) -> discord.ui.View:
    """The buttons of a reply of which `count` versions are kept, and the `shown`th is seen."""
    view = discord.ui.View(timeout=None)
    if count > 1:
        view.add_item(ReplyButton("back", "◀", disabled=shown == 1))
        which = discord.ui.Button[discord.ui.View](label=f"{shown}/{count}", custom_id="reply:which", disabled=True)
        view.add_item(which)
        view.add_item(ReplyButton("on", "▶", disabled=shown == count))
    view.add_item(ReplyButton("again", "🔁"))
    view.add_item(ReplyButton("more", "⋯"))
    return view


def view_of(answer: Answer) -> discord.ui.View:
    """The buttons of an answer."""
    numbers = [version.number for version in answer.versions]
    return reply_view(numbers.index(answer.shown) + 1, len(numbers))


class ReplyButton(
    Speaking, discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"reply:(?P<what>again|back|on|more)"
):
    """One of the buttons under a reply, also after the bot was started anew."""

    def __init__(self, what: str, label: str = "", *, disabled: bool = False) -> None:
        button = discord.ui.Button[discord.ui.View](
            label=label or "?", custom_id=f"reply:{what}", style=discord.ButtonStyle.secondary, disabled=disabled
        )
        super().__init__(button)
        self._what = what

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """Make the button that was pressed."""
        return cls(match["what"])

    async def callback(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Do what the button says."""
        answered, message = interaction.client.answered, interaction.message
        if message is None:
            return
        try:
            if self._what == "again":
                await answered.again(interaction, message.id)
            elif self._what == "more":
                opinion = await interaction.client.feedback.of(message.id, interaction.user.id)
                await interaction.response.send_message(view=More(message.id, opinion), ephemeral=True)
            else:
                await answered.turn(interaction, message.id, 1 if self._what == "on" else -1)
        except Exception as error:
            await interaction.client.failed(interaction, error)


class More(Buttons):
    """What can be done with a reply besides, seen by who asks alone. Feedback is about the version that was shown."""

    def __init__(self, message_id: int, opinion: Opinion) -> None:
        super().__init__(timeout=OPEN_S)
        self._message_id = message_id
        self._opinion = opinion
        self._look()

    @discord.ui.button(label=THUMBS[Thumb.UP], row=0)
    async def up(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """It was good."""
        await self._judge(interaction, Thumb.UP)

    @discord.ui.button(label=THUMBS[Thumb.DOWN], row=0)
    async def down(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """It was not."""
        await self._judge(interaction, Thumb.DOWN)

    @discord.ui.button(label=N_("Should have said …"), style=discord.ButtonStyle.secondary, row=0)
    async def better(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Open a form for what would have been better."""
        feedback, of = interaction.client.feedback, self._opinion
        await feedback.check(of.message_id, of.number, interaction.user.id)
        await interaction.response.send_modal(SuggestionForm(feedback, of))

    @discord.ui.button(label=N_("Continue"), style=discord.ButtonStyle.secondary, row=1)
    async def go_on(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Let it say more."""
        await interaction.client.answered.go_on(interaction, self._message_id)

    @discord.ui.button(label=N_("Why this reply?"), style=discord.ButtonStyle.secondary, row=1)
    async def why(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Say what it was made with."""
        await interaction.client.answered.why(interaction, self._message_id)

    @discord.ui.button(label=N_("Edit"), style=discord.ButtonStyle.secondary, row=1)
    async def edit(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Let the persona have said something else."""
        await interaction.client.answered.edit(interaction, self._message_id)

    @discord.ui.button(label=N_("Report"), style=discord.ButtonStyle.secondary, row=0)
    async def report(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Tell the server's moderators of it."""
        await interaction.client.reporting.ask(interaction, interaction.channel_id, self._message_id)

    @discord.ui.button(label=N_("Delete"), style=discord.ButtonStyle.danger, row=1)
    async def delete(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Take it away, and forget it."""
        await interaction.client.answered.delete(interaction, self._message_id)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)

    async def _judge(self, interaction: "discord.Interaction[PersonaBot]", thumb: Thumb) -> None:
        """Keep the verdict; the one that stands already is taken back."""
        of = self._opinion
        wanted = None if of.mine.thumb is thumb else thumb
        await interaction.client.feedback.judge(of.message_id, of.number, interaction.user.id, wanted)
        self._opinion = replace(of, mine=Mine(wanted, of.mine.suggestion))
        self._look()
        await interaction.response.edit_message(content=judged_line(self._opinion), view=self)

    def _look(self) -> None:
        buttons: dict[Thumb, discord.ui.Button[Self]] = {Thumb.UP: self.up, Thumb.DOWN: self.down}
        for thumb, button in buttons.items():
            mine = self._opinion.mine.thumb is thumb
            button.style = discord.ButtonStyle.primary if mine else discord.ButtonStyle.secondary


class EditForm(Speaking, discord.ui.Modal):
    """The words of a reply, to be changed."""

    def __init__(self, message_id: int, words: str) -> None:
        super().__init__(title=_("Change this reply"))
        self._message_id = message_id
        self.words = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph, max_length=LONGEST, default=words[:LONGEST]
        )
        self.add_item(discord.ui.Label(text=_("Reply"), component=self.words))

    async def on_submit(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Keep what was typed as another version."""
        await interaction.client.answered.edited(interaction, self._message_id, self.words.value)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)
