"""Words of a persona that a server's filter stops: they are drawn again, and meanwhile told nobody."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from persona_chat.engine.reply import Follow, Reply, ReplyRequest, Sampling
from persona_chat.errors import Filtered
from persona_chat.moderation import Moderation
from persona_chat.place import Place

NO_CLEAN_WORDS = "I found no answer that this server's word filter lets through. Please ask in another way."

TRIES = 3
"""How often a reply is drawn before there is none."""

_WARM = 0.7

Write = Callable[[ReplyRequest], Awaitable[Reply]]


async def clean(moderation: Moderation, place: Place, request: ReplyRequest, write: Write) -> tuple[ReplyRequest, Reply]:
    """Let it be written until the filter lets it through; return what was asked in the end too. Raises Filtered."""
    for _ in range(TRIES):
        reply = await write(request)
        listed = moderation.words(place.guild_id).stops_output(reply.text)
        if listed is None:
            return request, reply
        sampling = replace(request.sampling, seed=random.getrandbits(31))
        request = replace(request, sampling=warmed(sampling))
    raise Filtered(NO_CLEAN_WORDS, listed)


def held_back(moderation: Moderation, place: Place, follow: Follow) -> Follow:
    """The same, but while a filter reads what personas say there, none of their words is told before they are all there."""
    told = follow.grown
    if told is None:
        return follow

    def grown(words: str) -> None:
        if not moderation.words(place.guild_id).filtering.reads_output:
            told(words)

    return Follow(follow.placed, grown)


def warmed(sampling: Sampling) -> Sampling:
    """The same, but not greedy: then it would be the same words each time."""
    return sampling if sampling.temperature else replace(sampling, temperature=_WARM)
