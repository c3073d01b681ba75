"""A Docker endpoint, on a Unix socket or over TLS: what the engine's API answers for a swarm; it takes no change."""

from __future__ import annotations

import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trustme


@dataclass
class Engine:
    """What it answers, and what it was asked."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def node(self, name: str, role: str, *, cpu: int = 2, gb: float = 8.2, **more: Any) -> None:
        self.nodes.append(
            {
                "ID": f"id-{name}",
                "Spec": {
                    "Role": role,
                    "Availability": more.get("availability", "active"),
                    "Labels": more.get("labels"),
                },
                "Description": {"Hostname": name, "Resources": {"NanoCPUs": cpu * 10**9, "MemoryBytes": int(gb * 1e9)}},
                "Status": {"State": more.get("state", "ready"), "Addr": "10.0.0.1"},
            }
        )

    def service(self, name: str, *nodes: str, constraints: tuple[str, ...] = ()) -> None:
        placement = {"Constraints": list(constraints)} if constraints else {}
        self.services.append({"ID": f"s-{name}", "Spec": {"Name": name, "TaskTemplate": {"Placement": placement}}})
        self.tasks += [{"NodeID": f"id-{node}", "ServiceID": f"s-{name}"} for node in nodes]

    def answer(self, path: str) -> Any:
        if path.endswith("/version"):
            return {"ApiVersion": "1.47", "Version": "27.5.1"}
        if self.status != 200:
            return {"message": "This node is not a swarm manager."}
        name = path.split("?")[0].rsplit("/", 1)[1]
        return {"nodes": self.nodes, "services": self.services, "tasks": self.tasks}[name]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class _Guarded(socketserver.ThreadingTCPServer):
    """Speaks TLS alone, and only with clients whose certificate is of the authority."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self.context)
        authority.configure_trust(self.context)
        self.context.verify_mode = ssl.CERT_REQUIRED

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


@contextmanager
def serve(engine: Engine, socket: Path) -> Iterator[str]:
    """The URL of the endpoint on a Unix socket."""
    with _served(_Server(str(socket), _handler(engine))):
        yield f"unix://{socket}"


@contextmanager
def serve_tls(engine: Engine, authority: trustme.CA) -> Iterator[int]:
    """The port on localhost of the endpoint over TLS."""
    server = _Guarded(_handler(engine), authority)
    with _served(server):
        yield server.server_address[1]


def _handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            engine.asked.append(f"GET {self.path}")
            body = json.dumps(engine.answer(self.path)).encode()
            self.send_response(200 if self.path.endswith("/version") else engine.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self) -> None:
            engine.asked.append(f"{self.command} {self.path}")
            self.send_error(405)

        do_POST = do_PUT = do_DELETE = _refuse

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
