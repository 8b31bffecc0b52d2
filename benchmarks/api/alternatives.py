"""The alternatives to the API, each a process, with their packages in a virtual environment of their own.

`flask_app.py` and `fastapi_app.py` have the first version's query and response. "hello" is the maximum of the server
that our API runs on.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ratesflow.local.processes import free_port, last_lines, python, start, stop

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "flask==3.1.3", "gunicorn==27.0.1", "psycopg2-binary==2.9.13", "orjson==3.13.0",
    "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", "asyncpg==0.32.0",
)  # fmt: skip
START_SECONDS = 30
WORKERS = 2


def home() -> Path:
    """Return the folder of the virtual environment: `RATESFLOW_BENCH_API_VENV`, or one in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RATESFLOW_BENCH_API_VENV") or cache / "ratesflow" / "bench-api")


def prepare() -> Path:
    """Return the folder of the alternatives' programs, created at first use (needs the package index)."""
    ready = home() / ".ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != repr(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home())], check=True)
        subprocess.run([str(home() / "bin/python"), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.write_text(repr(PACKAGES), encoding="utf-8")
    return home() / "bin"


@contextmanager
def serving(command: list[str], port: int, environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a server until the block ends; yield its process ID once it responds at `port`."""
    process = start(command, log, environment=dict(environment))
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _responds(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command} does not respond. The end of its log:\n{last_lines(log)}")
            time.sleep(0.05)
        yield process.pid
    finally:
        stop(process, signal.SIGTERM, grace_seconds=20)


def _responds(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2):
            return True
    except URLError as error:
        return hasattr(error, "code")  # a 404 is a response, too
    except OSError:
        return False


@contextmanager
def ours(url: str, log: Path, **settings: str) -> Iterator[tuple[int, int]]:
    """Run `python -m ratesflow.api` with `settings`; yield its port and the ID of its main process."""
    port = free_port()
    command = python("ratesflow.api", "--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS))
    with serving(command, port, {"DATABASE_URL": url, **settings}, log) as pid:
        yield port, pid


@contextmanager
def all_servers(url: str, folder: Path) -> Iterator[dict[str, int]]:
    """Run all alternatives; yield their ports by name."""
    programs = prepare()
    environment = {"DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parent)}
    gunicorn = [str(programs / "gunicorn"), "flask_app:app", "--worker-class", "sync", "--log-level", "error"]
    uvicorn = [str(programs / "uvicorn"), "fastapi_app:app", "--loop", "uvloop", "--http", "httptools"]
    uvicorn += ["--no-access-log", "--log-level", "error", "--workers", str(WORKERS)]
    ports = {name: free_port() for name in ("first", "first_2", "fastapi", "hello")}
    commands = {
        "first": [*gunicorn, "--workers", "1", "--bind", f"127.0.0.1:{ports['first']}"],
        "first_2": [*gunicorn, "--workers", str(WORKERS), "--bind", f"127.0.0.1:{ports['first_2']}"],
        "fastapi": [*uvicorn, "--port", str(ports["fastapi"])],
        "hello": [sys.executable, "-m", "benchmarks.api.hello", str(ports["hello"]), str(WORKERS)],
    }
    with ExitStack() as stack:
        for name, command in commands.items():
            own = {"PYTHONPATH": str(ROOT)} if name == "hello" else {}
            stack.enter_context(serving(command, ports[name], environment | own, folder / f"{name}.log"))
        cold, _ = stack.enter_context(ours(url, folder / "cold.log", RATESFLOW_API_CACHE_MB="0"))
        cached, _ = stack.enter_context(ours(url, folder / "cached.log"))
        yield ports | {"cold": cold, "cached": cached}
