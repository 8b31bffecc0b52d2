"""The pages that act: upload a file, redo, stop and undo, each with a confirmation; and the ledger, which is a task."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import get_execution
from ratesflow.workflow.client.run_task import run_task
from ratesflow.workflow.client.start import rerun
from ratesflow.workflow.client.stop import stop
from ratesflow.workflow.client.upload import upload
from ratesflow.workflow.console.background import Background, Work

STATES = ("all", "open", "committed", "rejected", "duplicate", "failed", "undone")
WAIT_SECONDS = 6.0
CONFIRMATIONS = {
    "redo": ("Redo this batch?", "The same file goes through every step again, under a new name."),
    "stop": (
        "Stop this execution?",
        "Its tasks are terminated and loaded rows are discarded. Committed rows stay.",
    ),
    "undo": ("Undo this batch?", "All of its rows disappear for every reader at once. Its file may be ingested again."),
}


def add_actions(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    """Add the pages that act to the application."""
    _add_upload(app, environment)
    _add_ledger(app, environment, background)
    _add_confirmations(app, environment, background)


def _add_upload(app: Flask, environment: Callable[[], Environment]) -> None:
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
            created = upload(environment(), file, force="force" in request.form)
        return redirect(url_for("execution", name=created.execution_name, new=1), 303)


def _add_ledger(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    @app.get("/ledger")
    def ledger() -> Response | str:
        state = request.args.get("state", "all")
        if state not in STATES:
            abort(400, f"state is one of {', '.join(STATES)}.")
        target, limit = environment(), min(max(request.args.get("limit", 50, int), 1), 1000)
        arguments = {"limit": str(limit), "state": state}
        work = background.find(request.args.get("answer", "")) or background.start(
            "Reading the ledger", lambda report: run_task(target, "ledger", arguments, progress=report)
        )
        if not work.done.wait(WAIT_SECONDS):
            return redirect(url_for("work", work_id=work.id, then=url_for("ledger", state=state, answer=work.id)))
        if work.error:
            return render_template("message.html", title="The ledger cannot be read", message=work.error)
        return render_template("ledger.html", batches=work.result["data"] or [], state=state, states=STATES)

    @app.get("/work/<work_id>")
    def work(work_id: str) -> Response | str:
        found = background.find(work_id)
        if found is None:
            abort(404, "The console has restarted; check the ledger for the outcome.")
        then = request.args.get("then", "")
        if found.done.is_set() and then.startswith("/ledger"):
            return redirect(then)
        return render_template("work.html", work=found, message=_message(found), pause=1)


def _add_confirmations(app: Flask, environment: Callable[[], Environment], background: Background) -> None:
    @app.get("/confirm/<action>/<name>")
    def confirm(action: str, name: str) -> str:
        if action not in CONFIRMATIONS:
            abort(404)
        title, explanation = CONFIRMATIONS[action]
        return render_template("confirm.html", action=action, name=name, title=title, explanation=explanation)

    @app.post("/do/<action>/<name>")
    def do(action: str, name: str) -> Response:
        target = environment()
        if action == "redo":
            return redirect(url_for("execution", name=rerun(target, name), new=1), 303)
        if action not in CONFIRMATIONS:
            abort(404)
        call: Callable[[Callable[[str], None]], Any] = lambda report: _undo(target, name, report)  # noqa: E731
        if action == "stop":
            found = get_execution(target, name)
            call = lambda report: {"message": stop(target, found.name, report).message}  # noqa: E731
        work = background.start(f"{action.capitalize()} {name}", call)
        return redirect(url_for("work", work_id=work.id), 303)


def _undo(environment: Environment, name: str, report: Callable[[str], None]) -> Any:
    return run_task(environment, "undo", {"batch": name}, progress=report)


def _message(work: Work) -> str:
    if not work.done.is_set():
        return f"{work.status} …"
    if work.error:
        return work.error
    return str(work.result.get("message") or work.result.get("outcome"))
