"""Which messages the bot answers: those for a persona, of people it may hear, where it may speak, at a pace."""

from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot import text
from bot.admission import admits
from bot.answering import Answering
from bot.pace import Verdict
from bot.places import said_at
from bot.privacy import OPTED_OUT
from persona_chat.inbox import Hearing
from persona_chat.language import N_, _, speak
from persona_chat.manners import set_aside

if TYPE_CHECKING:
    from bot.client import PersonaBot

PAUSED = N_("I am silent here for now. `/chat resume` ends that.")
PAUSED_EVERY_S = 300.0
"""How seldom a channel is told so."""

SAY_SOMETHING = N_("I am here. Say something and I will answer.")


class Listener:
    """Decides that, for messages and for those that were edited."""

    def __init__(self, bot: "PersonaBot", answering: Answering) -> None:
        self._bot = bot
        self._answering = answering
        self._paused_told = commands.CooldownMapping.from_cooldown(1, PAUSED_EVERY_S, commands.BucketType.channel)

    async def hear(self, message: discord.Message, me: discord.ClientUser, hearing: Hearing) -> None:
        """Answer it, if it is for a persona and may be answered; else say why not, or nothing."""
        bot = self._bot
        speak(bot.languages.of(message.guild, message.author.id))
        if bot.privacy.opted_out(message.author.id):
            if message.guild is None:  # elsewhere they may be talking to somebody else
                await self._answering.say(message, _(OPTED_OUT))
            return
        if not admits(bot.chat.moderation, message) or bot.outgoing.left_alone(message.channel.id):
            return
        place = said_at(message)
        named = bot.chat.cast.guests.named(place, message.content) is not None
        asked = text.addressed(message, me, bot.faces.is_ours)
        addressed = named or asked
        if set_aside(message.content):
            return
        if not bot.chat.listening.hears(place, addressed=addressed):
            if asked and bot.chat.listening.manners(place).paused:
                await self._say_paused(message)
            return
        hearing.for_us = True
        heard = text.heard(message, me)
        if listed := bot.chat.moderation.words(place.guild_id).stops_input(heard.text):
            await self._answering.not_read(message, listed)
            return
        verdict, line = bot.pace.judge(message)
        if verdict is not Verdict.ANSWER:
            if verdict is Verdict.EXPLAIN:
                await self._answering.say(message, line)
            return
        if heard.text:
            with bot.drain.under_way():
                await self._answering.answer(message, heard, addressed=addressed)
        elif addressed and not message.attachments:
            await self._answering.say(message, _(SAY_SOMETHING))

    def answers_anew(self, edited: discord.Message) -> bool:
        """Whether an edited message that was answered gets another answer. It counts as one more of that person."""
        if set_aside(edited.content) or self._bot.chat.listening.manners(said_at(edited)).silent:
            return False
        guild_id = edited.guild.id if edited.guild is not None else None
        return not self._bot.pace.over(guild_id, edited.author.id, edited.edited_at or edited.created_at)

    async def _say_paused(self, message: discord.Message) -> None:
        """Say so to who spoke to the bot, not each time."""
        if self._paused_told.update_rate_limit(message, message.created_at.timestamp()) is None:
            await self._answering.say(message, _(PAUSED))
