"""In which language people are spoken to. Texts for people are marked with `_` and looked up when they are shown.

The language is the one of the task at hand: a ContextVar, which tasks and `asyncio.to_thread` inherit. The sources
hold English; catalogues in `locale/` hold the others, and what they lack is said in English. It knows no Discord.
"""

import gettext as catalogues
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from pathlib import Path

ENGLISH = "en"
LANGUAGES = ("de", "es", "fr", "ja")
"""Those that have a catalogue."""

LOCALE = Path(__file__).parent / "locale"

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def _(text: str) -> str:
    """Return a text in the language of now. Values are put in afterwards: `_("… {name} …").format(name=…)`."""
    return _catalogue(_language.get()).gettext(text) if text else ""


def N_(text: str) -> str:  # noqa: N802  gettext's own name for it
    """Mark a text that is looked up later, by `_` where it is shown: for constants, and for labels of buttons."""
    return text


def ngettext(one: str, many: str, count: int) -> str:
    """Return the text for so many. `one` and `many` are the English ones."""
    return _catalogue(_language.get()).ngettext(one, many, count)


def pgettext(context: str, text: str) -> str:
    """Return a text that means one thing here and may mean another elsewhere."""
    return _catalogue(_language.get()).pgettext(context, text)


def grouped(value: float, places: int = 0) -> str:
    """Write a number as the language of now groups its digits."""
    if _language.get() == ENGLISH:
        return f"{value:,.{places}f}"
    from babel.numbers import format_decimal

    return format_decimal(value, f"#,##0.{'0' * places}" if places else "#,##0", locale=_language.get())


def language_of(locale: str) -> str:
    """Return the language that is spoken where Discord says `locale`, such as "es-419"; English where we know none."""
    language = locale.partition("-")[0]
    return language if language in LANGUAGES else ENGLISH


def speak(locale: str) -> None:
    """From now on, to the end of this task, speak so."""
    _language.set(language_of(locale))


@contextmanager
def speaking(locale: str) -> Iterator[None]:
    """Speak so inside the block."""
    before = _language.set(language_of(locale))
    try:
        yield
    finally:
        _language.reset(before)


def catalogue_file(language: str) -> Path:
    """Where the texts of a language lie."""
    return LOCALE / language / "LC_MESSAGES" / "persona_chat.po"


def load() -> None:
    """Read every catalogue, so that nobody waits for it later. Takes some tenths of a second."""
    for language in LANGUAGES:
        _catalogue(language)


@cache
def _catalogue(language: str) -> catalogues.NullTranslations:
    """The texts of a language. They are compiled here, in memory: no compiled file can be older than its source."""
    if language == ENGLISH:
        return catalogues.NullTranslations()
    # Babel is only needed where another language is spoken: the command line starts without it.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with catalogue_file(language).open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return catalogues.GNUTranslations(compiled)
