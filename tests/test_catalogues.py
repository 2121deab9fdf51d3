"""The catalogues: complete, with the same values in every language, and within what Discord allows."""

import ast
import asyncio
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discord
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from discord import app_commands

from bot.feedback import SuggestionForm
from bot.persona_form import LineForm, PersonaForm, Typed
from bot.personas import _MINE
from bot.reply_view import EditForm, More
from bot.reports import ReportForm
from bot.speaking import CHOICE, COMMAND, OPTION, Names
from bot.word_form import WordForm
from persona_chat.errors import EngineBusy, PersonaTooLong, ReplyTimeout
from persona_chat.feedback import Feedback, Opinion
from persona_chat.language import (
    LANGUAGES,
    _,
    catalogue_file,
    grouped,
    language_of,
    ngettext,
    pgettext,
    speaking,
)
from persona_chat.persona import NAME_CHARACTERS, Persona
from persona_chat.store.feedback import Mine
from persona_chat.store.store import Store
from tests.catalogues import KEYWORDS, ROOMS, ROOT, commands_of, template

LARGEST_COMMAND = 8000
"""Characters of a command's names, descriptions and choices together, in the language in which they are longest:
https://discord.com/developers/docs/interactions/application-commands#slash-commands"""

NAME = re.compile(r"[-_'\w]{1,32}")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> app_commands.CommandTree[Any]:
    async def made() -> app_commands.CommandTree[Any]:
        return commands_of(tmp_path_factory.mktemp("commands"))

    return asyncio.run(made())


@pytest.fixture(scope="module")
def english(tree: app_commands.CommandTree[Any]) -> Catalog:
    return template(tree)


def texts_of(language: str) -> Catalog:
    with catalogue_file(language).open("rb") as file:
        return read_po(file, locale=language)


def forms(text: object) -> tuple[str, ...]:
    return tuple(text) if isinstance(text, tuple | list) else (str(text),)


def fields(text: str) -> set[str]:
    return {name for _literal, name, _spec, _kind in string.Formatter().parse(text) if name is not None}


def keys(texts: Catalog) -> set[tuple[str, str | None]]:
    return {(forms(message.id)[0], message.context) for message in texts if message.id}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_no_other_one_is_there(english: Catalog, language: str) -> None:
    texts = texts_of(language)
    assert keys(texts) == keys(english), "make messages, and translate what is empty"
    assert not texts.obsolete
    for message in texts:
        assert not message.fuzzy, message.id
        assert all(forms(message.string)), message.id
        assert not message.id or len(forms(message.string)) in (1, texts.num_plurals), message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_values_stand_in_every_language(language: str) -> None:
    for message in texts_of(language):
        if not message.id:
            continue
        wanted = fields(forms(message.id)[-1])
        for text in forms(message.string):
            assert fields(text) == wanted, text
            assert text.count("`") == forms(message.id)[0].count("`"), text
            assert text.count("**") == forms(message.id)[0].count("**"), text


