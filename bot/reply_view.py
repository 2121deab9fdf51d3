"""What stands under a reply: another one, back and forth between versions, and more. Knows no model and no SQL."""

import re
from typing import TYPE_CHECKING, Self

import discord

from bot.persona_form import OPEN_S
from bot.speaking import Buttons, Speaking
from persona_chat.language import N_, _
from persona_chat.rework import LONGEST
from persona_chat.store.answers import Answer

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
                await interaction.response.send_message(view=More(message.id), ephemeral=True)
            else:
                await answered.turn(interaction, message.id, 1 if self._what == "on" else -1)
        except Exception as error:
            await interaction.client.failed(interaction, error)


class More(Buttons):
    """What can be done with a reply besides, seen by who asks alone."""

    def __init__(self, message_id: int) -> None:
        super().__init__(timeout=OPEN_S)
        self._message_id = message_id

    @discord.ui.button(label=N_("Why this reply?"), style=discord.ButtonStyle.secondary)
    async def why(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Say what it was made with."""
        await interaction.client.answered.why(interaction, self._message_id)

    @discord.ui.button(label=N_("Edit"), style=discord.ButtonStyle.secondary)
    async def edit(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Let the persona have said something else."""
        await interaction.client.answered.edit(interaction, self._message_id)

    @discord.ui.button(label=N_("Delete"), style=discord.ButtonStyle.danger)
    async def delete(self, interaction: "discord.Interaction[PersonaBot]", _button: discord.ui.Button[Self]) -> None:
        """Take it away, and forget it."""
        await interaction.client.answered.delete(interaction, self._message_id)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


class EditForm(Speaking, discord.ui.Modal):
    """The words of a reply, to be changed."""

    def __init__(self, message_id: int, words: str) -> None:
        super().__init__(title=_("What should it have said?"))
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
