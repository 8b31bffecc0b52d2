"""Common alternatives to COPY: pandas `to_sql`, and dlt in its own environment."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from sqlalchemy import create_engine, make_url

from benchmarks.loading.copies import DATABASE
from benchmarks.servers import Servers

# None of these is a dependency of the project, so they have their own environment.
PACKAGES = ("dlt[postgres]==1.31.0", "pyarrow==26.0.1")
ROOT = Path(__file__).parents[2]


def home() -> Path:
    """Return the folder of dlt's environment: `RATESFLOW_BENCH_VENV`, or one inside .venv, which git ignores."""
    return Path(os.environ.get("RATESFLOW_BENCH_VENV") or ROOT / ".venv" / "bench")


def prepare() -> Path:
    """Return the Python that has dlt, created at first use (needs the package index)."""
    python = home() / "bin" / "python"
    ready = home() / ".ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != repr(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home())], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.write_text(repr(PACKAGES), encoding="utf-8")
    return python


def dlt_append(servers: Servers, path: Path) -> tuple[float, float]:
    """Append a batch with dlt to an existing table.

    Return the seconds of `pipeline.run` in a process that ran it before, and those of a whole new process.
    """
    servers.execute("DROP SCHEMA IF EXISTS by_dlt CASCADE", DATABASE)
    _dlt(servers, path, "first")
    servers.settle()
    _, whole = _dlt(servers, path, "once")
    servers.settle()
    run, _ = _dlt(servers, path, "warm")
    return run, whole


def _dlt(servers: Servers, path: Path, how: str) -> tuple[float, float]:
    script = Path(__file__).with_name("dlt_append.py")
    command = [str(prepare()), str(script), servers.url(DATABASE), str(path), str(servers.folder / "dlt"), how]
    environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=servers.folder)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"dlt failed:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"]), seconds


def to_sql(servers: Servers, path: Path) -> float:
    """Load a batch with pandas, many rows a statement; return seconds, reading the file included."""
    servers.execute("DROP TABLE IF EXISTS by_pandas", DATABASE)
    servers.settle()
    engine = create_engine(make_url(servers.url(DATABASE)).set(drivername="postgresql+psycopg2"))
    began = time.perf_counter()
    frame = pd.read_csv(path, parse_dates=["day"])
    frame["day"] = frame["day"].dt.date
    frame.to_sql("by_pandas", engine, index=False, method="multi", chunksize=10_000)
    seconds = time.perf_counter() - began
    engine.dispose()
    return seconds
