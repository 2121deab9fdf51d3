"""The demo as a person meets it: `persona-chat demo` in a process of its own, its page in headless Chromium.

The pictures of the README are taken here: PERSONA_CHAT_TESTS_PICTURES=docs/images make test ARGS=tests/test_demo.py
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REPLY_MS = 120_000  # two busy cores may need long; docs/performance.md says how long it takes
PRESS_MS = 8_000
GB = 10**9

pytestmark = [pytest.mark.browser, pytest.mark.model, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("PERSONA_CHAT_TESTS_NEED_BROWSER"):
            pytest.fail("there is no Chromium here, and PERSONA_CHAT_TESTS_NEED_BROWSER is set")
        pytest.skip("there is no Chromium here (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def data_dir(tmp_path: Path, embedded_data_dir: Path) -> Path:
    """A new data folder that borrows the converted model."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "models").symlink_to(embedded_data_dir / "models")
    return folder


@contextmanager
def demo(data_dir: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run the demo; yield the page's address and the process. Ctrl-C must end it well."""
    process = subprocess.Popen(
        [Path(sys.prefix) / "bin/persona-chat", "demo", "--no-browser", "--data-dir", data_dir],
        # A database that the settings name is the real bot's: the demo must not touch it.
        env={
            **os.environ,
            "PERSONA_CHAT_TEMPERATURE": "0",
            "PERSONA_CHAT_DATABASE_URL": f"sqlite:///{data_dir}/real.sqlite3",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = re.search(r"http://127\.0\.0\.1:\S+", process.stdout.readline())
        assert address is not None
        yield address[0], psutil.Process(process.pid)
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert errors == ""
    finally:
        process.kill()
        process.communicate()


@contextmanager
def page_of(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    # The page tells simcord its size first; what is sent meanwhile is refused.
    expect(page.get_by_text("Viewport updated")).to_be_visible(timeout=REPLY_MS)
    yield page
    page.close()


def say(page: Page, text: str) -> str:
    """Type a message and return the bot's answer to it."""
    answers = replies(page)
    before = answers.count()
    box = page.get_by_placeholder("Message #talk")
    box.fill(text)
    press_until(lambda: box.press("Enter"), lambda: expect(box).to_have_value("", timeout=PRESS_MS))
    expect(answers).to_have_count(before + 1, timeout=REPLY_MS)
    return answers.last.locator(".message-content").inner_text()


def press_until(press: Callable[[], None], happened: Callable[[], None]) -> None:
    """Press as a person does: again, when the page was busy and refused it."""
    for _ in range(10):
        press()
        with suppress(AssertionError):
            happened()
            return
    happened()


def replies(page: Page) -> Locator:
    """The bot's Discord replies on the page: messages that stand under a quoted one."""
    return page.locator("article.channel-message").filter(has=page.locator(".message-reply"))


def set_persona(page: Page, name: str, about: str, facts: str) -> None:
    """Use `/persona set` without options and fill its form."""
    page.get_by_placeholder("Message #talk").click()
    page.keyboard.type("/persona set")
    page.keyboard.press("Enter")
    form = page.get_by_role("dialog", name="Who talks in this channel?")
    send = page.get_by_role("button", name="Send", exact=True)
    press_until(send.click, lambda: expect(form).to_be_visible(timeout=PRESS_MS))
    form.get_by_label("Name").fill(name)
    form.get_by_label("About").fill(about)
    form.get_by_label("Facts").fill(facts)
    picture(page, "form")
    submit = form.get_by_role("button", name="Submit")
    press_until(submit.click, lambda: expect(form).to_be_hidden(timeout=PRESS_MS))
    expect(page.get_by_text(f"{name} is talking here now").first).to_be_visible(timeout=REPLY_MS)


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("PERSONA_CHAT_TESTS_PICTURES")
    if folder:
        page.screenshot(path=Path(__file__).parent.parent / folder / f"{name}.png")


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
