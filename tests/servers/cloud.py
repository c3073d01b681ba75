"""HTTP APIs of DNS keepers on loopback: a server that loses what it is told to lose, and what it speaks.

``CloudflareApi`` and ``DigitalOceanApi`` are stand-ins: nobody can run these services here. They speak the part of the
published APIs that the product uses, as strictly as the documents say, with their state in memory; what the services
do beyond their documents they cannot tell. ``forward`` hands every request on to a real server.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TypeOfLoss = Literal["", "write", "reply", "everything after the write", "answer of a gateway", "time"]


@dataclass(frozen=True, slots=True)
class Request:
    """What came in."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass
class ApiServer:
    """Serves ``answer``, which returns a status and a body."""

    answer: Callable[[Request], tuple[int, bytes]]
    lose: TypeOfLoss = ""
    before_write: Callable[[], object] | None = None
    """Done once, before the next write is looked at."""
    asked: list[Request] = field(default_factory=list)
    made: int = 0
    """Writes that were carried out."""
    _closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = _Listening(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; a second time does nothing."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, request: Request) -> tuple[int, bytes] | None:
        """The answer; None: cut the connection."""
        self.asked.append(request)
        if self.lose == "everything after the write" and self.made:
            return None
        if not request.writes:
            return self.answer(request)
        if self.before_write is not None:
            then, self.before_write = self.before_write, None
            then()
        if self.lose == "write":
            return None
        if self.lose == "time":
            self._closing.wait()
            return None
        if self.lose == "answer of a gateway":
            return 504, b"<html>the gateway gave up</html>"
        status, body = self.answer(request)
        self.made += status < 300
        return None if self.lose else (status, body)


class _Listening(ThreadingHTTPServer):
    daemon_threads = False
    owner: ApiServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listening

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = self.server.owner.take(Request(self.command, self.path, headers, body))
        if said is None:
            self.close_connection = True
            return
        self.send_response(said[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said[1])))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(said[1])

    do_PATCH = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


def forward(url: str) -> Callable[[Request], tuple[int, bytes]]:
    """Ask the server there, which is real."""
    there = urlsplit(url)

    def answer(request: Request) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=10)
        try:
            connection.request(request.method, request.target, request.body or None, request.headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return answer


@dataclass
class CloudflareApi:
    """A stand-in for one account at Cloudflare: zones, records, and two tokens."""

    token: str
    may_write: bool = True
    zones: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    page: int = 2
    """Entries of a page at most, whatever is asked for."""

    def add(self, name: str, content: str, ttl: int = 300, type: str = "A", **more: object) -> dict[str, Any]:
        number = len(self.records)
        made = {"id": f"{number:032x}", "name": name, "type": type, "content": content, "ttl": ttl, "proxied": False}
        made |= {"comment": "the shop", "tags": ["team:web"], **more}
        self.records.append(made)
        return made

    def __call__(self, request: Request) -> tuple[int, bytes]:
        status, document = self._answer(request)
        return status, json.dumps(document).encode()

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or len(shown) < 20:
            return _cf_error(400, 6003, "Invalid request headers")
        if shown != self.token:
            return _cf_error(403, 9109, f"Invalid access token {shown}")
        parts = request.path.strip("/").split("/")
        if request.method == "GET" and parts == ["zones"]:
            return self._list(self.zones, request.query)
        if parts[:1] != ["zones"] or parts[2:3] != ["dns_records"] or parts[1] not in [z["id"] for z in self.zones]:
            return _cf_error(404, 7003, "Could not route to the path")
        if request.method == "GET":
            return self._list(self.records, request.query)
        return self._write(request, parts[3])

    def _list(self, entries: list[dict[str, Any]], query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        found = [each for each in entries if query.get("name") in (None, each["name"])]
        found = [each for each in found if query.get("type") in (None, each.get("type"))]
        size, number = min(self.page, int(query.get("per_page", "20"))), int(query.get("page", "1"))
        pages = -(-len(found) // size)
        info = {"page": number, "per_page": size, "total_count": len(found), "total_pages": pages}
        return 200, _cf(found[(number - 1) * size : number * size]) | {"result_info": info}

    def _write(self, request: Request, record_id: str) -> tuple[int, dict[str, Any]]:
        if not self.may_write:
            return _cf_error(403, 10000, "Authentication error")
        body = json.loads(request.body)
        if body.get("ttl") != 1 and not 60 <= body.get("ttl", 60) <= 86400:
            return _cf_error(400, 9021, "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic.")
        for record in self.records:
            if record["id"] == record_id and request.method in ("PATCH", "PUT"):
                if request.method == "PUT":  # by the documents: what is not named is set to its default
                    record |= {"proxied": False, "comment": None, "tags": []}
                record.update(body)
                return 200, _cf(record)
        return _cf_error(404, 81044, "Record does not exist.")


def _cf(result: object) -> dict[str, Any]:
    return {"success": True, "errors": [], "messages": [], "result": result}


def _cf_error(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}


@dataclass
class DigitalOceanApi:
    """A stand-in for one team at DigitalOcean: domains, records, a token."""

    token: str
    may_write: bool = True
    domains: Iterable[str] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    page: int = 2
    """Entries of a page at most, whatever is asked for."""

    def add(self, name: str, data: str, ttl: int = 300, type: str = "A") -> dict[str, Any]:
        made = {"id": 28448400 + len(self.records), "type": type, "name": name, "data": data, "ttl": ttl}
        made |= {"priority": None, "port": None, "weight": None, "flags": None, "tag": None}
        self.records.append(made)
        return made

    def __call__(self, request: Request) -> tuple[int, bytes]:
        status, document = self._answer(request)
        return status, json.dumps(document).encode()

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        shown = request.headers.get("authorization", "")
        if shown != f"Bearer {self.token}":
            return 401, {"id": "Unauthorized", "message": f"Unable to authenticate you: {shown}"}
        parts = request.path.strip("/").split("/")
        if parts[:1] != ["domains"] or parts[1] not in self.domains or parts[2:3] != ["records"]:
            return 404, {"id": "not_found", "message": "The resource you were accessing could not be found."}
        return self._list(parts[1], request.query) if request.method == "GET" else self._write(request, parts[3])

    def _list(self, domain: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        found = [
            each
            for each in self.records
            if query.get("name") in (None, domain if each["name"] == "@" else f"{each['name']}.{domain}")
            and query.get("type") in (None, each["type"])
        ]
        size, number = min(self.page, int(query.get("per_page", "20"))), int(query.get("page", "1"))
        pages = {"next": "https://api.digitalocean.invalid/next"} if number * size < len(found) else {}
        part = found[(number - 1) * size : number * size]
        return 200, {"domain_records": part, "links": {"pages": pages} if pages else {}, "meta": {"total": len(found)}}

    def _write(self, request: Request, record_id: str) -> tuple[int, dict[str, Any]]:
        if not self.may_write:
            return 403, {"id": "Forbidden", "message": "You are not authorized to perform this operation"}
        body = json.loads(request.body)
        if "type" not in body:
            return 422, {"id": "unprocessable_entity", "message": "type is required"}
        if body.get("ttl", 30) < 30:
            return 422, {"id": "unprocessable_entity", "message": "TTL must be at least 30"}
        for record in self.records:
            if str(record["id"]) == record_id and request.method == "PATCH":
                record.update(body)
                return 200, {"domain_record": record}
        return 404, {"id": "not_found", "message": "The resource you were accessing could not be found."}
