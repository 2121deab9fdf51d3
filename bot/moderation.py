"""`/moderation`: where I talk and to whom, which words, and where moderators are told. For who manages the server."""

from dataclasses import replace
from typing import Literal

import discord
from discord import app_commands

from bot.command_table import MODERATORS, SERVER_MANAGERS, YOU, says
from bot.log_channel import LogChannel
from bot.persona_list import Pages
from bot.reports import Reporting
from bot.rights import NotAllowed
from bot.rule_lines import (
    READS,
    REPORTS,
    channel_line,
    channel_lines,
    filter_line,
    report_line,
    role_lines,
    role_name,
    rule_lines,
)
from bot.speaking import Chosen
from bot.word_form import WordForm
from persona_chat.errors import InputError
from persona_chat.language import N_, _, grouped
from persona_chat.moderation import LISTED, Moderation
from persona_chat.rules import Kind
from persona_chat.word_filter import Filtering, Side

Listable = (
    discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel
    | app_commands.AppCommandThread
)  # fmt: skip
Reads = app_commands.Transform[Side, Chosen(READS)]
Action = Literal["allow", "deny", "clear"]

ONLY_IN_SERVERS = N_("That only works in a server.")
NAME_IT = {Kind.CHANNEL: N_("Name the channel as well."), Kind.ROLE: N_("Name the role as well.")}
TOO_MANY = {
    Kind.CHANNEL: N_("There are {number} channels on the lists already. Clear some first."),
    Kind.ROLE: N_("There are {number} roles on the lists already. Clear some first."),
}
EVERY = {Kind.CHANNEL: N_("every channel"), Kind.ROLE: N_("every role")}
DONE: dict[Action, str] = {
    "allow": N_("allowed {what}"),
    "deny": N_("denied {what}"),
    "clear": N_("took {what} from the lists"),
}


