"""Who may change the model that serves every server: the people who run this bot. Knows nothing of commands."""

from collections.abc import Iterable

import discord
from discord import app_commands

from persona_chat.language import N_, _

REFUSAL = N_(
    "Only the people who run this bot may do that: the owner or the team of its application at Discord, and those "
    "whom its settings name (PERSONA_CHAT_ADMIN_IDS)."
)

_ROLES = (discord.TeamMemberRole.admin, discord.TeamMemberRole.developer)


class NotAdmin(app_commands.CheckFailure):
    """Somebody else tried."""

    def __init__(self) -> None:
        super().__init__(_(REFUSAL))


class Admins:
    """The ids of those who may. A server's administrators are not among them: one model serves all servers."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._ids = set(ids)

    def add(self, user_id: int) -> None:
        """Let one more person."""
        self._ids.add(user_id)

    def add_owners(self, application: discord.AppInfo) -> None:
        """Let the application's owner, or those of its team who may change the application itself."""
        if application.team is None:
            self.add(application.owner.id)
            return
        if application.team.owner_id is not None:
            self.add(application.team.owner_id)
        for member in application.team.members:
            if member.membership_state is discord.TeamMembershipState.accepted and member.role in _ROLES:
                self.add(member.id)

    def __contains__(self, user: object) -> bool:
        return isinstance(user, discord.abc.User) and user.id in self._ids

    def check(self, user: discord.abc.User) -> None:
        """Raise NotAdmin for anybody else."""
        if user not in self:
            raise NotAdmin
