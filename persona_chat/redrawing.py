"""Words of a persona that a server's filter stops: they are drawn again, and meanwhile told nobody."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from persona_chat.engine.reply import Follow, Reply, ReplyRequest, Sampling
from persona_chat.errors import Filtered
from persona_chat.language import N_
from persona_chat.moderation import Moderation
from persona_chat.place import Place

NO_CLEAN_WORDS = N_("I found no answer that this server's word filter lets through. Please ask in another way.")

NAME_STOPPED = N_("This server's word filter does not let a persona of that name talk here.")

TRIES = 3
"""How often a reply is drawn before there is none."""

_WARM = 0.7

Write = Callable[[ReplyRequest], Awaitable[Reply]]


async def clean(
    moderation: Moderation, place: Place, request: ReplyRequest, write: Write
) -> tuple[ReplyRequest, Reply]:
    """Let it be written until the filter lets it through; return what was asked in the end too. Raises Filtered."""
    if listed := moderation.words(place.guild_id).stops_output(request.persona.name):
        raise Filtered(NAME_STOPPED, listed)
    for _ in range(TRIES):
        reply = await write(request)
        found = moderation.words(place.guild_id).stops_output(reply.text)
        if found is None:
            return request, reply
        sampling = replace(request.sampling, seed=random.getrandbits(31))
        request = replace(request, sampling=warmed(sampling))
    raise Filtered(NO_CLEAN_WORDS, found or "")


def held_back(moderation: Moderation, place: Place, follow: Follow) -> Follow:
    """The same, but words are told only where no filter reads them: it needs them all."""
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
