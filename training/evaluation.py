"""Measuring one system on rows and probes. It prints nothing and loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from persona_chat.errors import InputError
from training.likelihood import Told, measure_hits, measure_perplexity, measure_swap
from training.measures import Measured
from training.metrics import NAMES, needs
from training.probes import Probe
from training.prompting import ask
from training.replies import measure_facts, measure_replies
from training.rows import Row
from training.systems import System


@dataclass(frozen=True)
class Task:
    """What is to be measured. Distractors come from `pool`, the whole file."""

    wanted: frozenset[str]
    rows: Sequence[Row] = ()
    pool: Sequence[Row] = ()
    probes: Sequence[Probe] = ()


@dataclass(frozen=True)
class Scores:
    """What was measured, in the order of the metrics' names, and on how many rows and probes."""

    rows: int
    probes: int
    metrics: dict[str, Measured]


def measure(system: System, task: Task, told: Told) -> Scores:
    """Return the wanted metrics; those that these rows do not allow are absent.

    Raises InputError when no row fits the window, AdapterRefused when what the model computes is not finite.
    """
    asked = ask(system.prompting, task.rows)
    if task.rows and not asked:
        raise InputError("None of the rows fits the window: the persona and the last turn alone are too long.")
    wanted, found = task.wanted, dict[str, Measured]()
    if asked and needs(wanted, "perplexity"):
        both = not wanted.isdisjoint({"perplexity_without_persona", "persona_gain", "persona_gain_grounded"})
        found |= measure_perplexity(system, asked, told, both=both)
    if asked and needs(wanted, "hits"):
        found |= measure_hits(system, asked, task.pool, told, by_gain="hits_at_1_by_gain" in wanted)
    if asked and needs(wanted, "replies"):
        found |= measure_replies(system, asked, told)
    if asked and needs(wanted, "swap"):
        found |= measure_swap(system, asked, told)
    if task.probes and needs(wanted, "facts"):
        found |= measure_facts(system, task.probes, told)
    return Scores(
        len(asked), len(task.probes), {name: found[name] for name in NAMES if name in found and name in wanted}
    )
