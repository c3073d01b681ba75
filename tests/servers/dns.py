"""Real name servers on loopback: Knot, NSD, unbound. All on one port; each address is a machine of its own.

They need no root: they run as whoever runs the tests, root too (their folders are the test's). A missing
binary fails the test: a promise that was not tried is not kept.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import dns.exception
import dns.flags
import dns.message
import dns.query
import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from switchover.dns.message import Endpoint

READY_S = 10


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key as the servers' configurations hold it."""

    name: str = "switchover."
    secret: str = "c3dpdGNob3Zlci1sYWItdHNpZy1zZWNyZXQtMzJieXQ="
    algorithm: str = "hmac-sha256"

    def write(self, path: Path) -> Path:
        """Write it as BIND's tools do, for the product to read."""
        path.touch(mode=0o600)
        path.write_text(f'key "{self.name}" {{\n\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n}};\n')
        return path


_PROBE = """
import sys, dns.exception, dns.message, dns.query
ip, port, zone = sys.argv[1:]
try:
    print(int(dns.query.tcp(dns.message.make_query(zone, "SOA"), ip, timeout=1, port=int(port)).flags))
except (OSError, EOFError, dns.exception.DNSException):
    print(-1)
"""


def free_port(
    ips: Sequence[str] = ("127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.21"),
) -> int:
    """A port that is free on all these addresses, over UDP and TCP; below the clients' range."""
    for _ in range(200):
        port = random.randrange(10_000, 30_000)
        if all(_is_free(ip, port, kind) for ip in ips for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise AssertionError("no free port found for the name servers")


def _is_free(ip: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True


@dataclass
class Server:
    """A name server process with its own folder."""

    folder: Path
    endpoint: Endpoint
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    within: Sequence[str] = field(default=(), kw_only=True)
    """What enters the network namespace that it runs in; empty: this one."""

    program: ClassVar[str]
    package: ClassVar[str]

    def configure(self) -> Sequence[str]:
        """Write the configuration and return the arguments of the program."""
        raise NotImplementedError

    def probe(self) -> tuple[str, bool]:
        """The zone to ask for its SOA, and whether the answer must be authoritative."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.launch()
        self.await_ready()
        return self

    def launch(self) -> None:
        """Start it."""
        path = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if path is None:
            pytest.fail(f"{self.program} is not installed: apt-get install {self.package} (see .ci/run)")
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [*self.within, path, *self.configure()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Ask until it answers; fail with its log if it does not."""
        zone, authoritative = self.probe()
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                pytest.fail(f"{self.program} ended with {self.process.returncode}:\n{self.log}")
            if self._answers(zone, authoritative):
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"{self.program} at {self.endpoint} did not answer for {zone} in {READY_S} s:\n{self.log}")

    def _answers(self, zone: str, authoritative: bool) -> bool:
        if self.within:
            argv = [*self.within, sys.executable, "-c", _PROBE, self.endpoint.ip, str(self.endpoint.port), zone]
            flags = int(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
            return flags >= 0 and (not authoritative or bool(flags & dns.flags.AA))
        query = dns.message.make_query(zone, "SOA")
        try:
            reply = dns.query.tcp(query, self.endpoint.ip, timeout=1, port=self.endpoint.port)
        except (OSError, EOFError, dns.exception.DNSException):
            return False
        return not authoritative or bool(reply.flags & dns.flags.AA)

    def stop(self) -> None:
        """End it, politely at first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Make it silent: it takes packets and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it speak again."""
        self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        """To the whole group: NSD's answers come from children."""
        assert self.process is not None
        os.killpg(self.process.pid, sign)

    def _end(self, sign: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self._signal(signal.SIGCONT)
            self._signal(sign)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Knot(Server):
    """What both Knots share."""

    program: ClassVar[str] = "knotd"
    package: ClassVar[str] = "knot"

    def _write(self, key: Key, rest: str) -> Sequence[str]:
        (self.folder / "db").mkdir(exist_ok=True)
        (self.folder / "knot.pid").unlink(missing_ok=True)  # a stale one stops knotd
        at = f"{self.endpoint.ip}@{self.endpoint.port}"
        config = self.folder / "knot.conf"
        config.write_text(f"""\
server:
    rundir: "{self.folder}"
    listen: {at}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    nsid: "knot {self.endpoint.ip}"
log:
  - target: stderr
    any: info
database:
    storage: "{self.folder}/db"
    journal-db-max-size: 16M
    timer-db-max-size: 5M
    kasp-db-max-size: 5M
    catalog-db-max-size: 5M
key:
  - id: {key.name}
    algorithm: {key.algorithm}
    secret: {key.secret}
{rest}""")
        return ["-c", str(config)]


@dataclass
class KnotPrimary(Knot):
    """Knot as primary: takes updates and transfers signed with the key, notifies ``notify`` at once."""

    zone: str
    text: str
    key: Key = field(default_factory=Key)
    notify: Sequence[str] = ()
    allow: Sequence[str] = ("update", "transfer")
    """What the key may do."""

    def configure(self) -> Sequence[str]:
        (self.folder / "zone").write_text(self.text)
        ip, port = self.endpoint.ip, self.endpoint.port
        remotes = "".join(
            # Without via the NOTIFY comes from 127.0.0.1 and is refused.
            f"  - id: s{number}\n    address: {other}@{port}\n    via: {ip}\n"
            for number, other in enumerate(self.notify)
        )
        told = ", ".join(f"s{number}" for number in range(len(self.notify)))
        return self._write(
            self.key,
            (f"remote:\n{remotes}" if remotes else "")
            + f"""\
acl:
  - id: upd
    key: {self.key.name}
    action: [{", ".join(self.allow)}]
zone:
  - domain: {self.zone}
    storage: "{self.folder}"
    file: zone
    zonefile-sync: -1
    acl: upd
{f"    notify: [{told}]" if told else ""}
""",
        )

    def probe(self) -> tuple[str, bool]:
        return self.zone, True


@dataclass
class KnotSecondary(Knot):
    """Knot as secondary of ``primary``."""

    zone: str
    primary: Endpoint
    key: Key = field(default_factory=Key)

    def configure(self) -> Sequence[str]:
        return self._write(
            self.key,
            f"""\
remote:
  - id: primary
    address: {self.primary.ip}@{self.primary.port}
    via: {self.endpoint.ip}
    key: {self.key.name}
acl:
  - id: told
    address: {self.primary.ip}
    action: notify
zone:
  - domain: {self.zone}
    storage: "{self.folder}"
    master: primary
    acl: told
""",
        )

    def probe(self) -> tuple[str, bool]:
        return self.zone, True


@dataclass
class Nsd(Server):
    """What both NSDs share."""

    program: ClassVar[str] = "nsd"
    package: ClassVar[str] = "nsd"

    def _write(self, rest: str) -> Sequence[str]:
        config = self.folder / "nsd.conf"
        config.write_text(f"""\
server:
	ip-address: {self.endpoint.ip}@{self.endpoint.port}
	server-count: 1
	username: ""
	zonesdir: "{self.folder}"
	database: ""
	pidfile: "{self.folder}/nsd.pid"
	xfrdfile: "{self.folder}/xfrd.state"
	zonelistfile: "{self.folder}/zone.list"
	xfrdir: "{self.folder}"
	nsid: "ascii_nsd"
remote-control:
	control-enable: no
{rest}""")
        return ["-d", "-c", str(config)]


@dataclass
class NsdStatic(Nsd):
    """NSD with zone files that nobody updates: a parent, or a secondary that is stuck."""

    zones: Mapping[str, str]

    def configure(self) -> Sequence[str]:
        rest = ""
        for number, (zone, text) in enumerate(self.zones.items()):
            (self.folder / f"zone{number}").write_text(text)
            rest += f'zone:\n\tname: "{zone}"\n\tzonefile: "zone{number}"\n'
        return self._write(rest)

    def probe(self) -> tuple[str, bool]:
        return next(iter(self.zones)), True


@dataclass
class NsdSecondary(Nsd):
    """NSD as secondary of ``primary``."""

    zone: str
    primary: Endpoint
    key: Key = field(default_factory=Key)

    def configure(self) -> Sequence[str]:
        return self._write(f"""\
key:
	name: "{self.key.name}"
	algorithm: {self.key.algorithm}
	secret: "{self.key.secret}"
zone:
	name: "{self.zone}"
	zonefile: "zone"
	allow-notify: {self.primary.ip} NOKEY
	request-xfr: AXFR {self.primary.ip}@{self.primary.port} {self.key.name}
	outgoing-interface: {self.endpoint.ip}
""")

    def probe(self) -> tuple[str, bool]:
        return self.zone, True


@dataclass
class Unbound(Server):
    """A recursive resolver that knows only its stub zones; whatever else it is asked it refuses at once."""

    stubs: Mapping[str, Sequence[str]]
    """Zone -> addresses of its servers, on the same port."""
    extra: Sequence[str] = ()
    """More lines of the server section, such as ``cache-min-ttl: 20``."""

    program: ClassVar[str] = "unbound"
    package: ClassVar[str] = "unbound"

    def configure(self) -> Sequence[str]:
        opened = "".join(f'\tlocal-zone: "{zone}" transparent\n\tdomain-insecure: "{zone}"\n' for zone in self.stubs)
        stubs = "".join(
            f'stub-zone:\n\tname: "{zone}"\n' + "".join(f"\tstub-addr: {ip}@{self.endpoint.port}\n" for ip in ips)
            for zone, ips in self.stubs.items()
        )
        config = self.folder / "unbound.conf"
        config.write_text(f"""\
server:
	interface: {self.endpoint.ip}@{self.endpoint.port}
	do-daemonize: no
	username: ""
	chroot: ""
	directory: "{self.folder}"
	pidfile: ""
	use-syslog: no
	num-threads: 1
	do-ip6: no
	do-not-query-localhost: no
	module-config: "iterator"
	access-control: 127.0.0.0/8 allow_snoop
	infra-host-ttl: 5
	nsid: "ascii_unbound"
	local-zone: "." refuse
{opened}{"".join(f"	{line}" + chr(10) for line in self.extra)}
remote-control:
	control-enable: no
{stubs}""")
        return ["-d", "-p", "-c", str(config)]

    def probe(self) -> tuple[str, bool]:
        return "localhost.", False
