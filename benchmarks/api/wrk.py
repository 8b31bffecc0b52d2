"""Load from wrk (on Debian: apt-get install wrk), which is faster than any of the measured servers."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# Paths in turn; at the end, print the number of responses by status, and the errors of connections.
SCRIPT = """
local paths = {}
for path in io.lines(os.getenv("RATESFLOW_PATHS")) do paths[#paths + 1] = path end
local at, threads = 0, {}
statuses = {}
function setup(thread) table.insert(threads, thread) end
function request()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
--COUNT--
function done(summary, latency)
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses") or {}) do print("status " .. status .. " " .. count) end
  end
  local errors = summary.errors
  print("errors " .. errors.connect + errors.read + errors.write + errors.timeout)
  print("bad_statuses " .. errors.status)
  print("requests " .. summary.requests)
  print("microseconds " .. summary.duration)
  print("p99 " .. latency:percentile(99) / 1000)
  print("p50 " .. latency:percentile(50) / 1000)
end
"""
# Only on request, since it slows down wrk.
COUNT = "function response(status) statuses[status] = (statuses[status] or 0) + 1 end"


@dataclass(frozen=True)
class WrkResult:
    """Requests per second, latencies in milliseconds, statuses if counted, and failed connections."""

    rate: float
    p50: float
    p99: float
    bad_statuses: int
    errors: int
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """The number of requests without a response, or with one that is neither successful nor a 503."""
        return self.errors + self.bad_statuses - self.statuses[503]


class Wrk:
    """A running wrk."""

    def __init__(
        self,
        folder: Path,
        port: int,
        paths: list[str],
        *,
        connections: int = 8,
        seconds: float = 4,
        count: bool = False,
    ) -> None:
        listed = folder / f"paths-{port}.txt"
        listed.write_text("\n".join(paths) + "\n", encoding="utf-8")
        script = folder / "wrk.lua"
        script.write_text(SCRIPT.replace("--COUNT--", COUNT if count else ""), encoding="utf-8")
        self._process = subprocess.Popen(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "8s", "-s", str(script),
             f"http://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, text=True, env={"RATESFLOW_PATHS": str(listed), "PATH": "/usr/bin:/usr/local/bin"},
        )  # fmt: skip

    def result(self) -> WrkResult:
        """Wait until wrk ends; return its result."""
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"wrk failed: {text}")
        printed = {name: float(value) for name, value in re.findall(r"^(\w+) ([\d.e+]+)$", text, re.M)}
        statuses = Counter(
            {int(status): int(count) for status, count in re.findall(r"^status (\d+) (\d+)$", text, re.M)}
        )
        rate = printed["requests"] / printed["microseconds"] * 1e6
        return WrkResult(
            rate, printed["p50"], printed["p99"], int(printed["bad_statuses"]), int(printed["errors"]), statuses
        )
