"""The lab: two hosts, their databases and web applications, a nameserver and a resolver, in one folder."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dns.exception
import dns.message
import dns.query

from switchover.demo import clusters, texts
from switchover.demo.client import REFUSED
from switchover.demo.processes import LabFailed, Processes, Program

if TYPE_CHECKING:
    import psycopg

    from switchover.demo.clusters import Cluster

_LOW_PORTS = range(20000, 32000)
"""Below Linux's range for outgoing connections (ip_local_port_range), so that none takes a port first."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may differ from lab to lab."""

    opens_in: timedelta = timedelta(0)
    """From the lab's start to the window's."""
    window: str = "10m"
    keep: bool = False
    """Whether the folder stays when the lab ends; its processes never do."""


@dataclass(slots=True)
class Lab:
    """A whole world for one migration; as a context manager it starts, and leaves no process and no folder.

    ``folder`` holds everything; ``plan`` is the plan file, ``env`` what a child needs to reach the databases.
    """

    wishes: Wishes = field(default_factory=Wishes)
    folder: Path = field(init=False)
    env: dict[str, str] = field(init=False)
    ports: texts.Ports = field(init=False)
    old: Cluster = field(init=False)
    new: Cluster = field(init=False)
    processes: Processes = field(init=False)
    _admin: str = field(default_factory=lambda: secrets.token_urlsafe(18), init=False)
    _role: str = field(default_factory=lambda: secrets.token_urlsafe(18), init=False)

    def __enter__(self) -> Self:
        clusters.wheel()
        self.folder = Path(tempfile.mkdtemp(prefix="switchover-demo-"))
        self.processes = Processes(self.folder, self.wishes.keep)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process and, unless it is wished to stay, remove the folder."""
        self.processes.close()
        if not self.wishes.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def plan(self) -> Path:
        """The plan of this migration."""
        return self.folder / "shop.toml"

    @property
    def servers_passwords(self) -> Path:
        """The password file of the account that the database servers run as."""
        return self.folder / "servers.conf"

    @property
    def maintenance(self) -> Path:
        """While this file exists, the old application shows its maintenance page."""
        return self.folder / "maintenance"

    @property
    def url(self) -> str:
        """Where users find the shop."""
        return f"http://shop.test:{self.ports.web}/"

    def connect(self, which: str, dbname: str = clusters.DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection to the "old" or the "new" database server."""
        return (self.old if which == "old" else self.new).connect(self._admin, dbname)

    def serving(self) -> str:
        """The host that users are sent to, "old" or "new", as the primary nameserver says."""
        query = dns.message.make_query("shop.test.", "A", flags=0)
        reply = dns.query.tcp(query, texts.NS1, timeout=5, port=self.ports.dns)
        return "new" if any(record.to_text() == texts.NEW for rrset in reply.answer for record in rrset) else "old"

    def start_client(self, rate: float = 20.0) -> None:
        """Let users place orders."""
        self._python(
            "client",
            *("--name", "shop.test", "--port", str(self.ports.web)),
            *("--resolver", self.resolver, "--folder", str(self.folder), "--rate", str(rate)),
        )
        self.processes.wait_until("client", (self.folder / REFUSED).exists)

    def stop_client(self) -> None:
        """Send the users home; orders under way are waited for."""
        self.processes.stop("client", patience_s=10)

    @property
    def resolver(self) -> str:
        """The recursive resolver, ``ip:port``."""
        return f"{texts.RESOLVER}:{self.ports.dns}"

    def _start(self) -> None:
        user = clusters.server_user()
        if user is not None:
            self.folder.chmod(0o711)  # PostgreSQL's user passes through; it can list nothing
        home = clusters.installs(self.folder, user)
        old = free_port("127.0.0.1")
        self.ports = texts.Ports(
            dns=free_port(texts.PARENT, texts.NS1, texts.NS2, texts.RESOLVER),
            web=free_port(texts.OLD, texts.NEW),
            old=old,
            new=free_port("127.0.0.1", unlike=old),
        )
        self.env = _environment(self.folder)
        self.old = clusters.prepare(self.folder, "old", self.ports.old, home, user)
        self.new = clusters.prepare(self.folder, "new", self.ports.new, home, user)
        self._initdb(user)
        self._write_files()
        self._start_dns()
        for role in ("old", "new"):
            self._start_web(role)
        self._start_databases()
        self._await_all()

    def _initdb(self, user: clusters.User | None) -> None:
        pwfile = _write(self.folder / "pwfile", self._admin)
        if user is not None:
            os.chown(pwfile, user.uid, user.gid)
        for cluster in (self.old, self.new):
            clusters.initdb(self.processes, cluster, pwfile, self.env)

    def _write_files(self) -> None:
        ports = self.ports
        _write(self.folder / "services.conf", texts.services(ports))
        _write(self.folder / "passwords.conf", texts.passwords(ports, self._admin, self._role))
        _write(self.servers_passwords, texts.passwords(ports, self._admin, self._role))
        if self.old.user is not None:
            os.chown(self.servers_passwords, self.old.user.uid, self.old.user.gid)
        _write(self.folder / "shop.key", texts.key(secrets.token_bytes(32)))
        _write(self.folder / "shop.test.zone", texts.SHOP_ZONE)
        _write(self.folder / "test.zone", texts.TEST_ZONE)
        opens = datetime.now(UTC) + self.wishes.opens_in
        _write(self.plan, texts.plan(ports, self.folder, self.new.bin, opens, self.wishes.window))

    def _start_dns(self) -> None:
        folder, port = self.folder, str(self.ports.dns)
        self._python(
            "nameserver",
            *("--port", port, "--parent", texts.PARENT, "--primary", texts.NS1, "--secondary", texts.NS2),
            *("--zone", f"shop.test={folder}/shop.test.zone", "--parent-zone", f"test={folder}/test.zone"),
            *("--key-file", str(folder / "shop.key")),
        )
        self._python(
            "resolver",
            *("--listen", self.resolver),
            *("--forward", f"shop.test={texts.NS1},{texts.NS2}", "--forward", f"test={texts.PARENT}"),
        )

    def _start_web(self, role: str) -> None:
        address = texts.OLD if role == "old" else texts.NEW
        self._python(
            "webapp",
            *("--role", role, "--listen", f"{address}:{self.ports.web}"),
            *("--service", f"shop_{role}_app", "--maintenance", str(self.maintenance)),
            name=f"webapp-{role}",
        )

    def _start_databases(self) -> None:
        for cluster in (self.old, self.new):
            self.processes.finish(f"initdb-{cluster.name}", 60)
            clusters.serve(self.processes, cluster, self.env)
        (self.folder / "pwfile").unlink()
        for cluster in (self.old, self.new):
            self.processes.wait_until(cluster.program, lambda c=cluster: clusters.answers(c, self._admin))  # type: ignore[misc]
            clusters.create_database(cluster, self._admin, self._role)
        seed = Path(__file__).with_name("shop.sql").read_text()
        with self.connect("old") as connection:
            connection.execute("SET ROLE shop")
            connection.execute(seed.encode())

    def _await_all(self) -> None:
        for address in (texts.PARENT, texts.NS1, texts.NS2):
            self.processes.wait_until("nameserver", lambda a=address: self._resolves(a))  # type: ignore[misc]
        self.processes.wait_until("resolver", lambda: self._resolves(texts.RESOLVER))
        for role, address in (("old", texts.OLD), ("new", texts.NEW)):
            self.processes.wait_until(f"webapp-{role}", lambda a=address: self._healthy(a))  # type: ignore[misc]

    def _resolves(self, address: str) -> bool:
        query = dns.message.make_query("test." if address == texts.PARENT else "shop.test.", "SOA")
        try:
            return bool(dns.query.udp(query, address, timeout=0.3, port=self.ports.dns).answer)
        except (dns.exception.DNSException, OSError):
            return False

    def _healthy(self, address: str) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{address}:{self.ports.web}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _python(self, module: str, *options: str, name: str = "") -> None:
        argv = (sys.executable, "-m", f"switchover.demo.{module}", *options)
        self.processes.start(Program(name or module, argv, self.env))


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment without what would lead libpq elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {
        "PGSERVICEFILE": str(folder / "services.conf"),
        "PGPASSFILE": str(folder / "passwords.conf"),
    }


def _write(path: Path, text: str) -> Path:
    """Create the file, readable by its owner only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def free_port(*addresses: str, unlike: int = 0) -> int:
    """A port that is free on all these addresses, over TCP and UDP."""
    for port in random.sample(_LOW_PORTS, 200):
        with contextlib.suppress(OSError):
            _bind(port, addresses)
            if port != unlike:
                return port
    raise LabFailed(f"no free port on {', '.join(addresses)}; is this loopback on Linux?")


def _bind(port: int, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((address, port))
