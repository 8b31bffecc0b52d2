"""The console as a WSGI application: the pages that only read; the pages that act are in `actions`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, abort, render_template, request
from werkzeug.exceptions import HTTPException

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import (
    EnvironmentMissingError,
    ExecutionMissingError,
    NotStartedError,
    RatesflowError,
)
from ratesflow.workflow.client.executions import get_execution, list_executions
from ratesflow.workflow.client.history import format_seconds
from ratesflow.workflow.client.reports import extent_of_list, unknown_ports
from ratesflow.workflow.console.actions import add_actions
from ratesflow.workflow.console.background import Background
from ratesflow.workflow.console.guard import guard
from ratesflow.workflow.console.reading import CachedEnvironment, read_events, read_log, read_page, stream_object
from ratesflow.workflow.diagram.svg import STYLE
from ratesflow.workflow.timestamps import moment

OUTCOMES = ("running", "open", "committed", "rejected", "duplicate", "failed", "undone")
MAX_EXECUTIONS = 1000


def create_app(find: Callable[[], Environment], key: str | None = None) -> Flask:
    """Return the application for the environment that `find` finds; see `guard` for who may use it.

    `app.config["PORT"]` must be set to the port on which it listens.
    """
    app = Flask(__name__)
    app.jinja_env.filters |= {"moment": moment, "seconds": format_seconds, "so_far": _so_far, "number": _number}
    app.jinja_env.filters |= {"extent_of_list": extent_of_list, "unknown_ports": unknown_ports}
    guard(app, key)
    environment, background = CachedEnvironment(find), Background()
    _add_pages(app, environment)
    _add_execution(app, environment)
    add_actions(app, environment, background)
    _add_errors(app)
    return app


def _add_pages(app: Flask, environment: Callable[[], Environment]) -> None:
    @app.get("/health")
    def health() -> str:
        return "ok\n"

    @app.get("/static/graph.css")
    def graph_style() -> Response:
        return Response(STYLE, mimetype="text/css")

    @app.get("/")
    def executions() -> str:
        limit = min(max(request.args.get("limit", 50, int), 1), MAX_EXECUTIONS)
        outcome, text = request.args.get("outcome", ""), request.args.get("text", "").strip()
        found = list_executions(environment(), limit)
        shown = [
            one
            for one in found
            if outcome in ("", one.outcome) and text.lower() in f"{one.name} {one.input.get('key', '')}".lower()
        ]
        return render_template(
            "executions.html",
            executions=shown,
            outcome=outcome,
            outcomes=OUTCOMES,
            text=text,
            limit=limit,
            more=len(found) == limit < MAX_EXECUTIONS,
            pause=_pause(environment()),
        )


def _add_execution(app: Flask, environment: Callable[[], Environment]) -> None:
    @app.get("/executions/<name>")
    def execution(name: str) -> str | tuple[str, int]:
        try:
            page = read_page(environment(), name)
        except ExecutionMissingError:
            if "new" not in request.args:
                raise
            return render_template("waiting.html", name=name, pause=_pause(environment()))
        return render_template("execution.html", page=page, found=page.execution, pause=_pause(environment()))

    @app.get("/executions/<name>/jobs/<job_id>")
    def log(name: str, job_id: str) -> str:
        found = read_log(environment(), name, job_id)
        if found is None:
            abort(404, "This execution has no such job, or the job has expired in AWS Batch.")
        return render_template("log.html", name=name, log=found)

    @app.get("/executions/<name>/events")
    def events(name: str) -> str:
        get_execution(environment(), name)
        return render_template("events.html", name=name, events=read_events(environment(), name))

    @app.get("/executions/<name>/errors.csv")
    def errors(name: str) -> Response:
        page = read_page(environment(), name)
        address = (page.report or {}).get("full_report")
        if not address:
            abort(404, "This execution has no report of rejected rows.")
        return Response(stream_object(environment(), str(address)), mimetype="text/csv")


def _add_errors(app: Flask) -> None:
    def page(title: str, message: str, code: int) -> tuple[str, int]:
        return render_template("message.html", title=title, message=message), code

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[str, int]:
        if isinstance(error, HTTPException):
            return page(error.name, str(error.description), error.code or 500)
        if isinstance(error, ExecutionMissingError):
            return page("No such execution", f"{error} The ledger may still have its batch.", 404)
        if isinstance(error, NotStartedError):
            return page("Not started", str(error), 409)
        if isinstance(error, EnvironmentMissingError):
            return page("No stack", str(error), 503)
        if isinstance(error, RatesflowError):
            return page("Failed", str(error), 502)
        app.logger.exception("a page failed")
        return page("AWS request failed", f"{type(error).__name__}: {error}", 502)


def _pause(environment: Environment) -> float:
    """Return the seconds between two polls of a page: calls to AWS are counted."""
    return 0.5 if environment.is_local else 5


def _so_far(started: datetime) -> str:
    seconds = int((datetime.now(UTC) - started).total_seconds())
    return f"{seconds // 60} min {seconds % 60} s so far" if seconds >= 60 else f"{seconds} s so far"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
