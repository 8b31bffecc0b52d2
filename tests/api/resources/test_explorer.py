"""The explorer in a real browser: choosing, charts, copying, errors, and keyboard use."""

import os
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from tests.api.seed import TREE, Price, open_batch, seed_batch
from tests.api.service import Service
from tests.fix_database import Database

playwright = pytest.importorskip("playwright.sync_api", reason="run `make setup`, which installs playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="install Chromium (on Debian: apt-get install chromium), or name it in CHROMIUM"
)

FIRST = date(2021, 1, 1)
LINK = "/?orig_code=CNGGZ&dest_code=EETLL&date_from=2021-01-01&date_to=2021-01-31"
TIMEOUT_MS = 10_000  # long enough for a busy machine


@pytest.fixture(scope="module")
def explorer_service(module_database: Database) -> Iterator[Service]:
    """The service with rising prices in January 2021: none on five days, and too few on three."""
    counts = [0 if 9 <= day < 14 else 2 if 20 <= day < 23 else 3 + day % 3 for day in range(31)]
    prices = [
        Price("CNGGZ", "EETLL", FIRST + timedelta(days=day), 1400 + 10 * day)
        for day, count in enumerate(counts)
        for _ in range(count)
    ]
    connection = psycopg2.connect(module_database.url)
    open_batch(connection, seed_batch(connection, TREE, prices))
    connection.close()
    service = Service(module_database.reader_url, workers=1)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, explorer_service: Service) -> Iterator[Any]:
    """A page; the test fails on script errors and requests to other hosts."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{explorer_service.port}", permissions=["clipboard-read"])
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("http://127.0.0.1", "blob:", "data:"))
            else errors.append(request.url))  # fmt: skip
    page.on("console", lambda message: errors.append(message.text)
            if message.type == "error" and "status of 40" not in message.text else None)  # fmt: skip
    yield page
    context.close()
    assert errors == []


def text(page: Any, selector: str) -> str:
    """Return the visible text of an element."""
    return str(page.locator(selector).inner_text())


def expect_text(page: Any, selector: str, expected: str) -> None:
    """Wait until an element contains a text."""
    playwright.expect(page.locator(selector)).to_contain_text(expected, timeout=TIMEOUT_MS)


def test_shared_link(page: Any) -> None:
    """A link shows the names of its locations, the figures, the chart, and the request."""
    page.goto(LINK)
    expect_text(page, "#title", "Port of CNGGZ to Port of EETLL")
    expect_text(page, "#figures", "$1,700.00 2021-01-31")
    assert page.locator("#price-chart canvas").count() == 1
    assert page.input_value("#orig_code") == "Port of CNGGZ"
    command = text(page, "#curl")
    response = requests.get(command.split("'")[1], timeout=10).json()
    assert command.startswith("curl 'http://127.0.0.1:")
    assert len(response["rates"]) == 31
    total = sum(rate["count"] or 0 for rate in response["rates"])
    assert f"{total} on 26 of 31 days" in text(page, "#figures")


def test_days_without_an_average_are_gaps(page: Any) -> None:
    """Days with fewer than three prices leave a gap in the line."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    drawn = page.evaluate(
        """() => {
            const canvas = document.querySelector('#price-chart canvas');
            const [red, green, blue] = getComputedStyle(document.documentElement).getPropertyValue('--accent')
                .match(/[0-9a-f]{2}/gi).map(each => parseInt(each, 16));
            const {width, height} = canvas;
            const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
            const columns = Array.from({length: width}, (_, x) => Array.from({length: height}, (_, y) =>
                4 * (y * width + x)).some(at => Math.abs(pixels[at] - red) + Math.abs(pixels[at + 1] - green)
                    + Math.abs(pixels[at + 2] - blue) < 60 && pixels[at + 3] > 200));
            return columns.map(Number).join('').replace(/^0+|0+$/g, '').split(/0{8,}/).length;
        }"""
    )
    assert drawn == 3


