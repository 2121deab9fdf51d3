"""What of a card is not taken, in plain words, and whether it is for adults. It knows cards, and no persona."""

from persona_chat.cards.card import Card
from persona_chat.cards.prose import sentences
from persona_chat.cards.telling import Told

_ADULT_TEXT = "nsfw 18+ r18 r-18 adult explicit smut erotic erotica porn hentai xxx lewd"
_ADULT = frozenset(_ADULT_TEXT.split())


def not_taken(card: Card) -> list[str]:
    """Return the fields for which a persona has no place."""
    named = (
        (card.scenario, "the scenario"),
        (card.system_prompt, "the system prompt"),
        (card.post_history_instructions, "the instructions after the history"),
        (card.creator_notes, "the creator's notes"),
    )
    lines = sum(
        bool(line.strip()) and not line.strip().upper().startswith("<START>") for line in card.mes_example.splitlines()
    )
    # `ccdefault:` means the card's own picture.
    files = sum(asset.get("uri") != "ccdefault:" for asset in card.assets)
    counted = (
        (lines, "example dialogue ({} line{s})"),
        (len(card.character_book.entries), "a lorebook of {} entr{ies}"),
        (len(card.alternate_greetings), "{} other greeting{s}"),
        (len(card.group_only_greetings), "{} greeting{s} for groups"),
        (files, "{} further picture{s} or file{s}"),
    )
    return [words for text, words in named if text.strip()] + [
        _counted(words, number) for number, words in counted if number
    ]


def not_said(told: Told, *, too_many: int, about: str) -> list[str]:
    """Return what of the description and the personality is not in the persona."""
    cut = sum(len(sentences(text)) for text in dict.fromkeys(told.about)) - len(sentences(about))
    counted = (
        (told.too_many + too_many + max(0, cut), "{} sentence{s} that {were} too many"),
        (told.too_long, "{} sentence{s} that {were} too long"),
        (told.broken, "{} sentence{s} with a link or a mention"),
        (told.orders, "{} instruction{s} to the model"),
    )
    scene = ["what the description says of the scene"] if told.scene else []
    return scene + [_counted(words, number) for number, words in counted if number]


def is_adult(card: Card) -> bool:
    """Whether the card's tags, or what a card site noted in its extensions, say that it is for adults."""
    tags = {word for tag in card.tags for word in (tag.lower().strip(), *tag.lower().split())}
    noted = [card.extensions, *(value for value in card.extensions.values() if isinstance(value, dict))]
    return bool(tags & _ADULT) or any(value.get("nsfw") is True for value in noted)


def _counted(words: str, number: int) -> str:
    one = number == 1
    return words.format(f"{number:,}", s="" if one else "s", ies="y" if one else "ies", were="was" if one else "were")
