"""The console in a real browser: Debian's chromium, driven by Playwright, where both are installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")


@pytest.fixture
def page(stack: Stack) -> Iterator[Any]:
    """A page of a narrow screen, at the console; what its scripts complain of fails the test."""
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        found.goto(stack.environment["RATESFLOW_CONSOLE_URL"])
        yield found
        browser.close()
    assert complaints == []


def test_batch_is_watched_from_upload_to_undo(page: Any, tmp_path: Path) -> None:
    """A file is sent, its page moves by itself to committed, and it is taken out again, all on a narrow screen."""
    path = tmp_path / "watched.csv"
    path.write_bytes(csv(rows(3000, seed=81)))
    page.get_by_role("link", name="Send a file", exact=True).click()
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Send").click()
    playwright.expect(page.locator("h1 .badge")).to_have_text("committed", timeout=60_000)
    playwright.expect(page.locator("svg g.good", has_text="Commit").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name="Undo…").click()
    page.get_by_role("button", name="Undo").press("Enter")
    playwright.expect(page.get_by_text("Done.")).to_be_visible(timeout=60_000)


def test_keyboard_reaches_the_content(page: Any) -> None:
    """The first Tab offers to skip to the content, and the pages follow in order."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Executions"
