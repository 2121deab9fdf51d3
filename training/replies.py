"""Replies that a system writes by itself, and what is measured of them. They are the same ones every time."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from persona_chat import template
from persona_chat.engine.again import another, worth_another_try
from persona_chat.engine.reply import Finish, Sampling
from persona_chat.engine.row import Limits, Row
from training import measures
from training.likelihood import Told
from training.measures import Measured
from training.probes import KINDS, Probe, is_right
from training.prompting import Asked
from training.sample import spread
from training.systems import System

# More replies have fewer different words among them, so the number is fixed; with fewer rows it is all of them.
DISTINCT_REPLIES = 200


@dataclass(frozen=True)
class Written:
    """What a system wrote: all of it, the reply in it, and whether it stopped by itself."""

    completion: str
    reply: str
    stopped: bool


def write_each(system: System, prompts: Sequence[list[int]], told: Callable[[int], None]) -> list[Written]:
    """Let the system reply to every prompt by the code that serves, several at once. Raises EngineFailed."""
    rows = [
        # The seed is the row's number: the same words each time, and others for each row.
        _row(prompt, replace(system.sampling, seed=number))
        for number, prompt in enumerate(prompts)
    ]
    numbers = {row: number for number, row in enumerate(rows)}
    waiting, over = deque(rows), 0
    while over < len(rows):
        if waiting and system.batch.takes:
            system.batch.add(waiting.popleft())
        ended = system.batch.turn()
        for row in ended:
            first = numbers.pop(row, None)
            if first is not None and row.failed is None and worth_another_try(template.read_reply(row.text)):
                rows[first] = _row(row.prompt, another(row.sampling))
                waiting.append(rows[first])
            else:
                over += 1
        if ended:
            told(over)
    return [_written(row) for row in rows]


def _row(prompt: Sequence[int], sampling: Sampling) -> Row:
    return Row(tuple(prompt), sampling, Limits(math.inf, ()), template.ends_reply)


def _written(row: Row) -> Written:
    if row.failed is not None:
        raise row.failed
    return Written(row.text, template.read_reply(row.text), row.finish is Finish.STOP)


def measure_replies(system: System, asked: Sequence[Asked], told: Told) -> dict[str, Measured]:
    """Let the system reply to every row, and measure the replies beside the references."""
    written = write_each(system, [one.prompt for one in asked], lambda done: told("replies", done, len(asked)))
    groups, references = [one.row.conv_id for one in asked], [one.row.reference for one in asked]
    replies = [one.reply for one in written]

    def mean(values: Sequence[float]) -> Measured:
        return measures.mean(groups, values)

    compared = spread(list(zip(groups, replies, references, strict=True)), DISTINCT_REPLIES)
    some_groups, some_replies, some_references = (list(column) for column in zip(*compared, strict=True))
    return {
        "f1": mean([measures.f1(*both) for both in zip(replies, references, strict=True)]),
        "f1_floor": mean([measures.f1(measures.CONSTANT_REPLY, reference) for reference in references]),
        "distinct_1": measures.distinct(some_groups, some_replies, 1),
        "distinct_2": measures.distinct(some_groups, some_replies, 2),
        "distinct_2_references": measures.distinct(some_groups, some_references, 2),
        "repeated_4grams": mean([measures.repeats_itself(reply) for reply in replies]),
        "protocol_errors": mean(
            [measures.breaks_the_form(one.completion, one.reply, stopped=one.stopped) for one in written]
        ),
        "mean_words": mean([len(reply.split()) for reply in replies]),
    }


def measure_facts(system: System, probes: Sequence[Probe], told: Told) -> dict[str, Measured]:
    """Measure how many probes get a right reply, all and by kind; intervals are by persona."""
    prompts = [
        system.prompting.prompt(probe.persona, system.prompting.window(probe.persona, probe.dialogue))
        for probe in probes
    ]
    written = write_each(system, prompts, lambda done: told("facts", done, len(probes)))
    judged = [(probe, is_right(probe, one.reply)) for probe, one in zip(probes, written, strict=True)]
    found = {"fact_accuracy": _share(judged)}
    for kind in KINDS:
        if of_kind := [one for one in judged if one[0].kind == kind]:
            found[f"fact_accuracy_{kind}"] = _share(of_kind)
    return found


def _share(judged: Sequence[tuple[Probe, bool]]) -> Measured:
    return measures.mean([probe.persona_id for probe, _ in judged], [right for _, right in judged])
