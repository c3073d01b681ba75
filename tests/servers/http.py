"""Real HTTP and HTTPS servers on loopback, in a thread, that answer as a test says."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int = 200
    body: bytes = b"ok"
    headers: tuple[tuple[str, str], ...] = ()
    hangs: bool = False
    """Say nothing until the server is closed."""
    drips: bool = False
    """Send the body byte by byte, for ever, until the server is closed."""


@dataclass
class HttpServer:
    """Serves on an address of 127.0.0.0/8; ``answers`` may be changed while it runs."""

    answers: dict[str, Answer | Callable[[], Answer]]
    address: str = "127.0.0.1"
    port: int = 0
    authority: trustme.CA | None = None
    """With one it speaks HTTPS, with a certificate for ``names``."""
    names: tuple[str, ...] = ()
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(path, Host) of each request."""
    sni: list[str | None] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = _Listening((self.address, self.port), _Handler)
        self._server.owner = self
        self._server.context = self._context()
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str = "/", name: str | None = None) -> str:
        scheme = "https" if self.authority else "http"
        return f"{scheme}://{name or self.address}:{self.port}{path}"

    def present(self, context: ssl.SSLContext) -> None:
        """Show another certificate from now on."""
        self._server.context = context

    def answer(self, path: str) -> Answer:
        found = self.answers.get(path, Answer(404, b"nothing here"))
        return found if isinstance(found, Answer) else found()

    def _context(self) -> ssl.SSLContext | None:
        if self.authority is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*self.names).configure_cert(context)

        def noted(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            self.sni.append(name)

        context.sni_callback = noted
        return context


class _Listening(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    owner: HttpServer
    context: ssl.SSLContext | None

    def get_request(self) -> tuple[Any, Any]:
        connection, client = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early or refuses the certificate is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listening

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.asked.append((self.path, self.headers["Host"]))
        answer = owner.answer(self.path)
        if answer.hangs:
            owner.closing.wait()
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(1 << 30 if answer.drips else len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if answer.drips:
            while not owner.closing.wait(0.02):
                self.wfile.write(b".")
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""
