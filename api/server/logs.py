"""The log of the service and of Granian, as JSON lines."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

EXTRA = ("request_id", "method", "path", "query", "status", "milliseconds", "bytes", "source", "client", "agent")
MAX_TEXT = 500  # characters of a client's text

access = logging.getLogger("ratesflow.access")


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_access(
    environ: Mapping[str, Any], status: str, length: int, source: str, identity: str, seconds: float
) -> None:
    """Write the line of one request; `source` is where the response came from: the cache, the database, or neither."""
    path = environ["PATH_INFO"][:MAX_TEXT]
    access.info(
        "%s %s %s", environ["REQUEST_METHOD"], path, status[:3],
        extra={
            "request_id": identity,
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ.get("QUERY_STRING", "")[:MAX_TEXT],
            "status": int(status[:3]),
            "milliseconds": round(seconds * 1000, 3),
            "bytes": length,
            "source": source,
            "client": environ.get("HTTP_X_FORWARDED_FOR", environ.get("REMOTE_ADDR", ""))[:MAX_TEXT],
            "agent": environ.get("HTTP_USER_AGENT", "")[:MAX_TEXT],
        },
    )  # fmt: skip


class IntendedThreads(logging.Filter):
    """Drops Granian's advice to use few threads: most of ours only wait, so that further requests get a 503."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is another one."""
        return not record.getMessage().startswith("Configuration allows spawning up to")


def configuration() -> dict[str, Any]:
    """Return the configuration for logging.config.dictConfig; Granian applies it in every worker."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "ratesflow.api.server.logs.JsonLines"}},
        "filters": {"intended": {"()": "ratesflow.api.server.logs.IntendedThreads"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["intended"]}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "_granian": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        },
    }
