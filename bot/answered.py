"""What people do with replies in Discord: another version, other words, deleting, asking why."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import discord

from bot import text
from bot.admins import Admins
from bot.admission import check, stopped
from bot.faces import Faces
from bot.faults import DISCORD_FAULTS
from bot.pace import check_pace
from bot.places import channel_at, place_of, said_at
from bot.portrait import called, shortened
from bot.reply_view import EditForm, view_of
from bot.rights import OPTED_OUT, NotAllowed
from persona_chat.errors import Filtered, PersonaChatError
from persona_chat.language import N_, _, grouped
from persona_chat.rework import Rework
from persona_chat.store.answers import Answer

log = logging.getLogger(__name__)

WORDS_STOPPED = N_("There is a word in that which this server's filter stops. The reply stays as it was.")
NOT_YOURS = N_("Only the person who asked, or a moderator, can change this reply.")


class Answered:
    """Does it, for who asked and for moderators. Replies have buttons unless `buttons` says otherwise.

    For people of whom `opted_out` is true nothing is done but to delete.
    """

    def __init__(
        self,
        client: discord.Client,
        rework: Rework,
        faces: Faces,
        *,
        buttons: bool,
        opted_out: Callable[[int], bool],
        admins: Admins,
        replay: str,
    ) -> None:
        self._admins = admins
        self._replay = replay
        self._opted_out = opted_out
        self._client = client
        self._rework = rework
        self._faces = faces
        self._buttons = buttons

    async def again(self, interaction: discord.Interaction, message_id: int) -> None:
        """Let the persona answer once more, in another version."""
        check(interaction, public=True)
        await self._check(interaction, message_id)
        check_pace(interaction)
        await interaction.response.defer(ephemeral=True)
        await self._show(interaction.channel, await self._rework.again(message_id, place_of(interaction)))

    async def go_on(self, interaction: discord.Interaction, message_id: int) -> None:
        """Let the persona say more."""
        check(interaction, public=True)
        await self._check(interaction, message_id)
        check_pace(interaction)
        await interaction.response.defer(ephemeral=True)
        await self._show(interaction.channel, await self._rework.go_on(message_id, place_of(interaction)))

    async def turn(self, interaction: discord.Interaction, message_id: int, by: int) -> None:
        """Show the next version, or the one before."""
        check(interaction, public=True)
        await self._check(interaction, message_id)
        await interaction.response.defer(ephemeral=True)
        await self._show(interaction.channel, await self._rework.turn(message_id, by, place_of(interaction)))

    async def edit(self, interaction: discord.Interaction, message_id: int) -> None:
        """Open a form with the reply's words."""
        check(interaction, public=True)
        answer = await self._check(interaction, message_id)
        await interaction.response.send_modal(EditForm(message_id, answer.version.text))

    async def edited(self, interaction: discord.Interaction, message_id: int, words: str) -> None:
        """Let the reply have these words."""
        check(interaction, public=True)
        if listed := stopped(interaction, words):
            raise Filtered(_(WORDS_STOPPED), listed)
        await self._check(interaction, message_id)
        await interaction.response.defer(ephemeral=True)
        await self._show(interaction.channel, await self._rework.edit(message_id, words, interaction.user.id))

    async def delete(self, interaction: discord.Interaction, message_id: int) -> None:
        """Delete the reply in Discord, and forget it and what it answered."""
        await self._check(interaction, message_id, also_opted_out=True)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self.take_away(message_id)
        await interaction.edit_original_response(content=_("The reply is deleted, and forgotten."))

    async def take_away(self, message_id: int) -> None:
        """Do that for somebody who may."""
        for answer in await self._rework.delete([message_id]):
            await self._remove(answer.channel_id, answer.sent)

    async def why(self, interaction: discord.Interaction, message_id: int) -> None:
        """Say to one person what a reply was made with."""
        card = self.card(await self._rework.find(message_id), interaction.user)
        await interaction.response.send_message(embed=card, ephemeral=True)

    def card(self, answer: Answer, person: discord.abc.User) -> discord.Embed:
        """Return what that person may know of a reply."""
        return why_card(answer, replay=self._replay if person in self._admins else None)

    async def question_edited(self, message: discord.Message, me: discord.abc.User, anew: Callable[[], bool]) -> None:
        """Take over that a person edited a message; the last one is answered anew, if `anew` wants that."""
        try:
            answer = await self._rework.rephrased(message.id, text.heard(message, me).text, said_at(message), anew)
        except PersonaChatError as error:
            log.info("the edited message %s gets no other reply: %s", message.id, type(error).__name__)
            return
        if answer is not None:
            await self._show(message.channel, answer)

    async def messages_deleted(self, message_ids: Sequence[int]) -> None:
        """Forget what somebody deleted. What answered the last message goes with it, and the rest of a long reply."""
        for answer in await self._rework.delete(message_ids):
            if answer.newest or answer.message_id not in message_ids:
                await self._remove(answer.channel_id, [sent for sent in answer.sent if sent not in message_ids])

    async def _check(
        self, interaction: discord.Interaction, message_id: int, *, also_opted_out: bool = False
    ) -> Answer:
        """Return the answer, for who asked and for moderators."""
        if not also_opted_out and self._opted_out(interaction.user.id):
            raise NotAllowed(_(OPTED_OUT))
        answer = await self._rework.find(message_id)
        if interaction.user.id != answer.asker_id and not interaction.permissions.manage_messages:
            raise NotAllowed(_(NOT_YOURS))
        return answer

    async def _show(self, channel: object, answer: Answer) -> None:
        """Let the messages that the answer was sent as say what it is now."""
        persona = answer.version.persona
        parts = text.parts(answer.version.text, persona.name)
        for number, part in enumerate(parts):
            view = view_of(answer) if number == 0 and self._buttons else None
            before = answer.sent[number] if number < len(answer.sent) else None
            if before is not None:
                if await self._faces.edit(channel, before, part, persona, part=number, view=view):
                    continue
                # Its webhook is gone, or it is: what is remembered must be seen all the same.
                await self._rework.unsend([before])
                await self._faces.delete(channel, before)
            sent = await self._faces.send(channel, part, persona, part=number, view=view)
            await self._rework.mark_sent(answer.message_id, number, sent)
        if surplus := answer.sent[len(parts) :]:
            await self._rework.unsend(surplus)
            await self._remove(answer.channel_id, surplus)

    async def _remove(self, channel_id: int, message_ids: Sequence[int]) -> None:
        try:
            channel = await channel_at(self._client, channel_id)
        except DISCORD_FAULTS as error:
            log.info("channel %s is not there: %s", channel_id, type(error).__name__)
            return
        for message_id in message_ids:
            await self._faces.delete(channel, message_id)


