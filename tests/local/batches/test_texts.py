"""The message of a task reaches ledger, history, command line and notification unchanged."""

import json
import signal

import pytest

from ratesflow.loader.runtime.texts import plain
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, ended, start, state
from tests.local.signaller import Signaller

NASTY = (
    'message: <?xml version="1.0"?>\n<Error><Code>X</Code><RequestId>1</RequestId></Error> \'one\' "two" {} {0} $.a '
    "$${b} \\ \\n \\u0041 ]]> &amp; %s 🚢 e\u0301 \u202e\u2028 \x00\x01"
    "\x1b[31m\x7f\r\n\ttab, and <RequestId>2</RequestId>."
)


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


@pytest.mark.parametrize("text", [NASTY, "long " + "🚢<RequestId>x</RequestId>\\" * 400], ids=["nasty", "10 kB"])
def test_message_of_a_task_is_preserved(stack: Stack, mailbox: Mailbox, text: str) -> None:
    """Quotes, braces, backslashes, tags, control characters, emoji and 10 kB of text are preserved in every step."""
    name = f"message-{len(text)}"
    key = f"results/{name}/validate.error.json"
    stack.aws("s3").put_object(
        Bucket=stack.environment["RATESFLOW_BUCKET"], Key=key, Body=json.dumps({"message": text}).encode()
    )
    with Signaller(stack, "validate", name, signal.SIGKILL):
        start(stack, csv(rows(10, seed=870)), name, 1)
        execution = ended(stack, name)
    expected = plain(text)
    found, message = state(stack, name)
    assert found == "failed"
    assert expected[:9000] in str(message)
    cause = execution["cause"]
    assert cause == str(message)[: len(cause)]
    assert expected[:1500] in cause
    (notification,) = mailbox.of(name)
    assert notification["message"] == cause
    shown = json.loads(stack.run("show", name, "--json").stdout)
    assert (shown["outcome"], shown["message"]) == ("failed", cause)
    assert [step["status"] for step in shown["steps"] if step["name"] in ("Discard", "NotifyFailure")] == ["done"] * 2
