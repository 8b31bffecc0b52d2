"""The console in a real browser, wide and narrow, light and dark, where Chromium and Playwright are installed."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.signaller import slow_motion
from tests.waiting import wait_for

playwright = pytest.importorskip("playwright.sync_api", reason="run `make setup`, which installs playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="install Chromium (on Debian: apt-get install chromium), or name it in CHROMIUM"
)

SECONDS = 60_000  # in milliseconds, long enough for a small batch on a busy machine


@dataclass(frozen=True)
class Look:
    """A screen: its width in pixels, and its colour scheme."""

    width: int
    colours: str


WIDE, NARROW = Look(1280, "light"), Look(390, "dark")
LOOKS = pytest.mark.parametrize("look", [WIDE, NARROW], ids=["wide and light", "narrow and dark"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def look() -> Look:
    """The default screen."""
    return NARROW


@pytest.fixture
def page(browser: Any, stack: Stack, look: Look) -> Iterator[Any]:
    """A page of the console. An error in a script or a request to another host fails the test."""
    address = stack.environment["RATESFLOW_CONSOLE_URL"]
    context = browser.new_context(
        base_url=address, viewport={"width": look.width, "height": 800}, color_scheme=look.colours
    )
    found = context.new_page()
    found.set_default_timeout(SECONDS)
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on(
        "console", lambda entry: wrong.append(entry.text) if entry.type == "error" and "404" not in entry.text else None
    )
    found.on("request", lambda asked: None if asked.url.startswith((address, "data:")) else wrong.append(asked.url))
    found.goto("/")
    yield found
    found.wait_for_load_state("load")  # before that, its style sheet may be missing
    assert found.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the screen"
    context.close()
    assert wrong == []


def seen(place: Any) -> None:
    """Wait until an element is visible."""
    playwright.expect(place).to_be_visible(timeout=SECONDS)


def outcome_is(page: Any, wanted: str) -> None:
    playwright.expect(page.locator("h1 .badge")).to_have_text(wanted, timeout=SECONDS)


def send(page: Any, path: Path, data: bytes) -> None:
    """Upload a file with the form."""
    path.write_bytes(data)
    page.get_by_role("link", name="Upload a file", exact=True).click()
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Upload").click()


def repeated(seed: int, times: int) -> bytes:
    """Return a batch that takes long enough to be watched."""
    header, _, body = csv(rows(20_000, seed=seed)).partition(b"\n")
    return header + b"\n" + body * times


@LOOKS
def test_batch_is_watched_from_upload_to_committed(page: Any, look: Look, stack: Stack, tmp_path: Path) -> None:
    """A file is uploaded, and its page updates by itself: the running step, its progress, and the outcome."""
    page.add_init_script(
        "window.most = 0; setInterval(() => document.querySelectorAll('progress')"
        ".forEach((one) => { if (one.value < 1) window.most = Math.max(window.most, one.value); }), 20)"
    )
    with slow_motion(stack, f"watched-{look.width}"):
        send(page, tmp_path / f"watched-{look.width}.csv", repeated(look.width, 75))
        seen(page.locator(".badge.running").first)
        seen(page.locator("svg g.running").first)
        wait_for(lambda: 0 < page.evaluate("window.most") < 1)
    outcome_is(page, "committed")
    seen(page.locator("svg g.good", has_text="Commit").first)
    assert page.get_by_text("1,500,000 rows").count() >= 3


@LOOKS
def test_rejected_batch_shows_its_line(page: Any, look: Look, tmp_path: Path) -> None:
    """From the list a user reaches the line, column, value and reason."""
    lines = csv(rows(500, seed=look.width + 1)).split(b"\n")
    lines[300] = lines[300].rsplit(b",", 1)[0] + b",many"
    send(page, tmp_path / f"rejected-{look.width}.csv", b"\n".join(lines))
    outcome_is(page, "rejected")
    page.get_by_role("link", name="Executions").click()
    page.get_by_label("Outcome").select_option("rejected")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name=f"rejected-{look.width}-").click()
    line = page.get_by_label("Rejected rows").locator("tbody tr")
    seen(line)
    assert [cell.inner_text() for cell in line.locator("td").all()] == [
        "301",
        "price",
        "many",
        "price must be a whole number of US dollars in plain digits",
    ]
    seen(page.locator("svg g.rejected", has_text="Rejected").first)


@LOOKS
def test_failed_batch_shows_the_log_of_its_task(page: Any, look: Look, stack: Stack) -> None:
    """The page of a batch whose object is gone has the cause, the next step, and the log of the failed task."""
    bucket, name = stack.environment["RATESFLOW_BUCKET"], f"gone-{look.width}"
    given = {"bucket": bucket, "key": f"incoming/{name}.csv", "version": "null", "etag": "x", "bytes": 9}
    machine = stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    stack.aws("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))
    page.goto(f"/executions/{name}")
    outcome_is(page, "failed")
    seen(page.locator("pre.log", has_text="is gone: send the file again"))
    seen(page.get_by_text("Ingest the file again: its version is no longer in the bucket"))
    failed = page.locator("svg g.bad", has_text="Validate").first
    seen(failed)
    inner, outer = failed.bounding_box(), page.locator(".picture").bounding_box()
    assert outer["x"] <= inner["x"] < inner["x"] + inner["width"] <= outer["x"] + outer["width"]


@LOOKS
def test_batch_is_undone_with_the_keyboard(page: Any, look: Look, tmp_path: Path) -> None:
    """A committed batch is undone after a confirmation, with the keyboard alone; the ledger shows it."""
    send(page, tmp_path / f"undone-{look.width}.csv", csv(rows(300, seed=look.width + 2)))
    outcome_is(page, "committed")
    page.get_by_role("link", name="Undo…").press("Enter")
    seen(page.get_by_text("Undo this batch?"))
    page.get_by_role("button", name="Undo").press("Enter")
    seen(page.get_by_text("Done."))
    page.get_by_role("link", name="ledger", exact=True).press("Enter")
    row = page.locator("tr", has=page.get_by_role("link", name=f"undone-{look.width}-"))
    playwright.expect(row.locator(".badge")).to_have_text("undone", timeout=SECONDS)
    seen(row.get_by_role("link", name="Redo…"))


def test_keyboard_reaches_the_content(page: Any) -> None:
    """The first Tab offers to skip to the content, and the pages follow in order."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Executions"


@LOOKS
@pytest.mark.parametrize("path", ["/", "/ledger", "/send", "/executions/never-was"])
def test_text_has_contrast(page: Any, path: str) -> None:
    """Every text has the contrast of 4.5 to 1 that WCAG 2 requires, and every field has a label."""
    page.goto(path)
    seen(page.locator("h1"))
    assert page.evaluate(_FAINT) == []
    assert page.evaluate("[...document.querySelectorAll('main input:not([type=hidden]), select')]"
                         ".filter((field) => !field.labels.length).length") == 0  # fmt: skip
    page.goto("/")


# The relative luminance and the contrast of WCAG 2.2, "Contrast (Minimum)".
_FAINT = """() => {
  const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = numbers(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((node) =>
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) && node.checkVisibility()
    && !["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)
  ).filter((node) => {
    const [one, two] = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    return (one + 0.05) / (two + 0.05) < 4.5;
  }).map((node) => `${node.tagName}: ${node.textContent.trim().slice(0, 40)}`);
}"""