def test_choose_by_name(page: Any) -> None:
    """Typing part of a name finds ports and regions; the choice is shown and becomes part of the URL."""
    page.goto(LINK)
    expect_text(page, "#title", "Port of CNGGZ")
    page.locator("#orig_code").click()
    page.keyboard.type("china so")
    page.get_by_role("option", name="china_south").first.click()
    expect_text(page, "#title", "China South to Port of EETLL")
    assert "orig_code=china_south" in page.url
    page.locator("#swap").click()
    expect_text(page, "#title", "Port of EETLL to China South")
    expect_text(page, "#status", "no prices between these locations")
    page.go_back()
    expect_text(page, "#title", "China South to Port of EETLL")


def test_keyboard_only(page: Any) -> None:
    """With the keyboard alone a user can choose both locations and read the chart day by day."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    page.locator("#orig_code").focus()
    page.keyboard.type("cngg")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "dest_code"
    page.keyboard.type("balt")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect_text(page, "#title", "Port of CNGGZ to Baltic")
    for _ in range(30):
        if page.evaluate("document.activeElement.id") == "charts":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Home")
    expect_text(page, "#reading", "Fri, 1 Jan 2021: $1,400.00, 3 prices")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    expect_text(page, "#reading", "Sun, 10 Jan 2021: no average, 0 prices")


def test_copy(page: Any) -> None:
    """The request and the link can each be copied with a click."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    page.locator("#copy-curl").click()
    expect_text(page, "#copied", "request is copied")
    assert page.evaluate("navigator.clipboard.readText()") == text(page, "#curl")
    page.locator("#copy-link").click()
    expect_text(page, "#copied", "link is copied")
    assert page.evaluate("navigator.clipboard.readText()").endswith(LINK)


def test_download(page: Any) -> None:
    """The rates can be downloaded as CSV."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    with page.expect_download() as download:
        page.locator("#download").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[:2] == ["day,count,price", "2021-01-31,3,1700.0"]
    assert len(lines) == 32


def test_unknown_location_is_reported_at_its_field(page: Any) -> None:
    """An unknown location is reported at its field, and the previous chart is hidden."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    page.locator("#dest_code").click()
    page.keyboard.type("Atlantis")
    page.keyboard.press("Tab")
    expect_text(page, "#dest_code-error", "No port or region is called “Atlantis”")
    assert page.get_attribute("#dest_code", "aria-invalid") == "true"
    assert not page.locator("#charts").is_visible()


def test_dates_in_wrong_order(page: Any) -> None:
    """Dates in the wrong order are reported at their field, with the message of the service."""
    page.goto(LINK)
    expect_text(page, "#figures", "$1,700.00")
    page.fill("#date_from", "2021-03-01")
    page.locator("#date_from").blur()
    expect_text(page, "#date_to-error", "before date_from")


def test_wrong_link(page: Any) -> None:
    """A link with an unknown location shows an error and a suggestion."""
    page.goto(LINK.replace("CNGGZ", "cnggz"))
    expect_text(page, "#orig_code-error", "did you mean CNGGZ")


def test_empty_range_links_to_days_with_prices(page: Any) -> None:
    """If the range has no prices, a button leads to days with prices."""
    page.goto(LINK.replace("2021-01", "2022-05"))
    expect_text(page, "#status", "there are some from 2021-01-01 to 2021-01-31")
    page.locator("#status button").click()
    expect_text(page, "#figures", "$1,700.00")


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_narrow_and_wide_screens(browser: Any, explorer_service: Service, width: int, scheme: str) -> None:
    """On narrow and wide screens no element overflows the page, and the light and dark schemes are applied."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{explorer_service.port}{LINK}")
    expect_text(page, "#figures", "$1,700.00")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, background[4:-1].split(","))) < 60) == (scheme == "dark")
    context.close()


def test_content_security_policy(explorer_service: Service) -> None:
    """The page allows only its own scripts and no framing; clients that do not accept HTML get JSON."""
    response = explorer_service.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in response.text.replace("http://www.w3.org", "")
    assert explorer_service.get("/", headers={"Accept": "*/*"}).json().keys() == {"message"}
