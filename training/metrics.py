"""The names of all metrics, in the order in which they are shown, and reading which of them are asked for."""

from collections.abc import Mapping

from persona_chat.errors import InputError

GROUPS: Mapping[str, tuple[str, ...]] = {
    "perplexity": (
        "perplexity",
        "perplexity_without_persona",
        "persona_gain",
        "perplexity_grounded",
        "persona_gain_grounded",
    ),
    "hits": ("hits_at_1", "hits_at_1_by_gain"),
    "replies": (
        "f1",
        "f1_floor",
        "distinct_1",
        "distinct_2",
        "distinct_2_references",
        "repeated_4grams",
        "protocol_errors",
        "mean_words",
    ),
    "swap": ("swap_accuracy",),
    "facts": ("fact_accuracy", "fact_accuracy_direct", "fact_accuracy_indirect", "fact_accuracy_opposite"),
}

NAMES = tuple(name for group in GROUPS.values() for name in group)

# Neither shares nor anything else between 0 and 1.
NUMBERS = frozenset({*GROUPS["perplexity"], "mean_words"})


def read_metrics(text: str) -> frozenset[str]:
    """Read names of metrics and of groups, with commas between. Raises InputError that lists them.

    `perplexity` is a group, and a metric of it; it means the group.
    """
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in GROUPS and name not in NAMES]
    if unknown or not asked:
        what = f"There is no metric {', '.join(unknown)}" if unknown else "--metrics names none"
        raise InputError(f"{what}. Groups: {', '.join(GROUPS)}. Metrics: {', '.join(NAMES)}.")
    return frozenset(name for part in asked for name in GROUPS.get(part, (part,)))


def needs(wanted: frozenset[str], group: str) -> bool:
    """Whether a metric of this group is wanted."""
    return not wanted.isdisjoint(GROUPS[group])
