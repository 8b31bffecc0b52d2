"""Objects with hostile names are ordinary batches, and plain text in the console and the terminal."""

import http.client
import re
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner, Result

from ratesflow.workflow.cli import main
from ratesflow.workflow.trigger import execution_name
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import ended, state

NAMES = [
    "<img src=x onerror=alert(1)>.csv",
    "\"><script>alert('x')</script>",
    "'; DROP TABLE batches;-- $(touch /tmp/mine)`id`;|&.csv",
    "{{7*7}}${7*7} 100%25 %s %(x)s {0} %00.csv",
    "zürich 上海 🚢 \u202egpj.csv",
    "[red]markup[/red] [link=http://evil.example]x[/link]",
    "Ref::bucket States.Format('{}', $.key) $$.Execution.Id a+b=c&d?e#f;g,h@i:j!k*l'm(n)o~p^q{r}s|t\\u.csv",
    "tab\there \x1b[2J\x1b]8;;http://evil.example\x07red\x9b.csv",
    "x" * 900,
]
COLORS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def arrived(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The executions of objects with these names, by name; most have the same bytes and are duplicates."""
    s3, bucket = stack.aws("s3"), stack.environment["RATESFLOW_BUCKET"]
    found = {}
    for number, name in enumerate(NAMES):
        data = csv(rows(50, seed=910)) if number else b"orig_code,dest_code,day,price\n=1+1,<b>,\x1b[2J,-5\n"
        version = s3.put_object(Bucket=bucket, Key=f"incoming/{name}", Body=data)["VersionId"]
        found[name] = execution_name(bucket, f"incoming/{name}", version)
    for name in found.values():
        ended(stack, name, seconds=170)
    return found


def page(stack: Stack, path: str) -> str:
    """Return a page of the console."""
    connection = http.client.HTTPConnection(urlsplit(stack.environment["RATESFLOW_CONSOLE_URL"]).netloc, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, (path, text)
    return text


@pytest.mark.timeout(240)
def test_hostile_names_are_ordinary_batches(stack: Stack, arrived: dict[str, str]) -> None:
    """One batch is rejected for its rows, one committed, and the others are duplicates; no name is executed."""
    outcomes = {name: state(stack, execution)[0] for name, execution in arrived.items()}
    assert outcomes.pop(NAMES[0]) == "rejected"
    assert sorted(set(outcomes.values())) == ["committed", "duplicate"], outcomes
    assert list(outcomes.values()).count("committed") == 1
    assert not Path("/tmp/mine").exists()
    keys = {key for (key,) in stack.query("SELECT key FROM batches WHERE batch_id = ANY (%s)", list(arrived.values()))}
    assert keys == {f"incoming/{name}" for name in NAMES}


@pytest.mark.timeout(240)
def test_console_shows_hostile_names_as_text(stack: Stack, arrived: dict[str, str]) -> None:
    """No name becomes an element, an attribute or a script, in the list, on its page or in a search."""
    pages = [page(stack, "/?limit=1000")]
    for name, execution in arrived.items():
        pages += [page(stack, f"/executions/{execution}"), page(stack, f"/executions/{execution}/events")]
        pages.append(page(stack, f"/?text={quote(name, safe='')}"))
    for text in pages:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert not re.search(r"<[^>]*\sonerror", re.sub(r'"[^"]*"', '""', text))
        assert "<b>," not in text
        assert "49" not in re.findall(r"\{\{.*?\}\}", text)
    assert all(f"incoming/{name}" in unescape(pages[0]) for name in NAMES)


@pytest.mark.timeout(240)
def test_terminal_output_has_no_control_characters(stack: Stack, arrived: dict[str, str]) -> None:
    """The command line prints no escape sequence, control character, color or link of a name."""
    outputs = [run(stack, "executions", "--limit", "50").output, run(stack, "batches", "--limit", "50").output]
    outputs += [run(stack, "show", execution).output for execution in arrived.values()]
    outputs += [run(stack, "graph", execution).output for execution in list(arrived.values())[-2:]]
    for text in outputs:
        plain = COLORS.sub("", text)
        odd = {sign for sign in plain if not sign.isprintable()} - {"\n"}
        assert not odd & {"\x1b", "\r", "\x07", "\x08", "\x9b"}, [line for line in plain.split("\n") if "\x1b" in line]
        assert "\x1b]8" not in text
    shown = run(stack, "show", next(arrived[name] for name in NAMES if name.startswith("[red]"))).output
    shown = shown.replace("\n", "")
    assert "[red]markup" in shown


@pytest.mark.parametrize("command", ["show", "stop", "redo", "undo", "graph", "start", "rates"])
def test_command_line_rejects_hostile_arguments(stack: Stack, command: str) -> None:
    """Each hostile argument is rejected as an invalid value, without a crash, a command or an escape sequence."""
    words = ["'; DROP TABLE batches;--", "\x1b[2J[bold]x", "$(id)", "%s%s", "s3://x/../y", "{{7*7}}"]
    for word in words[:2] if command == "undo" else words:  # each runs a task
        more = ("EETLL", "--from", "2021-01-01", "--to", "2021-01-02") if command == "rates" else ()
        done = run(stack, command, "--", word, *more)
        assert done.exit_code not in (0, 70), (command, word, done.output)
        assert isinstance(done.exception, SystemExit), (command, word, done.exception)
        assert "\x1b" not in done.output


def run(stack: Stack, *arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, ["--home", str(stack.home), *arguments])
