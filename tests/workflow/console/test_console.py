"""The console over HTTP, on a real stack: its pages, its actions, and the requests that it rejects."""

import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack


@dataclass
class Response:
    """A response of the console."""

    status: int
    text: str
    headers: dict[str, str]


@dataclass
class Browser:
    """Sends what a browser sends: its cookies, and the headers of a test."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)

    def request(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Response:
        """Request a page, or submit a form."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=60)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if form is None else urlencode(form)
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection.request("GET" if form is None else "POST", path, body, sent)
        found = connection.getresponse()
        answer = Response(found.status, found.read().decode(), dict(found.getheaders()))
        if cookie := answer.headers.get("Set-Cookie"):
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        connection.close()
        return answer

    def token(self, path: str) -> str:
        """Return the token of the form on a page."""
        match = re.search(r'name="token" value="([^"]+)"', self.request(path).text)
        assert match
        return match[1]


def until(look: Callable[[], Response], words: str, seconds: float = 60) -> Response:
    deadline = time.monotonic() + seconds
    while words not in (answer := look()).text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return answer


@pytest.fixture
def browser(stack: Stack) -> Browser:
    """A browser without cookies."""
    return Browser(stack.environment["RATESFLOW_CONSOLE_URL"])


@pytest.fixture(scope="module")
def committed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a batch of 2,000 rows that is committed."""
    path = tmp_path_factory.mktemp("console") / "seen.csv"
    path.write_bytes(csv(rows(2000, seed=71)))
    return str(stack.ingest(path)["batch_id"])


def test_committed_batch_is_listed_and_drawn(browser: Browser, committed: str) -> None:
    """The list finds a batch by its name and outcome; its page has steps, graph, events and logs."""
    listed = browser.request(f"/?outcome=committed&text={committed}").text
    assert committed in listed
    assert "2,000" in listed
    assert committed not in browser.request("/?outcome=rejected").text
    page = browser.request(f"/executions/{committed}").text
    assert "accepted · " in page
    assert '<g class="good">' in page
    (log, *_) = re.findall(rf'href="(/executions/{committed}/jobs/[^"]+)"', page)
    assert "accepted" in browser.request(log).text
    assert "ExecutionSucceeded" in browser.request(f"/executions/{committed}/events").text


def test_rejected_batch_shows_its_line(browser: Browser, stack: Stack, tmp_path: Path) -> None:
    """The page of a rejected batch shows line, column, value and reason, escapes them, and has all as CSV."""
    lines = csv(rows(500, seed=72)).split(b"\n")
    lines[300] = lines[300].rsplit(b",", 1)[0] + b",<b>12</b>"
    lines[400] = b"ZZAAA" + lines[400][5:]
    path = tmp_path / "console-bad.csv"
    path.write_bytes(b"\n".join(lines))
    name = stack.ingest(path, code=3)["batch_id"]
    page = re.sub(r"<td[^>]*>", "<td>", browser.request(f"/executions/{name}").text)
    assert "<td>301</td><td>price</td><td><code>&lt;b&gt;12&lt;/b&gt;</code>" in page
    assert "Unknown ports: ZZAAA (1)" in page
    assert "All errors as CSV" in page
    assert "Correct the lines" in page
    assert "<b>12</b>" in browser.request(f"/executions/{name}/errors.csv").text


def test_failed_batch_shows_the_log_of_its_task(browser: Browser, stack: Stack) -> None:
    """An object that vanishes before validation fails; its page has the cause, the log and the next step."""
    machine, bucket = stack.environment["RATESFLOW_STATE_MACHINE_ARN"], stack.environment["RATESFLOW_BUCKET"]
    lost = f'{{"bucket": "{bucket}", "key": "incoming/lost.csv", "version": "null", "etag": "x", "bytes": 9}}'
    stack.aws("stepfunctions").start_execution(stateMachineArn=machine, name="lost-1", input=lost)
    page = until(lambda: browser.request("/executions/lost-1"), 'lost-1 <span class="badge failed"').text
    assert "Log of the failed task" in page
    assert "exit code" in page
    assert "Ingest the file again: its version is no longer in the bucket" in page
    assert '<g class="bad">' in page


def test_file_is_uploaded_by_its_form(browser: Browser) -> None:
    """A file uploaded by the form starts its execution, whose page waits for it and then shows its end."""
    token = browser.token("/send")
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    data = csv(rows(300, seed=73)).decode()
    body = part.format("token", "", token) + part.format("file", '; filename="C:\\\\odd näme.csv"', data) + "--x--\r\n"
    connection = http.client.HTTPConnection(urlsplit(browser.address).netloc, timeout=60)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Cookie": cookies}
    connection.request("POST", "/send", body.encode(), headers)
    answer = connection.getresponse()
    assert answer.status == 303, answer.read()
    until(lambda: browser.request(answer.getheader("Location") or ""), 'badge committed">')


def test_undo_asks_for_confirmation(browser: Browser, stack: Stack, committed: str) -> None:
    """The question changes nothing; the confirmation undoes the batch, and the ledger then offers to redo it."""
    question = browser.request(f"/confirm/undo/{committed}").text
    assert "Undo this batch?" in question
    state = "SELECT state FROM batches WHERE batch_id = %s"
    assert stack.query(state, committed) == [("committed",)]
    form = {"token": browser.token(f"/confirm/undo/{committed}")}
    work = browser.request(f"/do/undo/{committed}", form, Origin=browser.address.rstrip("/"))
    assert work.status == 303
    until(lambda: browser.request(work.headers["Location"]), "Done.")
    assert stack.query(state, committed) == [("undone",)]
    assert f"/confirm/redo/{committed}" in browser.request("/ledger?state=undone").text


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {"Host": "evil.example"}],
)
def test_other_sites_are_rejected(browser: Browser, headers: dict[str, str]) -> None:
    """A form from another origin, even with a right token, is rejected before anything happens."""
    form = {"token": browser.token("/confirm/redo/nothing")}
    assert browser.request("/do/redo/nothing", form, **headers).status in (403, 421)
    assert browser.request("/do/redo/nothing", form).status == 404


def test_forms_need_their_token(browser: Browser) -> None:
    """A form without the token, or with that of another browser, is rejected; the cookie is strict."""
    other = Browser(browser.address)
    token = other.token("/send")
    assert browser.request("/do/redo/nothing", {}).status == 403
    assert browser.request("/do/redo/nothing", {"token": token}).status == 403
    cookie = other.request("/send").headers.get("Set-Cookie", "SameSite=Strict; HttpOnly")
    assert "SameSite=Strict" in cookie
    assert "HttpOnly" in cookie


def test_foreign_hosts_are_rejected(browser: Browser) -> None:
    """A foreign name that resolves to loopback gets no page; a name of this machine gets one with a policy."""
    port = urlsplit(browser.address).port
    for host in (f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}"):
        assert browser.request("/", Host=host).status == 421
    answer = browser.request("/", Host=f"localhost:{port}")
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_unknown_names_are_reported(browser: Browser) -> None:
    """The page of an execution that does not exist reports that and links back."""
    answer = browser.request("/executions/never-was")
    assert answer.status == 404
    assert "no execution 'never-was'" in unescape(answer.text)


def test_command_names_the_console(stack: Stack) -> None:
    """`ratesflow console` prints the address, and `graph` draws to SVG and Mermaid."""
    assert stack.run("console").stdout.strip() == stack.environment["RATESFLOW_CONSOLE_URL"]
    assert stack.run("graph").stdout.startswith("---\ntitle:")
    assert "must end in" in stack.run("graph", "-o", "x.png", code=2).stderr
    assert "never-was" in stack.run("graph", "never-was", code=1).stderr
