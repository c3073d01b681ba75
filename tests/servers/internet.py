"""A small Internet: root, top level, two providers, resolvers, IPv4 and IPv6, on port 53, with no way out.

All of it lives in a user and network namespace that needs no privileges; what is to see it is run inside.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from switchover.dns.message import Endpoint
from tests.servers.dns import Key, KnotPrimary, NsdSecondary, NsdStatic, Unbound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

ROOT = """\
$ORIGIN .
$TTL 86400
@ SOA a.root. hostmaster. 1 1800 900 604800 60
@ NS a.root.
a.root. A 192.0.2.1
a.root. AAAA 2001:db8::1
com. NS a.gtld.
a.gtld. A 192.0.2.1
a.gtld. AAAA 2001:db8::1
"""
COM = """\
$ORIGIN com.
$TTL 86400
@ SOA a.gtld. hostmaster.gtld. 1 1800 900 604800 60
@ NS a.gtld.
example NS ns1.example
example NS ns2.example
ns1.example A 192.0.2.53
ns1.example AAAA 2001:db8::53
ns2.example A 192.0.2.54
ns2.example AAAA 2001:db8::54
other NS ns.other
ns.other A 198.51.100.53
"""
EXAMPLE = """\
$ORIGIN example.com.
$TTL 3600
@ SOA ns1 hostmaster 1 2 1 86400 30
@ NS ns1
@ NS ns2
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
ns2 A 192.0.2.54
ns2 AAAA 2001:db8::54
@ 20 A 203.0.113.99
www 8 A 192.0.2.10
app 20 CNAME www
shop 20 CNAME shop.other.com.
sub NS ns.other.com.
"""
OTHER = """\
$ORIGIN other.com.
$TTL 3600
@ SOA ns hostmaster 1 1800 900 604800 30
@ NS ns
ns A 198.51.100.53
shop 20 A 192.0.2.10
"""
SUB = """\
$ORIGIN sub.example.com.
$TTL 3600
@ SOA ns.other.com. hostmaster 1 1800 900 604800 30
@ NS ns.other.com.
www 20 A 192.0.2.10
"""
ADDRESSES = ("192.0.2.1", "192.0.2.53", "192.0.2.54", "198.51.100.53", "203.0.113.8", "203.0.113.10")
ADDRESSES_6 = ("2001:db8::1", "2001:db8::53", "2001:db8::54")


class _NsdTwo(NsdStatic):
    """Listens on the IPv6 address too."""

    also: str

    def configure(self) -> Sequence[str]:
        return _listen_also(self.folder / "nsd.conf", super().configure(), f"\tip-address: {self.also}@53\n")


class _NsdSecondaryTwo(NsdSecondary):
    also: str

    def configure(self) -> Sequence[str]:
        return _listen_also(self.folder / "nsd.conf", super().configure(), f"\tip-address: {self.also}@53\n")


def _listen_also(config: Path, arguments: Sequence[str], line: str) -> Sequence[str]:
    config.write_text(config.read_text().replace("server:\n", f"server:\n{line}", 1))
    return arguments


class _KnotTwo(KnotPrimary):
    also: str

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        config = self.folder / "knot.conf"
        first = f"{self.endpoint.ip}@53"
        config.write_text(config.read_text().replace(f"listen: {first}", f'listen: [{first}, "{self.also}@53"]'))
        return arguments


class _Recursor(Unbound):
    """Starts at our root, or forwards to another resolver."""

    forward: str = ""

    def configure(self) -> Sequence[str]:
        config, hints = self.folder / "unbound.conf", self.folder / "hints"
        hints.write_text(". 86400 NS a.root.\na.root. 86400 A 192.0.2.1\n")
        config.write_text(f"""\
server:
	interface: {self.endpoint.ip}@53
	do-daemonize: no
	username: ""
	chroot: ""
	directory: "{self.folder}"
	pidfile: ""
	use-syslog: no
	num-threads: 1
	access-control: 0.0.0.0/0 allow
	module-config: "iterator"
	root-hints: "{hints}"
	infra-host-ttl: 5
remote-control:
	control-enable: no
""")
        if self.forward:
            with config.open("a") as file:
                file.write(f'forward-zone:\n\tname: "."\n\tforward-addr: {self.forward}\n')
        return ["-d", "-p", "-c", str(config)]


@dataclass
class Internet:
    """The whole of it; ``within`` is what enters it."""

    folder: Path
    key: Key = field(default_factory=Key)
    stack: ExitStack = field(default_factory=ExitStack)
    within: Sequence[str] = ()
    resolver: str = "203.0.113.8"
    far: str = "203.0.113.10"
    """A resolver that asks the other one."""

    primary: KnotPrimary = field(init=False)
    secondary: NsdSecondary = field(init=False)

    def __enter__(self) -> Self:
        try:
            self._make()
            self._serve()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _make(self) -> None:
        """A process holds the namespace; it ends with its standard input."""
        holder = subprocess.Popen(
            ["unshare", "-Urn", "sh", "-c", "echo ready; read end"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.stack.callback(holder.communicate)
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.fail(
                "no namespace can be made here: let users make them (sysctl user.max_user_namespaces), see .ci/run"
            )
        self.within = ("nsenter", "-t", str(holder.pid), "-U", "-n", "--preserve-credentials", "--")
        self.ip("link", "set", "lo", "up")
        for address in ADDRESSES:
            self.ip("addr", "add", f"{address}/32", "dev", "lo")
        for address in ADDRESSES_6:
            self.ip("-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad")

    def _serve(self) -> None:
        at = Endpoint
        top = _NsdTwo(self.folder / "top", at("192.0.2.1"), {".": ROOT, "com.": COM}, within=self.within)
        top.also = "2001:db8::1"
        primary = _KnotTwo(
            self.folder / "primary",
            at("192.0.2.53"),
            "example.com.",
            EXAMPLE,
            self.key,
            ("192.0.2.54",),
            within=self.within,
        )
        primary.also = "2001:db8::53"
        secondary = _NsdSecondaryTwo(
            self.folder / "secondary", at("192.0.2.54"), "example.com.", primary.endpoint, self.key, within=self.within
        )
        secondary.also = "2001:db8::54"
        elsewhere = NsdStatic(
            self.folder / "elsewhere",
            at("198.51.100.53"),
            {"other.com.": OTHER, "sub.example.com.": SUB},
            within=self.within,
        )
        near = _Recursor(self.folder / "near", at(self.resolver), {}, within=self.within)
        far = _Recursor(self.folder / "far", at(self.far), {}, within=self.within)
        far.forward = self.resolver
        self.primary, self.secondary = primary, secondary
        for server in (top, primary, secondary, elsewhere, near, far):
            server.launch()
            self.stack.callback(server.stop)
        for each in (top, primary, secondary, elsewhere, near, far):
            each.await_ready()

    def ip(self, *words: str) -> None:
        """Change the net with iproute2."""
        done = subprocess.run([*self.within, "ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def python(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run Python inside."""
        argv = [*self.within, sys.executable, *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
