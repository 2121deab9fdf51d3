"""What a person who never saw the bot does in the demo, one thing after the other, on its page in headless Chromium.

The pictures in docs/images are taken here: PERSONA_CHAT_TESTS_PICTURES=docs/images make test ARGS=tests/test_journey.py
"""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.demo_page import REPLY_MS, demo, form, page_of, picture, press, press_until, say, use

pytestmark = [pytest.mark.browser, pytest.mark.model, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

CARD = {
    "name": "Kit",
    "description": "Kit is a fox. She lives in an old wood.",
    "personality": "sly",
    "scenario": "A garden at night.",
    "first_mes": "Psst!",
    "mes_example": "",
}


def test_from_a_new_persona_to_being_forgotten(browser: Browser, data_dir: Path, tmp_path: Path) -> None:
    card = tmp_path / "kit.json"
    card.write_text(json.dumps(CARD))
    with demo(data_dir) as (address, _process), page_of(browser, address) as page:
        # Created with a form, tried, saved, set.
        use(page, "persona create")
        form(
            page,
            "A new persona",
            Name="Nemo",
            About="I am Nemo, the captain of a submarine.",
            Facts="I play the organ.\nI hate the surface.",
            Greeting="Welcome aboard!",
        )
        expect(page.get_by_text("Not saved yet.").last).to_be_visible(timeout=REPLY_MS)
        press(page, "Try it")
        form(page, "Say something to Nemo", Your_message="What do you play?")
        expect(page.get_by_text("What do you play?").last).to_be_visible(timeout=REPLY_MS)
        picture(page, "create")
        press(page, "Save")
        expect(page.get_by_text("Nemo is saved").last).to_be_visible(timeout=REPLY_MS)
        use(page, "persona set", name="Nemo")
        expect(page.get_by_text("Nemo is talking here now").last).to_be_visible(timeout=REPLY_MS)
        expect(page.get_by_text("Welcome aboard!").last).to_be_visible(timeout=REPLY_MS)

        # A talk; another version, and back; why.
        first = say(page, "Hello! What do you play?")
        # A press while the page takes over the end of a draft is lost; the model needs a part of this time.
        second = page.get_by_role("button", name="2/2", exact=True)
        press_until(lambda: press(page, "🔁"), lambda: expect(second).to_be_visible(timeout=REPLY_MS / 4))
        press(page, "◀")
        expect(page.get_by_role("button", name="1/2", exact=True)).to_be_visible(timeout=REPLY_MS)
        expect(page.get_by_text(first).last).to_be_visible()
        picture(page, "versions")
        press(page, "⋯")
        press(page, "Why this reply?")
        expect(page.get_by_text("The model read").last).to_be_visible(timeout=REPLY_MS)
        picture(page, "why")

        # Other words for the persona.
        use(page, "persona edit", name="Nemo")
        form(page, "Change the persona", Facts="I play the drums.\nI hate the surface.")
        expect(page.get_by_text("These changes are not saved yet.").last).to_be_visible(timeout=REPLY_MS)
        press(page, "Save")
        expect(page.get_by_text("Nemo is saved").last).to_be_visible(timeout=REPLY_MS)

        # Out as a card, and another one in.
        use(page, "persona export", name="Nemo")
        expect(page.get_by_text("as a character card").last).to_be_visible(timeout=REPLY_MS)
        picture(page, "export")
        use(page, "persona import", file=card)
        expect(page.get_by_text("I live in an old wood.").last).to_be_visible(timeout=REPLY_MS)
        expect(page.get_by_text("the scenario").last).to_be_visible()
        picture(page, "import")
        press(page, "Save")
        expect(page.get_by_text("Kit is saved").last).to_be_visible(timeout=REPLY_MS)

        # What is kept, and that it goes.
        use(page, "privacy forget")
        press(page, "Delete my data")
        expect(page.get_by_text("Deleted").last).to_be_visible(timeout=REPLY_MS)
        picture(page, "forget")
