"""A Docker endpoint on a Unix socket that answers what the engine's API answers for a swarm, and takes no change."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


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


@contextmanager
def serve(engine: Engine, socket: Path) -> Iterator[str]:
    """The endpoint's URL."""

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

    server = _Server(str(socket), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"unix://{socket}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
