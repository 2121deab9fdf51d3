"""Who runs the bot: its application's owner or the makers of its team, and ids of the settings."""

import discord

from bot.admins import Admins
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import world


async def test_the_applications_owner_and_the_makers_of_its_team_are_admins(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        of_a_person = await here.bot.http.application_info()
        one = Admins()
        one.add_owners(discord.AppInfo(here.bot._connection, of_a_person))
        assert one._ids == {int(of_a_person["owner"]["id"])}

        def member(number: int, role: str, state: int = 2) -> dict[str, object]:
            user = {**of_a_person["owner"], "id": str(number)}
            return {"user": user, "team_id": "5", "membership_state": state, "role": role, "permissions": ["*"]}

        members = [member(11, "admin"), member(12, "developer"), member(13, "read_only"), member(14, "admin", 1)]
        team = {"id": "5", "name": "us", "icon": None, "owner_user_id": "10", "members": members}
        of_a_team = {**of_a_person, "team": team, "owner": {**of_a_person["owner"], "id": "5"}}
        several = Admins([99])
        several.add_owners(discord.AppInfo(here.bot._connection, of_a_team))  # type: ignore[arg-type]
        assert several._ids == {10, 11, 12, 99}
