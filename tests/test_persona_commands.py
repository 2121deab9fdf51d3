"""`/persona` in Discord, through the real discord.py against simcord: set, show, clear, and what is refused."""

import pytest

from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


async def test_show_and_clear_say_who_talks_and_that_it_left(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for command in ("persona show", "persona clear"):
            nobody = await here.guest.slash(here.talk, command)
            assert nobody.ephemeral
            assert nobody.response is not None
            assert "has no persona" in nobody.response.content

        await here.guest.slash(here.talk, "persona set", name="Vera", facts="I have a parrot. I sail.")
        shown = await here.guest.slash(here.talk, "persona show")
        assert shown.ephemeral
        assert shown.response is not None
        assert shown.response.embeds[0].title == "Vera"
        assert shown.response.embeds[0].description == "• I have a parrot.\n• I sail."

        cleared = await here.guest.slash(here.talk, "persona clear")
        assert cleared.response is not None
        assert "**Vera** has left" in cleared.response.content
        before = len(here.said(here.talk))
        await here.guest.send(here.talk, "Still there?")
        assert len(here.said(here.talk)) == before


async def test_without_options_a_form_opens_with_what_is_there(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        store.set_persona(here.talk.id, VERA)
        await here.bot.chat.start()
        form = await here.guest.slash(here.talk, "persona set")
        assert form.modal is not None
        assert "I keep a lighthouse." in str(form.modal)
        fields = [part["component"]["custom_id"] for part in form.modal["components"]]
        done = await here.guest.submit_modal(
            form,
            dict(
                zip(fields, ["Nemo", "I live in a submarine.", "I hate the surface.\nI play the organ."], strict=True)
            ),
        )
        assert done.response is not None
        assert "**Nemo** is talking here now, in place of **Vera**." in done.response.content
        assert store.persona(here.talk.id) == Persona(
            "Nemo", "I live in a submarine.", ("I hate the surface.", "I play the organ.")
        )


async def test_setting_the_same_persona_twice_is_no_error(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for expected in ("is talking here now", "is talking here already"):
            result = await here.guest.slash(here.talk, "persona set", name="Vera", about="A keeper.")
            assert result.response is not None
            assert expected in result.response.content


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "Vera"}, "Say something about the persona"),
        ({"about": "I keep a lighthouse."}, "needs a name"),
        ({"name": "\u200b", "about": "x"}, "a name that can be read"),
        ({"name": "V", "facts": "\n".join(f"I know {number}." for number in range(10_000))[:6000]}, "50 are allowed"),
        ({"name": "V", "about": "word " * 700}, "tokens and 640 fit"),
    ],
)
async def test_a_persona_that_cannot_be_is_refused_privately_and_nothing_changes(
    store: Store, settings: Settings, options: dict[str, str], says: str
) -> None:
    async with world(store, settings) as here:
        store.set_persona(here.talk.id, VERA)
        result = await here.guest.slash(here.talk, "persona set", **options)
        told = [*result.followups, *([result.response] if result.response else [])]
        assert [says in line.content and line.ephemeral for line in told] == [True]
        assert store.persona(here.talk.id) == VERA
        assert here.env.errors  # simcord notes what the funnel caught
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_persona_may_be_called_by_an_emoji(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.guest.slash(here.talk, "persona set", name="🦜", about="I am a parrot.")
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1] == "🦜 heard: Hello (1)"


async def test_the_commands_are_known_to_discord(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        assert set(here.guest.available_commands(here.talk)) == {
            *("persona set", "persona show", "persona clear"),
            *("retrain start", "retrain status", "retrain cancel", "retrain history"),
            *("adapter list", "adapter use", "adapter rollback"),
        }
