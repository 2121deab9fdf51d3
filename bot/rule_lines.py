"""What a server set for moderation, and its reports, in words that people read. Pure."""

from collections.abc import Callable, Mapping

import discord

from bot.reports import quoted, where
from persona_chat.language import N_, _, grouped, ngettext, pgettext
from persona_chat.rules import Rules
from persona_chat.store.reports import Report
from persona_chat.word_filter import Filtering, Side

REPORTS = 200
"""Open reports that are shown at once."""

SHOWN = 25
"""Channels, and roles, of each list that are named: more would not fit a message in every language."""

READS = {
    Side.OFF: N_("off"),
    Side.INPUT: N_("what people say to me"),
    Side.OUTPUT: N_("what personas say"),
    Side.BOTH: N_("what people say to me, and what personas say"),
}


def rule_lines(rules: Rules, guild_id: int, open_reports: int) -> list[str]:
    """Everything that is set, in words."""
    reports = _("{number} or more") if open_reports == REPORTS else "{number}"
    return [
        *channel_lines(rules.channels),
        *role_lines(rules.roles, guild_id),
        _("**Word filter**: {filter}.").format(filter=filter_line(rules.filtering)),
        _("**Log**: {channel}.").format(channel=channel_line(rules.log_channel_id)),
        _("**Open reports**: {reports}.").format(reports=reports.format(number=grouped(open_reports))),
    ]


def channel_lines(channels: Mapping[int, bool]) -> list[str]:
    """Where I talk."""
    allowed = listed(channels, True, "<#{}>".format)
    denied = listed(channels, False, "<#{}>".format)
    line = _("**Channels**: I talk only in {channels}.") if allowed else _("**Channels**: I talk in every channel.")
    lines = [line.format(channels=allowed)]
    return [*lines, _("I never talk in {channels}.").format(channels=denied)] if denied else lines


def role_lines(roles: Mapping[int, bool], guild_id: int) -> list[str]:
    """To whom I talk."""
    allowed = listed(roles, True, lambda role_id: role_name(role_id, guild_id))
    denied = listed(roles, False, lambda role_id: role_name(role_id, guild_id))
    line = _("**Roles**: I talk only to {roles}.") if allowed else _("**Roles**: I talk to everybody.")
    lines = [line.format(roles=allowed)]
    if denied:
        lines.append(_("I never talk to {roles}.").format(roles=denied))
    if roles:
        lines.append("-# " + _("Whoever manages this server can always talk to me."))
    return lines


def listed(targets: Mapping[int, bool], allowed: bool, named: Callable[[int], str]) -> str:
    """The names of one list, cut when there are many."""
    names = [named(target) for target, on in targets.items() if on is allowed]
    shown, more = _(", ").join(names[:SHOWN]), len(names) - SHOWN
    if more <= 0:
        return shown
    return ngettext("{names} and {number} more", "{names} and {number} more", more).format(names=shown, number=more)


def role_name(role_id: int, guild_id: int | None) -> str:
    """A role as Discord shows it. That of everybody has the server's id, and no mention that would look right."""
    return "@everyone" if role_id == guild_id else f"<@&{role_id}>"


def filter_line(filtering: Filtering) -> str:
    """What is filtered, and by which lists."""
    words = len(filtering.words)
    own = ngettext("{number} word of yours", "{number} words of yours", words).format(number=grouped(words))
    if filtering.built_in:
        by = _("{some} and {last}").format(some=_("my own list"), last=own) if words else _("my own list")
    else:
        by = own if words else _("no words at all")
    return _("{what} ({by})").format(what=_(READS[filtering.side]), by=by)


def channel_line(channel_id: int | None) -> str:
    """A channel, or that there is none."""
    return pgettext("channel", "none") if channel_id is None else f"<#{channel_id}>"


def report_line(report: Report) -> str:
    """A report in a list."""
    place = where(report.server_id, report.channel_id, report.message_id)
    when = discord.utils.format_dt(report.reported_at, "R")
    return f"`{report.number}` · {when} · <@{report.reporter_id}> · {place}\n> {quoted(report.reason, 300)}"
