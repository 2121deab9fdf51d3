"""Lists in pages, and the question before a persona is deleted."""

import re
from typing import TYPE_CHECKING, Self

import discord

from bot.admission import check
from bot.log_channel import note_about
from bot.persona_form import OPEN_S
from bot.portrait import called
from bot.rights import check_change
from bot.speaking import Buttons, Speaking
from persona_chat.cast import Cast
from persona_chat.language import N_, _
from persona_chat.store.library import Kept

if TYPE_CHECKING:
    from bot.client import PersonaBot

PAGE = 8
"""Lines on a page. Eight of the longest still fit an embed."""


class Pages(Buttons):
    """A list that one person turns the pages of."""

    def __init__(self, title: str, lines: list[str], *, first: str = "", per_page: int = PAGE) -> None:
        super().__init__(timeout=OPEN_S)
        self._title = title
        self._first = first
        self._pages = [lines[start : start + per_page] for start in range(0, len(lines), per_page)]
        self._page = 0
        self._look()

    async def show(self, interaction: discord.Interaction) -> None:
        """Show the first page."""
        if len(self._pages) == 1:
            await interaction.response.send_message(embed=self._card(), ephemeral=True)
        else:
            await interaction.response.send_message(embed=self._card(), view=self, ephemeral=True)

    @discord.ui.button(label="◀", style=discord.ButtonStyle.secondary)
    async def back(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Turn back."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="▶", style=discord.ButtonStyle.secondary)
    async def on(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Turn on."""
        await self._turn(interaction, 1)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)

    async def _turn(self, interaction: discord.Interaction, by: int) -> None:
        self._page = min(max(self._page + by, 0), len(self._pages) - 1)
        self._look()
        await interaction.response.edit_message(embed=self._card(), view=self)

    def _look(self) -> None:
        self.back.disabled = self._page == 0
        self.on.disabled = self._page == len(self._pages) - 1

    def _card(self) -> discord.Embed:
        above = [self._first, ""] if self._first and self._page == 0 else []
        card = discord.Embed(title=self._title, description="\n".join([*above, *self._pages[self._page]]))
        if len(self._pages) > 1:
            which = {"page": self._page + 1, "pages": len(self._pages)}
            card.set_footer(text=_("Page {page} of {pages}").format(**which))
        return card


class Deletion(Buttons):
    """Asks whether a persona is to be deleted."""

    def __init__(self, cast: Cast, kept: Kept) -> None:
        super().__init__(timeout=OPEN_S)
        self._cast = cast
        self._kept = kept

    @discord.ui.button(label=N_("Delete"), style=discord.ButtonStyle.danger)
    async def delete(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Delete it, for who may still do so, and offer to bring it back."""
        check(interaction, public=False)
        check_change(interaction, self._kept)
        await self._cast.delete(self._kept)
        undo = discord.ui.View(timeout=None)
        undo.add_item(RestoreButton(self._kept.id))
        said = _("**{name}** is deleted.").format(name=called(self._kept.persona))
        await interaction.response.edit_message(content=said, view=undo)
        name = called(self._kept.persona)
        await note_about(interaction, self._kept, lambda: _("deleted the persona **{name}**").format(name=name))

    @discord.ui.button(label=N_("Keep"), style=discord.ButtonStyle.secondary)
    async def keep(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Leave it."""
        said = _("**{name}** stays.").format(name=called(self._kept.persona))
        await interaction.response.edit_message(content=said, view=None)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


class RestoreButton(
    Speaking,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"persona:restore:(?P<persona>\d{1,20})",
):
    """Brings a deleted persona back, also after the bot was started anew."""

    def __init__(self, persona_id: int) -> None:
        named = f"persona:restore:{persona_id}"
        super().__init__(discord.ui.Button(label=_("Undo"), style=discord.ButtonStyle.secondary, custom_id=named))
        self._persona_id = persona_id

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """Make the button that was pressed."""
        return cls(int(match["persona"]))

    async def callback(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Bring it back, if whoever pressed it may."""
        bot = interaction.client
        try:
            check(interaction, public=False)
            check_change(interaction, await bot.chat.cast.get(self._persona_id, also_deleted=True))
            kept = await bot.chat.cast.restore(self._persona_id)
            said = _("**{name}** is back.").format(name=called(kept.persona))
            await interaction.response.edit_message(content=said, view=None)
            name = called(kept.persona)
            await note_about(interaction, kept, lambda: _("brought the persona **{name}** back").format(name=name))
        except Exception as error:
            await bot.failed(interaction, error)
