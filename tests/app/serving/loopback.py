"""An OpenAI-compatible server on this machine that says what a test wants, and remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "big"

Say = Callable[[dict[str, Any]], str]
"""What is said to a body."""


class Loopback(ThreadingHTTPServer):
    """The server.

    Attributes:
        say: Makes the words of a reply out of a request's body.
        bodies: What came to ``chat/completions``, parsed.
        authorizations: The header that came with each.
        connections: How many were made.
        replied: Replies that went out whole.
        status: What it answers with; anything but 200 with ``refusal`` as its text.
        hold: Where it is set, replies wait for it after their first piece.
        gone: Set when somebody hangs up while a reply waits or goes out in pieces.
    """

    daemon_threads = True

    def __init__(self, say: Say) -> None:
        self.say = say
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.connections = self.replied = 0
        self.status, self.refusal = 200, ""
        self.hold: threading.Event | None = None
        self.gone = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: object) -> None:
        """Nothing to tell: clients leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loopback

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self._answer(200, json.dumps({"data": [{"id": MODEL}]}))

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.endswith("chat/completions"):
            self._answer(404, "{}")
            return
        body = json.loads(sent)
        self.server.bodies.append(body)
        self.server.authorizations.append(self.headers["Authorization"])
        if self.server.status != 200:
            self._answer(self.server.status, self.server.refusal)
            return
        text = self.server.say(body)
        if body.get("stream"):
            self._stream([text[i : i + 7] for i in range(0, len(text), 7)])
            return
        if not self._held():
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._answer(200, json.dumps({"object": "chat.completion", "model": MODEL, "choices": [choice]}))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        if status in (301, 302, 307):
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(text.encode())
        self.server.replied += 1

    def _stream(self, pieces: Sequence[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            if not self._held():
                return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")
        self.server.replied += 1

    def _event(self, event: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        except OSError:
            self.server.gone.set()
            raise

    def _held(self) -> bool:
        """Wait while replies are held; false where the client has hung up meanwhile."""
        if self.server.hold is None:
            return True
        self.connection.settimeout(0.05)
        while not self.server.hold.is_set():
            try:
                if self.connection.recv(1) == b"":
                    self.server.gone.set()
                    return False
            except TimeoutError:
                continue
            except OSError:
                self.server.gone.set()
                return False
        self.connection.settimeout(None)
        return True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def loopback(say: Say) -> Iterator[Loopback]:
    """A server while a block runs."""
    server = Loopback(say)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        if server.hold is not None:
            server.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
