"""What of a card is not taken, in plain words, and whether it is for adults. It knows cards, and no persona."""

from collections.abc import Iterable

from persona_chat.cards.card import Card
from persona_chat.cards.prose import sentences
from persona_chat.cards.telling import Told
from persona_chat.language import _, grouped, ngettext

_ADULT_TEXT = "nsfw 18+ r18 r-18 adult explicit smut erotic erotica porn hentai xxx lewd"
_ADULT = frozenset(_ADULT_TEXT.split())


def not_taken(card: Card) -> list[str]:
    """Return the fields for which a persona has no place."""
    named = (
        (card.scenario, _("the scenario")),
        (card.system_prompt, _("the system prompt")),
        (card.post_history_instructions, _("the instructions after the history")),
        (card.creator_notes, _("the creator's notes")),
    )
    lines = sum(
        bool(line.strip()) and not line.strip().upper().startswith("<START>") for line in card.mes_example.splitlines()
    )
    # `ccdefault:` means the card's own picture.
    files = sum(asset.get("uri") != "ccdefault:" for asset in card.assets)
    book, others = len(card.character_book.entries), len(card.alternate_greetings)
    group = len(card.group_only_greetings)
    counted = (
        (lines, ngettext("example dialogue ({number} line)", "example dialogue ({number} lines)", lines)),
        (book, ngettext("a lorebook of {number} entry", "a lorebook of {number} entries", book)),
        (others, ngettext("{number} other greeting", "{number} other greetings", others)),
        (group, ngettext("{number} greeting for groups", "{number} greetings for groups", group)),
        (files, ngettext("{number} further picture or file", "{number} further pictures or files", files)),
    )
    return [words for text, words in named if text.strip()] + _counted(counted)


def not_said(told: Told, *, too_many: int, about: str) -> list[str]:
    """Return what of the description and the personality is not in the persona."""
    cut = sum(len(sentences(text)) for text in dict.fromkeys(told.about)) - len(sentences(about))
    many = told.too_many + too_many + max(0, cut)
    too_long = ngettext("{number} sentence that was too long", "{number} sentences that were too long", told.too_long)
    broken = ngettext(
        "{number} sentence with a link or a mention", "{number} sentences with a link or a mention", told.broken
    )
    counted = (
        (many, ngettext("{number} sentence that was too many", "{number} sentences that were too many", many)),
        (told.too_long, too_long),
        (told.broken, broken),
        (told.orders, ngettext("{number} instruction to the model", "{number} instructions to the model", told.orders)),
    )
    scene = [_("what the description says of the scene")] if told.scene else []
    return scene + _counted(counted)


def is_adult(card: Card) -> bool:
    """Whether the card's tags, or what a card site noted in its extensions, say that it is for adults."""
    tags = {word for tag in card.tags for word in (tag.lower().strip(), *tag.lower().split())}
    noted = [card.extensions, *(value for value in card.extensions.values() if isinstance(value, dict))]
    return bool(tags & _ADULT) or any(value.get("nsfw") is True for value in noted)


def _counted(counted: Iterable[tuple[int, str]]) -> list[str]:
    return [words.format(number=grouped(count)) for count, words in counted if count]
