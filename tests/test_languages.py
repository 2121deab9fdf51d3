"""Languages in Discord, through the real discord.py against simcord: who is answered how, and nothing is forgotten."""

import gettext
import re
from collections.abc import Callable, Iterator
from typing import Any

import discord
import pytest
import simcord.interactions
from simcord.results import ResponseMessage

import bot
from bot.feedback import tally_line
from bot.speaking import CHOICE, COMMAND, MENU, OPTION, Speaking
from persona_chat import language
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineBusy
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.feedback import Tally
from persona_chat.store.store import Store
from tests.discord_world import World, fill, told, world
from tests.test_command_table import MENUS, NAMES, OPTIONS

VERA = Persona("Vera", "Aa.", ("Bb.",))

Choose = Callable[[str], None]


@pytest.fixture
def locale(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Choose the language of everybody's Discord, which is always American in simcord."""
    chosen, made = ["en-US"], simcord.interactions.base_payload

    def payload(*given: Any, **named: Any) -> Any:
        record, sent = made(*given, **named)
        return record, sent | {"locale": chosen[0]}

    monkeypatch.setattr(simcord.interactions, "base_payload", payload)
    return lambda wanted: chosen.__setitem__(0, wanted)


async def test_a_command_is_answered_in_the_language_of_who_uses_it(
    store: Store, settings: Settings, locale: Choose
) -> None:
    async with world(store, settings) as here:
        for wanted, line in (
            ("de", "Hier redet niemand. Setz mit `/persona setzen` eine Persona."),
            ("es-419", "Aquí no habla nadie. Elige un personaje con `/personaje elegir`."),
            ("es-ES", "Aquí no habla nadie. Elige un personaje con `/personaje elegir`."),
            ("fr", "Personne ne parle ici. Choisis un personnage avec `/personnage choisir`."),
            ("ja", "ここでは誰も話していません。`/ペルソナ 設定`でペルソナを設定してください。"),
            ("en-GB", "Nobody talks here. Set a persona with `/persona set`."),
            ("pt-BR", "Nobody talks here. Set a persona with `/persona set`."),
        ):
            locale(wanted)
            assert [said.content for said in told(await here.guest.slash(here.talk, "persona show"))] == [line]


async def test_errors_buttons_and_forms_are_too(store: Store, settings: Settings, locale: Choose) -> None:
    async with world(store, settings) as here:
        locale("de")
        (refused,) = told(await here.guest.slash(here.talk, "persona test", name="Nemo", message="Hello"))
        assert refused.content == "Es gibt keine Persona namens Nemo. `/persona liste` zeigt, wer da ist."
        (refused,) = told(await here.guest.slash(here.talk, "retrain start"))
        assert refused.content.startswith("Das dürfen nur die Leute, die diesen Bot betreiben")
        form = await here.guest.slash(here.talk, "persona create", for_me=True)
        assert form.modal is not None
        assert form.modal["title"] == "Eine neue Persona"
        assert [part["label"] for part in form.modal["components"]] == ["Name", "Über", "Fakten", "Begrüßung"]
        (again,) = told(await fill(here.guest, form, "Nemo"))
        assert again.content == "Sag etwas über die Persona: in `über`, als Fakten oder beides."
        form = await here.guest.click(again, label="Ändern")
        (draft,) = told(await fill(here.guest, form, "Nemo", "I dive."))
        assert draft.content.startswith("Noch nicht gespeichert.")
        locale("fr")  # the buttons stay as they were sent, the answer is for who presses
        pressed = await here.guest.click(draft, label="Speichern")
        (saved,) = told(pressed) or [draft]
        assert saved.content.startswith("**Nemo** est enregistré. `/personnage choisir nom:Nemo`")
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_waits_for_who_set_it_is_in_their_language_and_a_button_after_a_restart_too(
    store: Store, settings: Settings, locale: Choose
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        locale("de")
        (question,) = told(await here.owner.slash(here.talk, "persona delete", name="Vera"))
        assert question.content.startswith("**Vera** löschen?")
        await here.owner.click(question, label="Löschen")
        locale("ja")
        await here.owner.click(question, label="Rückgängig")
        assert question.content == "**Vera**が戻りました。"


async def test_a_message_is_answered_in_the_servers_language(store: Store, settings: Settings, locale: Choose) -> None:
    async with world(store, settings) as here:
        assert here.bot.user is not None
        hello = f"<@{here.bot.user.id}> Hello"
        await here.guest.send(here.talk, hello)
        assert here.said(here.talk)[-1] == "Nobody is here to talk to yet. Set a persona with `/persona set`."
        locale("de")  # a server that chose nothing says nothing, so what a person used last counts
        await here.guest.slash(here.talk, "help")
        await here.guest.send(here.talk, hello)
        assert here.said(here.talk)[-1].startswith("Hier ist noch niemand, mit dem du reden kannst.")
        await here.guest.send_dm("Hello")
        channel = here.guest.user.dm_channel
        assert channel is not None
        assert channel.history()[-1].content.startswith("Hier ist noch niemand")
        french = here.env.create_guild("Amis", preferred_locale="fr")
        french.add_member(here.guest.user)
        salon = french.create_text_channel("salon")
        await here.env.settle()
        await next(member for member in [french.add_member(here.env.create_user("ami"))]).send(salon, hello)
        assert salon.history()[-1].content.startswith("Il n’y a encore personne à qui parler ici.")


async def test_an_error_from_the_engine_is_told_in_the_servers_language(store: Store, settings: Settings) -> None:
    async with world(store, settings, ScriptedEngine(lambda _request: EngineBusy())) as here:
        await here.seat(VERA)
        assert here.bot.guilds
        here.bot.guilds[0].preferred_locale = discord.Locale.japanese
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1].startswith("今は大勢の方と話しています。")


async def test_a_reaction_is_answered_in_the_language_of_who_reacts(
    store: Store, settings: Settings, locale: Choose
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        locale("fr")
        await here.guest.slash(here.talk, "help")
        await here.guest.react(here.talk.history()[-1], "❓")
        channel = here.guest.user.dm_channel
        assert channel is not None
        (answer,) = [message for message in channel.history() if message.author.bot]
        assert answer.content.startswith("**Vera** est un personnage de <@")
        assert answer.embeds[0].title == "Pourquoi cette réponse ?"


async def test_moderators_read_the_log_in_the_servers_language(
    store: Store, settings: Settings, locale: Choose
) -> None:
    async with world(store, settings) as here:
        await here.bot.chat.moderation.write_to(here.guild.id, here.other.id)
        server = here.bot.guilds[0]
        server.preferred_locale = discord.Locale.japanese
        locale("fr")
        (said,) = told(await here.owner.slash(here.talk, "chat pause"))
        assert said.content == "Je me tais ici. `/discussion reprendre` y met fin."
        where = f" · <#{here.talk.id}>"
        assert here.said(here.other)[-1] == f"<@{here.owner.id}>さんが私を一時停止しました{where}"
        (thanks,) = told(await fill(here.guest, await here.guest.slash(here.talk, "report"), "Rude"))
        assert thanks.content.startswith("Merci. La modération de ce serveur est au courant")
        shown = here.other.last_message
        assert shown.content == f"**報告1**：<@{here.guest.id}>さんから · <#{here.talk.id}>で\n> Rude"
        await here.owner.click(shown, label="対応済み")
        assert here.said(here.other)[-1].endswith(f"\n-# 対応済み：<@{here.owner.id}>さん")
        server.preferred_locale = discord.Locale.american_english  # which it says too when it never chose
        await here.owner.slash(here.talk, "chat resume")
        assert here.said(here.other)[-1] == f"<@{here.owner.id}> a mis fin à ma pause{where}"


def test_what_people_think_is_counted_in_every_language() -> None:
    tally = Tally("warm", 1234, 1200, 34, 1)
    lines = {}
    for language_ in ("en", "de"):
        with language.speaking(language_):
            lines[language_] = tally_line(tally)
    assert lines == {
        "en": "**`warm`**\n1,234 replies judged · 1,200 👍 · 34 👎 · 97% 👍 (96% to 98%) · 1 suggestion",
        "de": "**`warm`**\n1.234 Antworten bewertet · 1.200 👍 · 34 👎 · 97 % 👍 (96 % bis 98 %) · 1 Vorschlag",
    }


async def test_discord_is_told_the_names_in_every_language(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        sent = next(request for request in here.env.http_requests if request.path.endswith("/commands"))
        persona = next(command for command in sent.json if command["name"] == "persona")
        assert persona["name_localizations"] == {
            "es-ES": "personaje",
            "es-419": "personaje",
            "fr": "personnage",
            "ja": "ペルソナ",
        }
        setting = next(option for option in persona["options"] if option["name"] == "set")
        assert setting["name_localizations"]["de"] == "setzen"
        assert setting["options"][0]["name_localizations"]["fr"] == "nom"


def every_subclass(of: type) -> Iterator[type]:
    for sub in of.__subclasses__():
        yield from (sub, *every_subclass(sub))


def test_all_buttons_and_forms_know_the_language_of_who_uses_them() -> None:
    ours = {
        sub
        for kind in (discord.ui.View, discord.ui.Modal, discord.ui.DynamicItem, discord.app_commands.CommandTree)
        for sub in every_subclass(kind)
        if sub.__module__.startswith(f"{bot.__name__}.")
    }
    assert len(ours) > 12
    for kind in ours:
        assert issubclass(kind, Speaking), f"{kind.__name__} answers in English always: bot/speaking.py"


# What stands outside of marked texts in an answer: names and values that are the same in every language.
SAME = re.compile(
    r"\[[^\[\]]*\]|<[^>]*>|`[^`]*`|Vera|Gus|Kit|default|Aa|Bb|embedded|MB|GB|min-p|top-p|top-k|temperature|seed|"
    r"repetition penalty|heard|Hello|min|https?://\S*|persona-chat/\S+|\.jsonl"
)


class Marked(gettext.NullTranslations):
    """A language in which every text stands in brackets."""

    def gettext(self, message: str) -> str:
        return f"[{message}]"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"[{msgid1 if n == 1 else msgid2}]"

    def pgettext(self, context: str, message: str) -> str:
        return message if context in (COMMAND, MENU, OPTION, CHOICE) else f"[{message}]"


def unmarked(text: str) -> str:
    """What of a text does not come from the catalogues."""
    while (shorter := SAME.sub("", text)) != text:
        text = shorter
    return " ".join(re.findall(r"[A-Za-z]{2,}", text))


def shown(message: ResponseMessage) -> Iterator[str]:
    yield message.content
    for card in message.embeds:
        if not (card.title or "").startswith(("Vera", "Kit")):  # a portrait holds the persona's own words
            yield card.title or ""
            yield card.description or ""
            yield from (part for field in card.fields for part in (field.name or "", field.value or ""))
        yield card.footer.text or ""
    yield from (str(button.get("label", "")) for row in message.components for button in row.get("components", ()))


@pytest.mark.parametrize("name", [*NAMES, *MENUS])
async def test_no_text_is_forgotten(
    store: Store, settings: Settings, name: str, locale: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = language._catalogue
    monkeypatch.setattr(language, "_catalogue", lambda wanted: Marked() if wanted == "de" else real(wanted))
    async with world(store, settings) as here:
        await here.seat(VERA)
        here.bot.admins.add(here.owner.id)
        await here.guest.send(here.talk, "Hello")
        locale("de")
        for person in (here.owner, here.guest):
            lines = await texts_of(here, person, name)
            here.env._errors_acknowledged = here.env.error_cursor
            for line in lines:
                assert not unmarked(line), f"{line!r} is not marked with _: CONTRIBUTING.md"


async def texts_of(here: World, person: Any, name: str) -> list[str]:
    """Everything that somebody reads who uses a command, or an entry in the menu of the last reply."""
    if name in MENUS:
        result = await person.context_menu(here.talk, name, here.talk.last_message)
    else:
        result = await person.slash(here.talk, name, **OPTIONS.get(name, {}))
    if result.modal is not None:
        labels = [(part["label"], part.get("description", "")) for part in result.modal["components"]]
        return [result.modal["title"], *(text for label in labels for text in label)]
    return [text for message in told(result) for text in shown(message)]
