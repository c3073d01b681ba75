"""A real BIND on loopback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tests.servers.dns import Key, Server

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class BindPrimary(Server):
    """BIND as primary; it listens only on addresses of an interface, so on 127.0.0.1 and no other of its net."""

    zone: str
    text: str
    key: Key = field(default_factory=Key)
    notify: Sequence[str] = ()

    program: ClassVar[str] = "named"
    package: ClassVar[str] = "bind9"

    def configure(self) -> Sequence[str]:
        zone = self.folder / "zone"
        if not zone.exists():
            zone.write_text(self.text)
        told = "".join(f" {ip} port {self.endpoint.port};" for ip in self.notify)
        config = self.folder / "named.conf"
        config.write_text(f"""\
options {{
    directory "{self.folder}";
    listen-on port {self.endpoint.port} {{ {self.endpoint.ip}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    notify explicit;
    notify-delay 0;
    also-notify {{{told} }};
    pid-file "{self.folder}/pid";
    session-keyfile "{self.folder}/session.key";
}};
controls {{ }};
key "{self.key.name}" {{ algorithm {self.key.algorithm}; secret "{self.key.secret}"; }};
zone "{self.zone}" {{
    type primary;
    file "{zone}";
    journal "{zone}.jnl";
    allow-transfer {{ key "{self.key.name}"; }};
    update-policy {{ grant {self.key.name} zonesub ANY; }};
}};
""")
        return ["-c", str(config), "-f", "-g", "-n", "1"]

    def probe(self) -> tuple[str, bool]:
        return self.zone, True
