"""Whether remembering what fell out of the window helps: `python -m benchmarks.memory --valid spc_valid.jsonl.gz`.

The references of long dialogues are scored with a window of the last turns alone, with notes of the earlier ones, and
with the whole dialogue. Lower is better. Made dialogues come back to what Person B said earlier, of which the persona
says nothing.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.notes import notes
from persona_chat.persona import Persona
from persona_chat.settings import load_settings
from training import measures
from training.fact_dialogues import dialogues
from training.rows import read_rows
from training.sample import choose_rows
from training.scoring import Scorer
from training.systems import Asking, Bench, find

WINDOW = 5
"""Turns that are read, the last of Person A among them."""


@dataclass(frozen=True)
class Case:
    """A dialogue, and what Person B says next."""

    group: str
    persona: Persona
    dialogue: Dialogue
    reference: str

    @property
    def earlier(self) -> Dialogue:
        """The turns that have fallen out of the window."""
        return self.dialogue[:-WINDOW]

    @property
    def late(self) -> Dialogue:
        """The turns in the window."""
        return self.dialogue[-WINDOW:]


def long_rows(file: Path, count: int) -> list[Case]:
    """Rows of at least twelve turns."""
    rows = [row for row in read_rows(str(file)) if len(row.dialogue) >= 12]
    return [Case(row.conv_id, row.persona, row.dialogue, row.reference) for row in choose_rows(rows, count)]


def coming_back(count: int, seed: int) -> list[Case]:
    """Made dialogues that ask a second time about one thing; the persona has no facts, and only what it said tells."""
    cases: list[Case] = []
    for number, made in enumerate(dialogues(20 * count, seed)):
        topics = [pair.topic for pair in made.pairs]
        again = [at for at, topic in enumerate(topics) if topic and topic in topics[:at]]
        if not again:
            continue
        last = made.pairs[again[0]]
        first = topics.index(last.topic)
        between = [pair for pair in made.pairs if pair.topic != last.topic and pair.topic][: WINDOW // 2]
        if len(between) < WINDOW // 2:
            continue
        said = [made.pairs[first], *between]
        turns = [turn for pair in said for turn in (Turn(Speaker.A, pair.asked), Turn(Speaker.B, pair.answered))]
        asked = (*turns, Turn(Speaker.A, last.asked))
        cases.append(Case(f"made-{number}", Persona("", "", ()), asked, last.answered))
        if len(cases) == count:
            break
    return cases


def measured(cases: Sequence[Case], adapter: str, data_dir: Path) -> dict[str, Any]:
    """The perplexity of the references in each way, with the difference to the window alone."""
    noted = [notes(case.earlier, case.persona) for case in cases]

    def with_notes(case: Case, at: int) -> tuple[Persona, Dialogue]:
        return replace(case.persona, facts=(*case.persona.facts, *noted[at])), case.late

    ways: dict[str, Callable[[Case, int], tuple[Persona, Dialogue]]] = {
        "window": lambda case, _: (case.persona, case.late),
        "notes": with_notes,
        "whole": lambda case, _: (case.persona, case.dialogue),
    }
    bench = Bench(load_settings(base="embedded", data_dir=data_dir), Asking())
    groups = [case.group for case in cases]
    found: dict[str, Any] = {"cases": len(cases), "with notes": sum(map(bool, noted))}
    with bench.under(find(adapter, data_dir)) as system:
        scorer = Scorer(system.model, system.base)
        for name, way in ways.items():
            pairs = []
            for at, case in enumerate(cases):
                persona, turns = way(case, at)
                prompt = system.prompting.prompt(persona, system.prompting.window(persona, turns))
                pairs.append((prompt, system.prompting.completion(case.reference)))
            scores = scorer.score(pairs, lambda _: None)
            tokens, logp = [one.tokens for one in scores], [one.logp for one in scores]
            one = measures.perplexity(groups, logp, tokens)
            found[name] = {"value": one.value, "low": one.low, "high": one.high}
            if name == "window":
                alone = logp
            else:
                gained = measures.gain(groups, logp, alone, tokens)
                found[name]["gain"] = {"value": gained.value, "low": gained.low, "high": gained.high}
    for case, some in list(zip(cases, noted, strict=True))[:5]:
        print(json.dumps({"reference": case.reference, "notes": some}, ensure_ascii=False))
    assert all(math.isfinite(found[name]["value"]) for name in ways)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--valid", type=Path, help="rows of dialogues, such as spc_valid.jsonl.gz")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    sets = {"made": coming_back(given.count, 5)}
    if given.valid is not None:
        sets["natural"] = long_rows(given.valid, given.count)
    for name, cases in sets.items():
        print(name, json.dumps(measured(cases, given.adapter, given.data_dir)))


if __name__ == "__main__":
    main()
