"""The demo's page in headless Chromium: the process, the browser, and what a person does on the page."""

import os
import re
import shutil
import signal
import subprocess
import sys
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
            "PERSONA_CHAT_BURST_S": "0.5",  # as for people
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


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("PERSONA_CHAT_TESTS_PICTURES")
    if folder:
        latest = page.get_by_role("button", name="jump to latest")
        if latest.is_visible():
            latest.click()
            page.wait_for_timeout(300)
        page.screenshot(path=Path(__file__).parent.parent / folder / f"{name}.png")


def use(page: Page, command: str, **options: str | Path) -> None:
    """Use a command: choose it, fill its options (a path is a file to attach), and send it."""
    page.get_by_placeholder("Message #talk").click()
    page.keyboard.type(f"/{command}")
    page.keyboard.press("Enter")
    for name, value in options.items():
        if isinstance(value, Path):
            page.locator("input.command-file-input").set_input_files(value)
            continue
        option = page.get_by_role("option", name=name, exact=False).first
        with suppress(AssertionError):  # one that is needed is asked for at once
            expect(option).to_be_visible(timeout=PRESS_MS // 4)
            option.click()
        page.keyboard.type(value)
        choice = page.get_by_role("option", name=value, exact=True).first
        with suppress(AssertionError):  # only some options have choices
            expect(choice).to_be_visible(timeout=PRESS_MS)
        page.keyboard.press("Enter")
    send = page.get_by_role("button", name="Send", exact=True)
    chip = page.locator("[data-command-mode=true]")
    press_until(send.click, lambda: expect(chip).to_have_count(0, timeout=PRESS_MS))


def press(page: Page, label: str) -> None:
    """Press the newest button of that label."""
    page.get_by_role("button", name=label, exact=True).last.click()


def form(page: Page, title: str, **fields: str) -> None:
    """Fill the form of that title, and send it."""
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible(timeout=REPLY_MS)
    for label, value in fields.items():
        dialog.get_by_label(label.replace("_", " ")).fill(value)
    submit = dialog.get_by_role("button", name="Submit")
    press_until(submit.click, lambda: expect(dialog).to_be_hidden(timeout=PRESS_MS))
