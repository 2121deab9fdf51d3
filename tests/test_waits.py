"""The demo's waits: the simulated Discord does not wait for the model, whoever awaits it."""

import asyncio

import simcord

from bot.demo import Waits
from tests.discord_world import make_bot


async def test_a_task_that_the_simulated_discord_does_not_know_may_wait_for_the_model_too(store, settings):
    waits = Waits()
    bot = make_bot(store, settings)
    async with simcord.run(bot) as env:
        waits.env = env
        model = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, model.set_result, "exchanged")
        assert await waits(model) == "exchanged"