def why_card(answer: Answer, *, replay: str | None) -> discord.Embed:
    """What a reply was made with, and for who can do that how to get it once more."""
    version, how = answer.version, answer.version.how
    card = discord.Embed(title=_("Why this reply?"))
    asker, asked = discord.utils.escape_markdown(answer.asker_name), discord.utils.escape_markdown(answer.asked)
    card.add_field(name=_("It answers"), value=f"{asker}: {shortened(asked, 900)}", inline=False)
    words = _("{persona}, version {number}").format(persona=called(version.persona), number=version.revision)
    card.add_field(name=_("Persona"), value=words)
    if how is not None and "edited_by" in how:
        card.add_field(name=_("Words"), value=_("written by {person}").format(person=f"<@{how['edited_by']}>"))
        return card
    card.add_field(name=_("Adapter"), value=version.adapter or _("none, the plain base"))
    if how is None:
        card.set_footer(text=_("More was not kept when it was made."))
        return card
    card.add_field(name=_("The model read"), value=read_line(how), inline=False)
    if "goes_on" in how:
        after = _("version {number}").format(number=how["goes_on"])
        card.add_field(name=_("It goes on after"), value=after, inline=False)
    card.add_field(name=_("Words were drawn with"), value=drawn_line(how), inline=False)
    if replay is not None:
        replay = replay.format(message=answer.message_id)
        card.set_footer(text=_("The same again, where the bot runs: {replay}").format(replay=replay))
    return card


def read_line(how: Any) -> str:
    """What of the talk was read, and what did not fit."""
    earlier, remembered = how["turns"] - 1, how["remembered"] - 1
    left = _(" ({count} older ones did not fit)").format(count=remembered - earlier) if remembered > earlier else ""
    read = _("the persona, {earlier} earlier turns{left} and the message: {tokens} tokens")
    return read.format(earlier=earlier, left=left, tokens=grouped(how["prompt_tokens"]))


def drawn_line(how: Any) -> str:
    """How its words were drawn."""
    if how["temperature"] == 0:
        drawn = _("always the likeliest word")
    else:
        drawn = (
            f"temperature {how['temperature']:g}, top-p {how['top_p']:g}, top-k {how['top_k']}, "
            f"min-p {how['min_p']:g}, seed {how['seed']}"
        )  # names of settings, the same in every language
    return f"{drawn}, repetition penalty {how['repetition_penalty']:g}"
