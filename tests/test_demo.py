"""The demo as a person meets it: `persona-chat demo` in a process of its own, its page in headless Chromium.

The pictures of the README are taken here: PERSONA_CHAT_TESTS_PICTURES=docs/images make test ARGS=tests/test_demo.py
"""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.demo_page import GB, PRESS_MS, REPLY_MS, demo, page_of, picture, press_until, say

pytestmark = [pytest.mark.browser, pytest.mark.model, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]


def set_persona(page: Page, name: str, about: str, facts: str) -> None:
    """Use `/persona set` without options and fill its form."""
    page.get_by_placeholder("Message #talk").click()
    page.keyboard.type("/persona set")
    page.keyboard.press("Enter")
    form = page.get_by_role("dialog", name="Who talks here?")
    send = page.get_by_role("button", name="Send", exact=True)
    press_until(send.click, lambda: expect(form).to_be_visible(timeout=PRESS_MS))
    form.get_by_label("Name").fill(name)
    form.get_by_label("About").fill(about)
    form.get_by_label("Facts").fill(facts)
    picture(page, "form")
    submit = form.get_by_role("button", name="Submit")
    press_until(submit.click, lambda: expect(form).to_be_hidden(timeout=PRESS_MS))
    expect(page.get_by_text(f"{name} is talking here now").first).to_be_visible(timeout=REPLY_MS)


def test_a_person_talks_sets_another_persona_and_finds_it_again(browser: Browser, data_dir: Path) -> None:
    with demo(data_dir) as (address, process), page_of(browser, address) as page:
        expect(page.get_by_text("David is talking here").first).to_be_visible()
        answer = say(page, "Hello! Who are you?")
        assert "David" in answer or "teacher" in answer
        picture(page, "talk")

        set_persona(page, "Vera", "My name is Vera. I keep a lighthouse in Norway.", "I have a parrot called Pickles.")
        answers = [say(page, text) for text in ("Who are you?", "What is your parrot called?", "Where do you live?")]
        told = " ".join(answers).casefold()
        assert any(word in told for word in ("vera", "lighthouse", "norway", "pickles", "parrot")), answers
        assert "david" not in told
        picture(page, "vera")
        peak = peak_memory(process.pid)
        print(f"the most memory: {peak / GB:.2f} GB")
        assert peak < 1.5 * GB, f"{peak / GB:.2f} GB"

    assert not (data_dir / "real.sqlite3").exists()
    started = time.monotonic()
    with demo(data_dir) as (address, _process):
        assert time.monotonic() - started < 30
        with page_of(browser, address) as page:
            expect(page.get_by_text("Vera is talking here").first).to_be_visible()
            expect(page.get_by_text("What is your parrot called?").first).to_be_visible()
            say(page, "Do you remember me?")


def peak_memory(pid: int) -> int:
    """The most memory that the process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
