"""Reports to a server's moderators: written in a form, kept, and shown in the log channel with a button."""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands

from bot.command_table import EVERYBODY, YOU, says
from bot.faults import DISCORD_FAULTS
from bot.log_channel import LogChannel
from bot.places import channel_at
from bot.portrait import shortened
from bot.rights import NotAllowed
from bot.speaking import Speaking
from persona_chat.errors import InputError
from persona_chat.heard import encodable
from persona_chat.language import N_, _
from persona_chat.privacy import Privacy
from persona_chat.store.reports import Report, Reports

if TYPE_CHECKING:
    from bot.client import PersonaBot

REASON_CHARACTERS = 1000

OPEN = 10
"""Open reports that one person may have in a server."""

IN_DIRECT_MESSAGES = N_("In direct messages there are no moderators. Tell the people who run this bot.")
NO_LINK = N_(
    "That is no link to a message in this server. Discord gives you one: Copy Message Link in a message's menu."
)
NOT_THERE = N_("I find no message there that I can see. Without a link you can report anything.")
NOT_MINE = N_("I pass on reports about my own messages only. For others ask a moderator, or report them to Discord.")
ENOUGH = N_("You have {number} reports that nobody has looked at yet. Ask a moderator of this server directly.")
AGAIN = N_("You reported that message already, and nobody has closed your report yet.")
SHOWN = N_("Thank you. The moderators of this server were told, and that it was you who reported it.")
KEPT = N_(
    "Thank you. It is kept for the people who manage this server, with your name. They set no channel in which they "
    "would see it at once: if it matters now, tell a moderator, or the people who run this bot."
)
KEPT_UNSEEN = N_(
    "Thank you. It is kept for the people who manage this server, with your name. I could not write to the channel "
    "in which they read such things: if it matters now, tell a moderator, or the people who run this bot."
)
NOBODY_TOLD = N_(
    "You opted out, so I keep nothing of you, and there is no channel here in which I could tell anybody. Tell a "
    "moderator of this server, or the people who run this bot."
)

_LINK = re.compile(r"<?https://(?:\w+\.)?discord(?:app)?\.com/channels/(\d{1,20})/(\d{1,20})/(\d{1,20})>?")

_LARGEST = 2**63 - 1  # no id of Discord's is larger, and no database keeps one


class Reporting:
    """Takes reports of everybody, and lets moderators close them."""

    def __init__(self, reports: Reports, log_channel: LogChannel, privacy: Privacy) -> None:
        self._reports = reports
        self._log_channel = log_channel
        self._privacy = privacy

    async def ask(self, interaction: discord.Interaction, channel_id: int | None, message_id: int | None) -> None:
        """Open the form for a message, or for nothing in particular."""
        if interaction.guild_id is None:
            raise InputError(_(IN_DIRECT_MESSAGES))
        await interaction.response.send_modal(ReportForm(channel_id or interaction.channel_id or 0, message_id))

    async def take(
        self, interaction: discord.Interaction, channel_id: int, message_id: int | None, reason: str
    ) -> None:
        """Keep the report, show it to the moderators, and say which of the two was done."""
        guild_id, person_id, reason = interaction.guild_id, interaction.user.id, encodable(reason)
        if guild_id is None:
            raise InputError(_(IN_DIRECT_MESSAGES))
        await interaction.response.defer(ephemeral=True, thinking=True)
        report = None
        if not self._privacy.opted_out(person_id):
            add = self._reports.add
            kept = await asyncio.to_thread(add, guild_id, channel_id, message_id, person_id, reason, OPEN)
            if kept is None:
                raise InputError(_(ENOUGH).format(number=OPEN))
            report, new = kept
            if not new:
                raise InputError(_(AGAIN))
        with self._log_channel.speaking(interaction.guild, person_id):
            line = reported(guild_id, channel_id, message_id, person_id, reason, report)
            view = done_view(report) if report is not None else None
            shown = await self._log_channel.write(guild_id, line, view=view, report=True)
        kept_as = KEPT_UNSEEN if self._log_channel.named(guild_id) else KEPT
        said = SHOWN if shown else kept_as if report is not None else NOBODY_TOLD
        await interaction.edit_original_response(content=_(said))

    async def open(self, guild_id: int, limit: int) -> tuple[Report, ...]:
        """Return the open reports of a server, the oldest first."""
        return await asyncio.to_thread(self._reports.open, guild_id, limit)

    async def done(self, interaction: discord.Interaction, number: int) -> str:
        """Close a report, for moderators; return what to say. Raises NotAllowed, and InputError."""
        may = interaction.permissions.manage_messages or interaction.permissions.manage_guild
        if interaction.guild_id is None or not may:
            raise NotAllowed(_("That takes the permission Manage Messages or Manage Server, in the server."))
        closed = await asyncio.to_thread(self._reports.done, interaction.guild_id, number, interaction.user.id)
        if closed is None:
            text = _("There is no report {number} in this server. `/moderation reports` shows the open ones.")
            raise InputError(text.format(number=number))
        said = _("Report {number} is done.") if closed else _("Report {number} was done already.")
        return said.format(number=number)