class ModerationCommands(app_commands.Group):
    """It works everywhere, whatever the lists say. All answers are seen by who asks alone."""

    def __init__(self, moderation: Moderation, log_channel: LogChannel, reporting: Reporting) -> None:
        super().__init__(name="moderation", description="Where I talk and to whom, word filters, reports")
        self._moderation = moderation
        self._log_channel = log_channel
        self._reporting = reporting

    @app_commands.command(name="channels", extras=says(SERVER_MANAGERS, YOU, always=True))
    @app_commands.describe(
        action="Talk there (and only where it is allowed), never talk there, or neither",
        channel="Which one; a thread follows its channel. To clear: without it, all of them",
    )
    async def channels(self, interaction: discord.Interaction, action: Action, channel: Listable | None = None) -> None:
        """Choose in which channels I talk at all."""
        target = None if channel is None else (channel.id, f"<#{channel.id}>")
        await self._list(interaction, Kind.CHANNEL, action, target)

    @app_commands.command(name="roles", extras=says(SERVER_MANAGERS, YOU, always=True))
    @app_commands.describe(
        action="Talk to these people (and only to who is allowed), never to them, or neither",
        role="Which one. To clear: without it, all of them",
    )
    async def roles(self, interaction: discord.Interaction, action: Action, role: discord.Role | None = None) -> None:
        """Choose which roles may talk to me."""
        target = None if role is None else (role.id, role_name(role.id, interaction.guild_id))
        await self._list(interaction, Kind.ROLE, action, target)

    @app_commands.command(name="filter", extras=says(SERVER_MANAGERS, YOU, always=True))
    @app_commands.describe(
        reads="What is looked at: what people say to me, what personas say, both, or nothing",
        built_in="Whether my own short English list counts too, beside your words",
    )
    async def filter(self, interaction: discord.Interaction, reads: Reads, built_in: bool | None = None) -> None:
        """Stop messages and replies with certain words; /moderation words adds words of yours."""
        guild_id = managed_server(interaction)
        before = self._moderation.rules(guild_id).filtering
        filtering = replace(before, side=reads, built_in=before.built_in if built_in is None else built_in)
        await self._moderation.filter(guild_id, filtering)
        await _answer(interaction, filter_set(filtering))
        said = N_("set the word filter: {filter}")
        await self._log_channel.note(interaction, lambda: _(said).format(filter=filter_line(filtering)))

    @app_commands.command(name="words", extras=says(SERVER_MANAGERS, YOU, always=True))
    async def words(self, interaction: discord.Interaction) -> None:
        """Change the words that this server's filter stops, beside those of my own list."""
        guild_id = managed_server(interaction)

        async def done(interaction: discord.Interaction, words: tuple[str, ...]) -> None:
            managed_server(interaction)
            filtering = replace(self._moderation.rules(guild_id).filtering, words=words)
            await self._moderation.filter(guild_id, filtering)
            off = _("It is off: `/moderation filter` turns it on.") if filtering.side is Side.OFF else ""
            await _answer(interaction, " ".join(filter(None, (filter_set(filtering), off))))
            said = N_("changed the filter's words; they are {number} now")
            await self._log_channel.note(interaction, lambda: _(said).format(number=grouped(len(words))))

        await interaction.response.send_modal(
            WordForm("\n".join(self._moderation.rules(guild_id).filtering.words), done)
        )

    @app_commands.command(name="log", extras=says(SERVER_MANAGERS, YOU, always=True))
    @app_commands.describe(channel="Where I write it", off="Write it nowhere any more")
    async def log(
        self, interaction: discord.Interaction, channel: discord.TextChannel | None = None, off: bool = False
    ) -> None:
        """Choose where I tell moderators of reports, stopped words and changes; never what was said."""
        guild_id = managed_server(interaction)
        before = self._moderation.rules(guild_id).log_channel_id
        if channel is None and not off:
            now = _("Name a channel, or choose `off`. Now: {channel}.")
            raise InputError(now.format(channel=channel_line(before)))
        await interaction.response.defer(ephemeral=True, thinking=True)
        after = None if off or channel is None else channel.id
        if after is None:
            await self._log_channel.note(interaction, lambda: _("ended this log"))
        elif not await self._begins(interaction, after):
            refused = _("I may not write in {channel}. I need View Channel and Send Messages there.")
            raise InputError(refused.format(channel=channel_line(after)))
        await self._moderation.write_to(guild_id, after)
        said = _("Log: {now}. Before: {before}.").format(now=channel_line(after), before=channel_line(before))
        await interaction.edit_original_response(content=said)

    @app_commands.command(name="show", extras=says(SERVER_MANAGERS, YOU, always=True))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show everything that is set here for moderation."""
        guild_id = managed_server(interaction)
        reports = await self._reporting.open(guild_id, REPORTS)
        lines = rule_lines(self._moderation.rules(guild_id), guild_id, len(reports))
        card = discord.Embed(title=_("Moderation"), description="\n".join(lines))
        await interaction.response.send_message(embed=card, ephemeral=True)

    @app_commands.command(name="reports", extras=says(MODERATORS, YOU, always=True))
    async def reports(self, interaction: discord.Interaction) -> None:
        """Show the reports that nobody has marked as done, the oldest first."""
        guild_id = moderated_server(interaction)
        reports = await self._reporting.open(guild_id, REPORTS)
        if not reports:
            raise InputError(_("There are no open reports."))
        first = _("`/moderation done` with its number closes a report.")
        await Pages(_("Open reports"), [report_line(report) for report in reports], first=first).show(interaction)

    @app_commands.command(name="done", extras=says(MODERATORS, YOU, always=True))
    @app_commands.describe(number="The number in `/moderation reports`")
    async def done(self, interaction: discord.Interaction, number: app_commands.Range[int, 1, 2**53]) -> None:
        """Mark a report as done."""
        moderated_server(interaction)
        await _answer(interaction, await self._reporting.done(interaction, number))

    async def _list(
        self, interaction: discord.Interaction, kind: Kind, action: Action, target: tuple[int, str] | None
    ) -> None:
        """Put something on a list, or take it away."""
        guild_id = managed_server(interaction)
        if action == "clear":
            await self._moderation.unlist(guild_id, kind, None if target is None else target[0])
        elif target is None:
            raise InputError(_(NAME_IT[kind]))
        elif not await self._moderation.list(guild_id, kind, target[0], allowed=action == "allow"):
            raise InputError(_(TOO_MANY[kind]).format(number=LISTED))
        rules = self._moderation.rules(guild_id)
        lines = channel_lines(rules.channels) if kind is Kind.CHANNEL else role_lines(rules.roles, guild_id)
        await _answer(interaction, "\n".join(lines))
        what = EVERY[kind] if target is None else target[1]
        await self._log_channel.note(interaction, lambda: _(DONE[action]).format(what=_(what)))

    async def _begins(self, interaction: discord.Interaction, channel_id: int) -> bool:
        """Say in a channel that it is the log from now on; False where that cannot be."""
        with self._log_channel.speaking(interaction.guild, interaction.user.id):
            line = _("I write here what moderators should know. Set by {person}.")
            return await self._log_channel.send(channel_id, line.format(person=f"<@{interaction.user.id}>"))


def filter_set(filtering: Filtering) -> str:
    """What the filter does from now on."""
    return _("Word filter: {filter}.").format(filter=filter_line(filtering))


def managed_server(interaction: discord.Interaction) -> int:
    """The server, for somebody who manages it. Raises NotAllowed, and InputError where there is none."""
    if interaction.guild_id is None:
        raise InputError(_(ONLY_IN_SERVERS))
    if not interaction.permissions.manage_guild:
        raise NotAllowed(_("That takes the permission Manage Server."))
    return interaction.guild_id


def moderated_server(interaction: discord.Interaction) -> int:
    """The server, for somebody who moderates or manages it. Raises NotAllowed, and InputError where there is none."""
    if interaction.guild_id is None:
        raise InputError(_(ONLY_IN_SERVERS))
    if not (interaction.permissions.manage_messages or interaction.permissions.manage_guild):
        raise NotAllowed(_("That takes the permission Manage Messages or Manage Server."))
    return interaction.guild_id


async def _answer(interaction: discord.Interaction, text: str) -> None:
    await interaction.response.send_message(text, ephemeral=True, allowed_mentions=discord.AllowedMentions.none())
