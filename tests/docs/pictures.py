"""Takes the pictures of the documents from a real stack: `python -m tests.docs.pictures` (a minute or two).

The ports are those of `ratesflow up`, so that the pictures show the addresses that the documents name.
"""

import math
import os
import random
import shutil
import sys
import tempfile
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.local.conftest import Stack

DOCS = Path(__file__).parents[2] / "docs"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
API_PORT, AWS_PORT, CONSOLE_PORT = 3000, 4566, 8080
ORIGINS = ("CNDAL", "CNTXG", "CNSHA", "CNNBO", "CNYTN")
DESTINATIONS = ("NLRTM", "DEHAM", "BEANR", "FRLEH")
FIRST, DAYS, GAP = date(2021, 1, 29), 92, range(12, 19)
LARGE = 4_900_000  # rows: enough for the page of a running execution to be seen
EXPLORED = "/?orig_code=china_main&dest_code=north_europe_main&date_from=2021-01-29&date_to=2021-04-30"


def curve(file: Path) -> None:
    """Write a batch whose averages form a curve, with a week without prices."""
    dice = random.Random(1)
    lines = ["orig_code,dest_code,day,price"]
    for number in range(DAYS):
        day, level = (FIRST + timedelta(days=number)).isoformat(), 1600 + 190 * math.cos(number / 17)
        level += 12 * dice.random() + 90 * max(0, number - 60) / 32
        for origin in ORIGINS if number not in GAP else ():
            for destination in DESTINATIONS:
                for _ in range(14 + int(8 * dice.random())):
                    lines.append(f"{origin},{destination},{day},{round(level * (0.9 + 0.2 * dice.random()))}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def large(file: Path, stack: Stack) -> None:
    """Write a batch of some million rows by repeating a sample."""
    stack.run("sample", "-n", "490000", "-o", str(file))
    header, _, body = file.read_bytes().partition(b"\n")
    file.write_bytes(header + b"\n" + body * (LARGE // 490_000))


def explorer(page: Any) -> None:
    """Take the explorer between two regions."""
    page.goto(f"http://127.0.0.1:{API_PORT}{EXPLORED}")
    page.locator("#price-chart canvas").wait_for()
    page.locator("#figures", has_text="2021-04-30").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=DOCS / "explorer.png", full_page=True)


def console(page: Any, file: Path, stack: Stack) -> str:
    """Take the console while a batch is loaded; return the name of its execution."""
    found: dict[str, Any] = {}
    sending = threading.Thread(target=lambda: found.update(stack.ingest(file)))
    sending.start()
    page.goto(f"http://127.0.0.1:{CONSOLE_PORT}/")
    link = page.get_by_role("link", name="prices-2021-01-")
    while not link.count():
        page.wait_for_timeout(200)
        page.reload()
    link.first.click()
    page.wait_for_function(
        "() => document.querySelectorAll('.badge').length && [...document.querySelectorAll('progress')]"
        ".some((one) => one.value > 0.4 && one.value < 1 && one.closest('tr')?.innerText.includes('load'))",
        timeout=120_000,
    )
    page.screenshot(path=DOCS / "console.png", clip={"x": 0, "y": 0, "width": 1180, "height": 1198})
    sending.join()
    return str(found["batch_id"])


def main() -> int:
    """Take all pictures; return the exit code."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        home = Path(folder)
        stack = Stack(home / "home", API_PORT, AWS_PORT)
        ports = ("--api-port", str(API_PORT), "--aws-port", str(AWS_PORT), "--console-port", str(CONSOLE_PORT))
        try:
            stack.run("up", "--detach", *ports)
            curve(home / "prices-q1.csv")
            stack.ingest(home / "prices-q1.csv")
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            explorer(browser.new_page(viewport={"width": 1280, "height": 900}))
            large(home / "prices-2021-01.csv", stack)
            name = console(
                browser.new_page(viewport={"width": 1180, "height": 1240}), home / "prices-2021-01.csv", stack
            )
            stack.run("graph", name, "-o", str(DOCS / "graph.svg"))
            browser.close()
        finally:
            stack.run("down", code=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
