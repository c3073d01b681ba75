"""The lab's web application: a shop that reads and writes its PostgreSQL database.

``python -m switchover.demo.webapp --role old --listen 127.0.0.31:8000 --service shop_old_app
--maintenance FILE``
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import queue
import socketserver
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psycopg

from switchover.demo.dnsserver import split

if TYPE_CHECKING:
    from collections.abc import Iterator

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]

_CONNECTIONS = 8
_PATIENCE_S = 2.0
_PLACE = """
INSERT INTO orders (token, customer, sku)
SELECT %s, 1 + floor(random() * 20000)::int, 'SKU-' || 1 + floor(random() * 500)::int RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """The database behind the pages; a connection that was cut is dropped and made anew."""

    service: str
    _idle: queue.LifoQueue[Connection] = field(default_factory=queue.LifoQueue, init=False)
    _free: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_CONNECTIONS), init=False)

    def works(self) -> bool:
        """Whether the database answers."""
        with self._connection() as connection:
            return connection.execute("SELECT 1").fetchone() is not None

    def place(self, token: str) -> int:
        """Take an order; it is committed when this returns its number."""
        with self._connection() as connection:
            row = connection.execute(_PLACE, (token,)).fetchone()
        assert row is not None  # the statement returns a row or raises
        return int(str(row[0]))

    def find(self, token: str) -> int | None:
        """The number of the order with this token."""
        with self._connection() as connection:
            row = connection.execute("SELECT id FROM orders WHERE token = %s", (token,)).fetchone()
        return None if row is None else int(str(row[0]))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        if not self._free.acquire(timeout=_PATIENCE_S):
            raise psycopg.OperationalError("every connection is busy")
        try:
            connection = self._take()
            try:
                yield connection
            except psycopg.Error:
                connection.close()  # whatever broke, the next one starts clean
                raise
            self._idle.put(connection)
        finally:
            self._free.release()

    def _take(self) -> Connection:
        """An idle connection that still answers, or a new one."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return psycopg.connect(
                    f"service={self.service}",
                    connect_timeout=2,
                    autocommit=True,
                    application_name=self.service,
                    options="-c statement_timeout=2000",
                )
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1")
                return connection
            connection.close()


class App(socketserver.ThreadingTCPServer):
    """The server; one thread a connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: argparse.Namespace) -> None:
        self.role: str = options.role
        self.shop = Shop(options.service)
        self.maintenance: Path = options.maintenance
        super().__init__(split(options.listen), Page)


class Page(http.server.BaseHTTPRequestHandler):
    """GET /health, POST /orders, GET /orders/<token>."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: App

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.role == "old" and self.server.maintenance.exists():
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance")
            return
        try:
            status, text = self._get() if self.command == "GET" else self._post(body.decode("utf-8", "replace"))
        except psycopg.Error:
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer"
        self._say(status, text)

    def _get(self) -> tuple[HTTPStatus, str]:
        shop = self.server.shop
        if self.path == "/health" and shop.works():
            return HTTPStatus.OK, f"ok {self.server.role}"
        if self.path.startswith("/orders/"):
            number = shop.find(self.path.removeprefix("/orders/"))
            if number is not None:
                return HTTPStatus.OK, str(number)
        return HTTPStatus.NOT_FOUND, "not found"

    def _post(self, token: str) -> tuple[HTTPStatus, str]:
        if self.path != "/orders" or not token or "\0" in token:
            return HTTPStatus.NOT_FOUND, "not found"
        return HTTPStatus.CREATED, str(self.server.shop.place(token))

    def _say(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", self.server.role)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: 20 lines a second help nobody."""


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description="A web application for the lab, on loopback.")
    parser.add_argument("--role", choices=("old", "new"), required=True)
    parser.add_argument("--listen", required=True, metavar="IP:PORT")
    parser.add_argument("--service", required=True, help="section of PGSERVICEFILE")
    parser.add_argument("--maintenance", type=Path, required=True, help="while this file exists the old app is closed")
    with App(parser.parse_args()) as app:
        app.serve_forever()


if __name__ == "__main__":
    main()
