"""The pages that act: send a file, redo, stop, undo, each asked for and then done; and the ledger, a task too."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import get_execution
from ratesflow.workflow.client.run_task import run_task
from ratesflow.workflow.client.start import redo as start_again
from ratesflow.workflow.client.stop import stop
from ratesflow.workflow.client.upload import upload
from ratesflow.workflow.console.background import Background, Work
from ratesflow.workflow.trigger import ObjectCreated

STATES = ("all", "open", "committed", "rejected", "duplicate", "failed", "undone")
AT_ONCE_SECONDS = 6.0
QUESTIONS = {
    "redo": ("Run it again?", "The same bytes go through every step again, under a new name."),
    "stop": ("Stop it?", "Its tasks are ended and what it has loaded is discarded. What is committed stays."),
    "undo": (
        "Take the batch out again?",
        "All of its rows vanish for every reader at once. Its file may be sent again.",
    ),
}


def add_actions(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    """Add the pages that act to the application."""
    _add_sending(app, environment)
    _add_ledger(app, environment, background)
    _add_questions(app, environment, background)


def _add_sending(app: Flask, environment: Callable[[], Environment]) -> None:
    @app.get("/send")
    def send() -> str:
        return render_template("send.html", inbox=environment()["RATESFLOW_INBOX"])

    @app.post("/send")
    def sent() -> Response:
        given = request.files.get("file")
        name = Path((given.filename or "").replace("\\", "/")).name if given else ""
        if given is None or not name.isprintable() or name in ("", ".", ".."):
            abort(400, "Choose a file first; its name becomes the key of the object.")
        with tempfile.TemporaryDirectory(prefix="ratesflow-console-") as folder:
            file = Path(folder) / name
            given.save(file)
            lies = upload(environment(), file, force="force" in request.form)
        return redirect(url_for("execution", name=ObjectCreated(**lies).execution_name, new=1), 303)


def _add_ledger(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    @app.get("/ledger")
    def ledger() -> Response | str:
        state = request.args.get("state", "all")
        if state not in STATES:
            abort(400, f"state is one of {', '.join(STATES)}.")
        where, limit = environment(), min(max(request.args.get("limit", 50, int), 1), 1000)
        asked = {"limit": str(limit), "state": state}
        work = background.find(request.args.get("answer", "")) or background.begin(
            "Reading the ledger", lambda tell: run_task(where, "ledger", asked, progress=tell)
        )
        if not work.done.wait(AT_ONCE_SECONDS):
            return redirect(url_for("work", work_id=work.id, then=url_for("ledger", state=state, answer=work.id)))
        if work.error:
            return render_template("message.html", title="The ledger cannot be read", words=work.error)
        return render_template("ledger.html", batches=work.result["data"] or [], state=state, states=STATES)

    @app.get("/work/<work_id>")
    def work(work_id: str) -> Response | str:
        found = background.find(work_id)
        if found is None:
            abort(404, "The console has started again since: look into the ledger for what became of it.")
        then = request.args.get("then", "")
        if found.done.is_set() and then.startswith("/ledger"):
            return redirect(then)
        return render_template("work.html", work=found, words=_words(found), pause=1)


def _add_questions(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    @app.get("/ask/<action>/<name>")
    def ask(action: str, name: str) -> str:
        if action not in QUESTIONS:
            abort(404)
        title, words = QUESTIONS[action]
        return render_template("ask.html", action=action, name=name, title=title, words=words)

    @app.post("/do/<action>/<name>")
    def do(action: str, name: str) -> Response:
        where = environment()
        if action == "redo":
            return redirect(url_for("execution", name=start_again(where, name), new=1), 303)
        if action not in QUESTIONS:
            abort(404)
        call: Callable[[Callable[[str], None]], Any] = lambda tell: _undo(where, name, tell)  # noqa: E731
        if action == "stop":
            found = get_execution(where, name)
            call = lambda tell: {"message": stop(where, found.name, tell).words}  # noqa: E731
        done = background.begin(f"{action.capitalize()} {name}", call)
        return redirect(url_for("work", work_id=done.id), 303)


def _undo(environment: Environment, name: str, tell: Callable[[str], None]) -> Any:
    return run_task(environment, "undo", {"batch": name}, progress=tell)


def _words(work: Work) -> str:
    if not work.done.is_set():
        return f"{work.status} …"
    if work.error:
        return work.error
    return str(work.result.get("message") or work.result.get("outcome"))
