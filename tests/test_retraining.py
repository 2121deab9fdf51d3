"""Retraining with the real trainer, on a base that is trained in a moment: what is done, and what ends it."""

import pytest

from persona_chat.store.jobs import State
from tests.training_fixtures import Workshop

pytestmark = [pytest.mark.timeout(600)]


async def test_a_candidate_that_is_as_good_goes_into_service(workshop: Workshop) -> None:
    plan = await workshop.retraining.plan()
    async with workshop.retraining.working():
        job = await workshop.retraining.start(plan)
        job = await workshop.retraining.ended(job.number)
    print(job)
    assert (job.state, job.reason) == (State.PROMOTED, None)