def quoted(message: Message, english: Catalog) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names that a text quotes, with the contexts in which each is one."""
    names = {
        context: {forms(one.id)[0].casefold() for one in english if one.context == context}
        for context in (COMMAND, OPTION, CHOICE)
    }
    for code in re.findall(r"`([^`]+)`", forms(message.id)[0]):
        if code.startswith("/"):
            for word in code[1:].split():
                if ":" in word:
                    yield word.partition(":")[0], (OPTION,)
                else:
                    yield word, (COMMAND,)
        elif contexts := tuple(context for context in names if code.casefold() in names[context]):
            yield code, contexts


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_quote_commands_and_options_as_discord_shows_them(english: Catalog, language: str) -> None:
    texts, found = texts_of(language), 0
    for message in texts:
        if not message.id or all(
            file.startswith("persona_chat/cards/") for file, _line in message.locations or [("", 0)]
        ):
            continue  # those quote the fields of a file
        for name, contexts in quoted(message, english):
            shown = {pgettext_in(language, context, name) for context in contexts}
            assert any(re.search(rf"[`/ ]{re.escape(one)}[`: ]", str(message.string)) for one in shown), (
                message.string,
                shown,
            )
            found += 1
    assert found > 40


@pytest.mark.parametrize(
    ("language", "never"),
    [
        ("es", r"\bla persona\b"),  # it is "el personaje"
        ("fr", r"\bla persona\b"),  # "le personnage"
        ("ja", r"^が"),  # what somebody did goes on after their name and が
    ],
)
def test_words_that_were_chosen_are_kept_to(language: str, never: str) -> None:
    texts = [text for message in texts_of(language) if message.id for text in forms(message.string)]
    assert [text for text in texts if re.search(never, text, re.IGNORECASE)] == []


def pgettext_in(language: str, context: str, name: str) -> str:
    with speaking(language):
        shown = pgettext(context, name)
        return shown if shown != name or context != CHOICE else pgettext(context, name.upper())


def translated(tree: app_commands.CommandTree[Any]) -> list[dict[str, Any]]:
    async def payloads() -> list[dict[str, Any]]:
        return [await command.get_translated_payload(tree, Names()) for command in tree.get_commands()]

    return asyncio.run(payloads())


def parts(command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield command
    for part in (*command.get("options", ()), *command.get("choices", ())):
        yield from parts(part)


def test_names_and_descriptions_are_such_that_discord_takes_them(tree: app_commands.CommandTree[Any]) -> None:
    seen = set()
    for command in translated(tree):
        sizes = dict.fromkeys((locale.value for locale in discord.Locale), 0)
        for part in parts(command):
            choice, menu = "value" in part, command.get("type") == discord.AppCommandType.message.value
            for locale in sizes:
                name = part.get("name_localizations", {}).get(locale, part["name"])
                does = part.get("description_localizations", {}).get(locale, part.get("description", ""))
                assert len(does) <= 100, does
                if choice:
                    assert 1 <= len(name) <= 100
                elif menu and part is command:
                    assert 1 <= len(name) <= 32
                else:
                    assert NAME.fullmatch(name), name
                    assert name == name.lower()
                sizes[locale] += len(name) + len(does) + len(str(part.get("value", "")))
            for locale in sizes:
                for several in ("options", "choices"):
                    names = [
                        one.get("name_localizations", {}).get(locale, one["name"]) for one in part.get(several, ())
                    ]
                    assert len(names) == len(set(names)), (locale, names)
            seen |= set(part.get("name_localizations", ()))
        assert max(sizes.values()) <= LARGEST_COMMAND
    for locale in discord.Locale:
        names = [one.get("name_localizations", {}).get(locale.value, one["name"]) for one in translated(tree)]
        assert len(names) == len(set(names)), names
    assert seen == {"de", "es-ES", "es-419", "fr", "ja"}


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
async def test_forms_and_buttons_fit(store: Store, language: str) -> None:
    async def done(_interaction: discord.Interaction, _persona: Persona) -> None: ...

    async def said(_interaction: discord.Interaction, _line: str) -> None: ...

    async def typed(_interaction: discord.Interaction, _words: tuple[str, ...]) -> None: ...

    opinion = Opinion(1, 1, 1, Mine(None, ""))
    feedback = Feedback(store, lambda _person: False)
    with speaking(language):
        modals = (
            PersonaForm(_("Change the persona"), Typed(), done),
            LineForm(Persona("N" * 50), said),
            EditForm(1, "x"),
            SuggestionForm(feedback, opinion),
            ReportForm(1, None),
            WordForm("", typed),
        )
        for modal in modals:
            assert 1 <= len(modal.title) <= 45
            for label in modal.children:
                assert isinstance(label, discord.ui.Label)
                assert len(label.text) <= 45
                assert len(label.description or "") <= 100
                assert isinstance(label.component, discord.ui.TextInput)
                assert len(label.component.placeholder or "") <= 100
        for title in ("Who talks here?", "A new persona"):
            assert len(_(title)) <= 45
        more = More(1, opinion)
        labels = [item.label or "" for item in more.children if isinstance(item, discord.ui.Button)]
        assert max(map(len, labels)) <= 80
        assert sorted(labels) == sorted(
            [
                "👍",
                "👎",
                _("Should have said …"),
                _("Continue"),
                _("Why this reply?"),
                _("Edit"),
                _("Report"),
                _("Delete"),
            ]
        )
        assert len(_(_MINE)) <= len(_MINE), f"a name of {NAME_CHARACTERS} characters with the mark may be chosen"


def test_a_language_or_text_that_is_not_there_is_english() -> None:
    assert [language_of(locale) for locale in ("de", "es-ES", "es-419", "fr", "ja")] == ["de", "es", "es", "fr", "ja"]
    for locale in ("en-US", "en-GB", "pt-BR", "ko", "", "zh-CN"):
        assert language_of(locale) == "en"
        with speaking(locale):
            assert _("Delete") == "Delete"
    with speaking("de"):
        assert _("Delete") == "Löschen"
        assert _("No catalogue has this.") == "No catalogue has this."
        assert ngettext("{number} thing", "{number} things", 2) == "{number} things"
        assert pgettext("command", "nowhere") == "nowhere"
        assert _("") == ""
    assert _("Delete") == "Delete"


def test_numbers_are_grouped_as_people_are_used_to() -> None:
    written = {}
    for locale in ("en-US", "de", "fr", "ja"):
        with speaking(locale):
            written[locale] = (grouped(12345), grouped(0.5, 1))
    assert written == {
        "en-US": ("12,345", "0.5"),
        "de": ("12.345", "0,5"),
        "fr": ("12\u202f345", "0,5"),
        "ja": ("12,345", "0.5"),
    }


async def test_threads_and_tasks_speak_as_who_started_them() -> None:
    with speaking("de"):
        assert await asyncio.to_thread(_, "Delete") == "Löschen"
        task = asyncio.create_task(asyncio.to_thread(_, "Delete"))
    assert await task == "Löschen"
    assert await asyncio.to_thread(_, "Delete") == "Delete"


def test_errors_are_told_in_the_language_of_who_is_told() -> None:
    errors = EngineBusy(), ReplyTimeout(30), PersonaTooLong(1234, 640)
    assert str(errors[2]).startswith("This persona takes 1,234 tokens and 640 fit.")
    with speaking("de"):
        assert str(errors[0]).startswith("Ich rede gerade mit sehr vielen Leuten.")
        assert "in 30 Sekunden" in str(errors[1])
        assert str(errors[2]).startswith("Diese Persona braucht 1.234 Tokens, und 640 passen hinein.")
    assert "30 seconds" in str(errors[1])


def test_texts_are_marked_so_that_babel_finds_them_and_without_values_in_them() -> None:
    for room in ROOMS:
        for path in Path(ROOT / room).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            marked = [
                node
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS
            ]
            inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
            for node in marked:
                assert not any(isinstance(given, ast.JoinedStr) for given in node.args), (path, node.lineno)
                # Before Python 3.12 an f-string is one token, and Babel finds nothing in it.
                assert id(node) not in inside or not isinstance(node.args[0], ast.Constant), (path, node.lineno)
