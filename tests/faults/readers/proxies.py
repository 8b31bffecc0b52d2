"""Faulty proxies for tasks: a TCP proxy that stalls, delays and resets, and an S3 proxy that fails."""

import asyncio
import contextlib
import http.client
import itertools
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK_BYTES = 65_536
# Headers of the connection, not of the message (RFC 9110, section 7.6.1), and those that the proxy sets itself.
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade", "proxy-connection"}


class Wire:
    """A TCP proxy on its own port and thread, which forwards connections to local ports in turn."""

    def __init__(self, *targets: int) -> None:
        self._targets = itertools.cycle(targets)
        self.delay_seconds = 0.0
        self.passed_bytes = 0
        self._flows = threading.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def stall(self) -> None:
        """Hold back all bytes, with open connections, until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Forward everything again, without delay."""
        self.delay_seconds = 0.0
        self._flows.set()

    def cut(self) -> int:
        """Reset all connections; return their number."""
        count = len(self._writers) // 2
        self._loop.call_soon_threadsafe(self._abort)
        return count

    def close(self) -> None:
        """Reset all connections and stop listening."""
        self._loop.call_soon_threadsafe(self._abort)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _abort(self) -> None:
        for writer in list(self._writers):
            with contextlib.suppress(OSError):  # no linger: the peer receives a reset, not an orderly close
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", next(self._targets))
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                while not self._flows.is_set():
                    await asyncio.sleep(0.01)
                self.passed_bytes += len(data)
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


class FaultyS3(ThreadingHTTPServer):
    """An HTTP proxy to an endpoint that fails some requests with 500 or 503, or truncates their bodies."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, endpoint: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = endpoint.removeprefix("http://")
        self.error_share = self.cut_share = 0.0
        self.errors = self.cuts = 0
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def failures(self, errors: float = 0.0, cuts: float = 0.0) -> Iterator[None]:
        """Fail these shares of the requests within the block."""
        self.error_share, self.cut_share = errors, cuts
        try:
            yield
        finally:
            self.error_share = self.cut_share = 0.0

    def draw(self, share: float) -> bool:
        """Decide at random whether a request fails."""
        return share > 0 and self._random.random() < share

    def handle_error(self, *_: object) -> None:
        """Ignore clients that were killed during a request."""

    def stop(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.draw(self.server.error_share):
            self.server.errors += 1
            return self._fail(*((500, "InternalError"), (503, "SlowDown"))[self.server.errors % 2])
        try:
            status, headers, data = self._send(body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return None
        cut = len(data) > 1 and self.command == "GET" and self.server.draw(self.server.cut_share)
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.server.cuts += 1
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)
        return None

    def _send(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        far = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_THE_CONNECTION:
                    far.putheader(name, value)
            far.endheaders(body or None)
            response = far.getresponse()
            data = response.read()
            headers = [(n, v) for n, v in response.getheaders() if n.lower() not in _OF_THE_CONNECTION]
            if self.command != "HEAD" and not any(n.lower() == "content-length" for n, _ in headers):
                headers.append(("Content-Length", str(len(data))))
            return response.status, headers, data
        finally:
            far.close()

    def _fail(self, status: int, code: str) -> None:
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        data = b"" if self.command == "HEAD" else data
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 names that http.server calls

    def log_message(self, *_: object) -> None:
        """Log nothing."""
