"""Reads at a steady rate, each timed from when it was due, whether or not the previous ones have finished.

`python -m benchmarks.api.reads PORT PATHS READS_A_SECOND SECONDS FILE` requests the lines of the file PATHS in order,
and writes milliseconds and statuses to FILE. If the service stops for a moment, this counts for all reads that are
due meanwhile, as it would for clients.
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from pathlib import Path

CONNECTIONS = 64


class Reads:
    """The idle connections, and the results of all connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.milliseconds: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def connect(self) -> None:
        """Open all connections."""
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))

    async def read(self, path: str, due: float) -> None:
        """Send one request."""
        reader, writer = await self._idle.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self.milliseconds.append(1000 * (time.perf_counter() - due))
        self.statuses[head[9:12].decode()] += 1
        self._idle.put_nowait((reader, writer))


async def send(port: int, paths: list[str], rate: float, seconds: float) -> Reads:
    """Send requests for some seconds."""
    reads = Reads(port)
    await reads.connect()
    began, tasks = time.perf_counter() + 0.1, []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(reads.read(paths[number % len(paths)], due)))
    await asyncio.gather(*tasks)
    return reads


def main(port: str, paths: str, rate: str, seconds: str, file: str) -> None:
    """Send requests, and write the results."""
    listed = Path(paths).read_text(encoding="utf-8").splitlines()
    gc.disable()  # a pause of this process is not one of the service
    reads = asyncio.run(send(int(port), listed, float(rate), float(seconds)))
    Path(file).write_text(json.dumps({"ms": reads.milliseconds, "statuses": reads.statuses}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
