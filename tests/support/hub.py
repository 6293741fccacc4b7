"""A stand-in for the Hugging Face hub on the loopback: real sockets, real headers, small files."""

from __future__ import annotations

import hashlib
import sys
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it holds and how it misbehaves.

    Attributes:
        files: ``"owner/name/file"`` to its content.
        revisions: The revisions it knows; all of them are ``COMMIT``.
        status: Answer this status to everything, with ``error_code`` as the hub's X-Error-Code.
        corrupt: Send other bytes than the ones it states the hash of.
        break_after: Close the connection after so many bytes of a body.
        ranges: Whether it honours a Range header.
        plain: Leave out the headers that tell a hub from any web server.
        cdn: Send the caller to another host for the content, as the real one does.
        requests: What it was asked: (method, path, headers).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    revisions: tuple[str, ...] = ("main", COMMIT)
    status: int = 200
    error_code: str = ""
    corrupt: bool = False
    break_after: int | None = None
    ranges: bool = True
    plain: bool = False
    cdn: bool = False
    requests: list[tuple[str, str, Message]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet: a test's output is its own."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                if not isinstance(sys.exception(), ConnectionError):  # a caller may hang up in the middle of a body
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        self.requests.append((request.command, request.path, request.headers))
        request.close_connection = True
        owner, name, _, revision, *rest = request.path.strip("/").split("/")
        content = self.files.get("/".join((owner, name, *rest)))
        if self.status != 200:
            return self._refuse(request, self.status, self.error_code)
        if revision not in self.revisions:
            return self._refuse(request, 404, "RevisionNotFound")
        if content is None:
            return self._refuse(request, 404, "EntryNotFound")

        first = 0
        if self.ranges and (wanted := request.headers.get("Range")):
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
        sent = content[::-1] if self.corrupt else content
        sent = sent[first:]
        if self.cdn and request.headers["Host"].startswith("127.0.0.1"):
            request.send_response(302)
            request.send_header("Location", f"{self.url.replace('127.0.0.1', 'localhost')}{request.path}")
            sent = b""
        else:
            request.send_response(206 if first else 200)
        if not self.plain:
            request.send_header("ETag", '"0123"')
            request.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            request.send_header("X-Linked-Size", str(len(content)))
            request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", str(len(sent)))
        request.send_header("Connection", "close")
        request.end_headers()
        if body:
            request.wfile.write(sent[: self.break_after])

    def _refuse(self, request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        request.send_response(status)
        if code:
            request.send_header("X-Error-Code", code)
        request.send_header("Content-Length", "0")
        request.send_header("Connection", "close")
        request.end_headers()