class ReportForm(Speaking, discord.ui.Modal):
    """Asks what is wrong."""

    def __init__(self, channel_id: int, message_id: int | None) -> None:
        super().__init__(title=_("Report"))
        self._channel_id = channel_id
        self._message_id = message_id
        self.reason = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=REASON_CHARACTERS,
            placeholder=_("What is wrong with it?") if message_id else _("What is wrong, and with which reply?"),
        )
        read = _("Moderators read it, with your name.")
        self.add_item(discord.ui.Label(text=_("Reason"), description=read, component=self.reason))

    async def on_submit(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """Hand the report on."""
        reporting = interaction.client.reporting
        await reporting.take(interaction, self._channel_id, self._message_id, self.reason.value)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


class DoneButton(
    Speaking, discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"report:done:(?P<number>\d{1,18})"
):
    """Ends a report, for moderators; also after the bot was started anew."""

    def __init__(self, number: int) -> None:
        named = f"report:done:{number}"
        super().__init__(discord.ui.Button(label=_("Done"), style=discord.ButtonStyle.secondary, custom_id=named))
        self._number = number

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """Make the button that was pressed."""
        return cls(int(match["number"]))

    async def callback(self, interaction: "discord.Interaction[PersonaBot]") -> None:  # type: ignore[override]
        """End the report, if whoever pressed it may, and show that in its message."""
        bot = interaction.client
        try:
            await bot.reporting.done(interaction, self._number)
            said = interaction.message.content if interaction.message is not None else ""
            with bot.log_channel.speaking(interaction.guild, interaction.user.id):
                done = _("Done: {person}").format(person=f"<@{interaction.user.id}>")
            await interaction.response.edit_message(
                content=shortened(f"{said}\n-# {done}", 2000),
                view=None,
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except Exception as error:
            await bot.failed(interaction, error)


def report_command() -> app_commands.Command[Any, ..., None]:
    """Return `/report`."""

    @app_commands.command(name="report", extras=says(EVERYBODY, YOU, always=True))
    @app_commands.describe(
        link="A link to the message (Copy Message Link in its menu); without it, about anything else"
    )
    async def report(interaction: discord.Interaction[Any], link: str | None = None) -> None:
        """Tell this server's moderators that something is wrong with what a persona said."""
        channel_id, message_id = linked(link, interaction.guild_id) if link else (None, None)
        if channel_id is not None and message_id is not None:
            check_mine(interaction.client, await _message(interaction, channel_id, message_id))
        await interaction.client.reporting.ask(interaction, channel_id, message_id)

    return report


def report_menu() -> app_commands.ContextMenu:
    """Return the entry in the menu of a message."""

    async def chosen(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        check_mine(interaction.client, message)
        await interaction.client.reporting.ask(interaction, message.channel.id, message.id)

    does = {"does": "Tell this server's moderators that something is wrong with it"}
    return app_commands.ContextMenu(name="Report", callback=chosen, extras=says(EVERYBODY, YOU, always=True) | does)


def check_mine(bot: Any, message: discord.Message) -> None:
    """Raise InputError for a message of anybody else."""
    if message.author.id != bot.user.id and not bot.faces.is_ours(message):
        raise InputError(_(NOT_MINE))


async def _message(interaction: discord.Interaction[Any], channel_id: int, message_id: int) -> discord.Message:
    """The message of this server with that id. Raises InputError where there is none, or it cannot be seen."""
    try:
        channel = await channel_at(interaction.client, channel_id)
        if channel.guild.id != interaction.guild_id:
            raise InputError(_(NO_LINK))
        message: discord.Message = await channel.fetch_message(message_id)
    except (AttributeError, *DISCORD_FAULTS):  # not every channel holds messages, or belongs to a server
        raise InputError(_(NOT_THERE)) from None
    return message


def linked(link: str, guild_id: int | None) -> tuple[int, int]:
    """The channel and the message that a link names. Raises InputError for anything but one into this server."""
    found = _LINK.fullmatch(link.strip())
    if guild_id is None:
        raise InputError(_(IN_DIRECT_MESSAGES))
    if found is None or int(found[1]) != guild_id or max(map(int, found.groups())) > _LARGEST:
        raise InputError(_(NO_LINK))
    return int(found[2]), int(found[3])


def where(guild_id: int, channel_id: int, message_id: int | None) -> str:
    """What a report is about: a link, or the channel in which it was made."""
    if message_id is None:
        return _("in {channel}").format(channel=f"<#{channel_id}>")
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"


def reported(
    guild_id: int, channel_id: int, message_id: int | None, person_id: int, reason: str, report: Report | None
) -> str:
    """A report as the moderators read it in their channel."""
    by = _("**Report** by {person}") if report is None else _("**Report {number}** by {person}")
    head = by.format(person=f"<@{person_id}>", number=report.number if report is not None else "")
    return f"{head} · {where(guild_id, channel_id, message_id)}\n> {quoted(reason, 800)}"


def quoted(reason: str, most: int) -> str:
    """Somebody's reason in one line, with nothing in it that Discord would format."""
    return shortened(discord.utils.escape_markdown(" ".join(reason.split())), most)


def done_view(report: Report) -> discord.ui.View:
    """The button under a report."""
    view = discord.ui.View(timeout=None)
    view.add_item(DoneButton(report.number))
    return view
