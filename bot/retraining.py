"""`/retrain`: start, look at and cancel the training of another adapter. For the bot's admins only."""

import discord
from discord import app_commands

from bot.admins import Admins
from bot.announcer import Announcer, message_of
from bot.command_table import ADMINS, YOU, says
from bot.speaking import Buttons
from persona_chat.errors import InputError
from persona_chat.language import N_, _, grouped
from persona_chat.retraining.plan import Plan, describe
from persona_chat.retraining.report import standing
from persona_chat.retraining.retraining import Retraining
from persona_chat.store.jobs import Job

CONFIRM_S = 600.0
"""How long a plan may be confirmed. The answer that shows it can be edited for 15 minutes."""

NEVER = N_("Nothing was trained here yet. `/retrain start` begins.")
NOTHING = N_("No retraining is under way.")


class RetrainCommands(app_commands.Group):
    """Retraining from Discord. What anybody says there is never learned from."""

    def __init__(self, retraining: Retraining, announcer: Announcer, admins: Admins) -> None:
        super().__init__(name="retrain", description="Train the model further (for those who run this bot)")
        self._retraining = retraining
        self._announcer = announcer
        self._admins = admins

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Let admins only."""
        self._admins.check(interaction.user)
        return True

    @app_commands.command(name="start", extras=says(ADMINS, YOU))
    async def start(self, interaction: discord.Interaction) -> None:
        """Show what would be learned, and begin once it is confirmed."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        plan = await self._retraining.plan()
        await interaction.edit_original_response(
            content="\n".join([_("**Begin a retraining?**"), *describe(plan)]),
            view=Confirmation(self, interaction, plan),
            allowed_mentions=discord.AllowedMentions.none(),
        )

    @app_commands.command(name="status", extras=says(ADMINS, YOU))
    async def status(self, interaction: discord.Interaction) -> None:
        """Show how the retraining goes, or how the last one ended."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._retraining.recover()
        last = await self._retraining.history(1)
        await _answer(interaction, message_of(last[0]) if last else _(NEVER))

    @app_commands.command(name="cancel", extras=says(ADMINS, YOU))
    async def cancel(self, interaction: discord.Interaction) -> None:
        """Cancel the retraining that is under way."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        job = await self._retraining.under_way()
        if job is None:
            raise InputError(_(NOTHING))
        await self._retraining.cancel(job.number)
        await _answer(interaction, _("Retraining {number} is being cancelled.").format(number=job.number))

    @app_commands.command(name="history", extras=says(ADMINS, YOU))
    async def history(self, interaction: discord.Interaction) -> None:
        """Show the last retrainings."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._retraining.recover()
        jobs = await self._retraining.history()
        await _answer(interaction, "\n".join(map(_remembered, jobs)) if jobs else _(NEVER))

    async def begin(self, interaction: discord.Interaction, plan: Plan) -> None:
        """Begin what was confirmed, and say so in the channel."""
        self._admins.check(interaction.user)
        job = await self._retraining.start(plan, requested_by=interaction.user.id, channel_id=interaction.channel_id)
        posted = interaction.channel_id is not None and await self._announcer.post(interaction.channel_id, job)
        begun = _("Retraining {number} has begun.").format(number=job.number)
        where = _("I cannot write into this channel; `/retrain status` shows how it goes.")
        await interaction.edit_original_response(content=begun if posted else f"{begun} {where}", view=None)


class Confirmation(Buttons):
    """Asks whether a plan is to be done; answers once."""

    def __init__(self, commands: RetrainCommands, shown_by: discord.Interaction, plan: Plan) -> None:
        super().__init__(timeout=CONFIRM_S)
        self._commands = commands
        self._shown_by = shown_by
        self._plan = plan

    @discord.ui.button(label=N_("Begin"), style=discord.ButtonStyle.success)
    async def confirm(self, interaction: discord.Interaction, _button: "discord.ui.Button[Confirmation]") -> None:
        """Do it."""
        self.stop()
        await interaction.response.defer()
        await self._commands.begin(interaction, self._plan)

    @discord.ui.button(label=N_("Leave it"), style=discord.ButtonStyle.secondary)
    async def leave(self, interaction: discord.Interaction, _button: "discord.ui.Button[Confirmation]") -> None:
        """Do nothing."""
        self.stop()
        await interaction.response.edit_message(content=_("Nothing was begun."), view=None)

    async def on_timeout(self) -> None:
        """Take the buttons away: they would do nothing any more."""
        await self._shown_by.edit_original_response(content=_("Nobody confirmed, so nothing was begun."), view=None)

    async def on_error(
        self, interaction: discord.Interaction, error: Exception, _item: discord.ui.Item[discord.ui.View], /
    ) -> None:
        """Hand errors to the one funnel for commands."""
        await interaction.client.failed(interaction, error)  # type: ignore[attr-defined]


async def _answer(interaction: discord.Interaction, text: str) -> None:
    await interaction.edit_original_response(content=text, allowed_mentions=discord.AllowedMentions.none())


def _remembered(job: Job) -> str:
    by = f"<@{job.order.requested_by}>" if job.order.requested_by is not None else _("a shell")
    when = discord.utils.format_dt(job.created_at, "f")
    learned = ", ".join(job.order.sources)
    learned = learned if len(learned) <= 60 else f"{learned[:59]}…"
    how = _("by {person} · {steps} steps").format(person=by, steps=grouped(job.order.steps))
    return f"**{job.number}** · {standing(job)} · {when} · {how} · {learned}"
