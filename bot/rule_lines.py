"""What a server set for moderation, and its reports, in words that people read. Pure."""

from collections.abc import Callable, Mapping

import discord

from bot.reports import quoted, where
from persona_chat.rules import Rules
from persona_chat.store.reports import Report
from persona_chat.word_filter import Filtering, Side

REPORTS = 200
"""Open reports that are shown at once."""

SHOWN = 40
"""Channels, and roles, of each list that are named."""

READS = {
    Side.OFF: "off",
    Side.INPUT: "what people say to me",
    Side.OUTPUT: "what personas say",
    Side.BOTH: "what people say to me, and what personas say",
}


def rule_lines(rules: Rules, guild_id: int, open_reports: int) -> list[str]:
    """Everything that is set, in words."""
    reports = f"{open_reports} or more" if open_reports == REPORTS else str(open_reports)
    return [
        *channel_lines(rules.channels),
        *role_lines(rules.roles, guild_id),
        f"**Word filter**: {filter_line(rules.filtering)}.",
        f"**Log**: {channel_line(rules.log_channel_id)}.",
        f"**Open reports**: {reports}.",
    ]


def channel_lines(channels: Mapping[int, bool]) -> list[str]:
    """Where I talk."""
    allowed = listed(channels, True, "<#{}>".format)
    denied = listed(channels, False, "<#{}>".format)
    lines = [f"**Channels**: I talk only in {allowed}." if allowed else "**Channels**: I talk in every channel."]
    return [*lines, f"I never talk in {denied}."] if denied else lines


def role_lines(roles: Mapping[int, bool], guild_id: int) -> list[str]:
    """To whom I talk."""
    allowed = listed(roles, True, lambda role_id: role_name(role_id, guild_id))
    denied = listed(roles, False, lambda role_id: role_name(role_id, guild_id))
    lines = [f"**Roles**: I talk only to {allowed}." if allowed else "**Roles**: I talk to everybody."]
    if denied:
        lines.append(f"I never talk to {denied}.")
    if roles:
        lines.append("-# Whoever manages this server can always talk to me.")
    return lines


def listed(targets: Mapping[int, bool], allowed: bool, named: Callable[[int], str]) -> str:
    """The names of one list, cut when there are many."""
    names = [named(target) for target, on in targets.items() if on is allowed]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def role_name(role_id: int, guild_id: int | None) -> str:
    """A role as Discord shows it. That of everybody has the server's id, and no mention that would look right."""
    return "@everyone" if role_id == guild_id else f"<@&{role_id}>"


def filter_line(filtering: Filtering) -> str:
    """What is filtered, and by which lists."""
    own = f"{len(filtering.words)} words of yours" if len(filtering.words) != 1 else "1 word of yours"
    lists = [*(["my own list"] if filtering.built_in else []), *([own] if filtering.words else [])]
    by = " and ".join(lists) or "no words at all"
    return f"{READS[filtering.side]} ({by})"


def channel_line(channel_id: int | None) -> str:
    """A channel, or that there is none."""
    return "none" if channel_id is None else f"<#{channel_id}>"


def report_line(report: Report) -> str:
    """A report in a list."""
    place = where(report.server_id, report.channel_id, report.message_id)
    when = discord.utils.format_dt(report.reported_at, "R")
    return f"`{report.number}` · {when} · <@{report.reporter_id}> · {place}\n> {quoted(report.reason, 300)}"
