"""A real PowerDNS on loopback, with its HTTP API and signed updates, on a database of its own."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from switchover.dns.keys import Secret
from tests.servers.dns import Key, Server

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")


@dataclass
class PowerDnsPrimary(Server):
    """PowerDNS as primary: takes updates signed with the key, and changes through its API, on the same address."""

    zone: str
    text: str
    api_port: int
    key: Key = field(default_factory=Key)
    api_key: Secret = field(default=Secret(b"pdns-api-key-of-the-tests"))

    program: ClassVar[str] = "pdns_server"
    package: ClassVar[str] = "pdns-server pdns-backend-sqlite3"

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://{self.endpoint.ip}:{self.api_port}"

    def configure(self) -> Sequence[str]:
        self._write()
        if not self._database.exists():
            self._fill()
        return [f"--config-dir={self.folder}", "--guardian=no", "--daemon=no"]

    def probe(self) -> tuple[str, bool]:
        return self.zone, True

    def pdnsutil(self, *arguments: str) -> str:
        """Run PowerDNS's own tool on the database."""
        path = shutil.which("pdnsutil")
        if path is None:
            pytest.fail(f"pdnsutil is not installed: apt-get install {self.package} (see .ci/run)")
        argv = [path, f"--config-dir={self.folder}", *arguments]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, f"pdnsutil {arguments[0]} failed: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def sql(self, statement: str, *values: object) -> None:
        """Change the database behind its back."""
        with sqlite3.connect(self._database) as database:
            database.execute(statement, values)
        database.close()

    @property
    def _database(self) -> Path:
        return self.folder / "zones.sqlite3"

    def _fill(self) -> None:
        if not SCHEMA.exists():
            pytest.fail(f"{SCHEMA} is missing: apt-get install {self.package} (see .ci/run)")
        database = sqlite3.connect(self._database)
        database.executescript(SCHEMA.read_text())
        database.close()
        (self.folder / "zone").write_text(self.text)
        zone, key = self.zone.rstrip("."), self.key.name.rstrip(".")
        self.pdnsutil("load-zone", zone, str(self.folder / "zone"))
        self.pdnsutil("set-kind", zone, "primary")
        self.pdnsutil("import-tsig-key", key, self.key.algorithm, self.key.secret)
        self.pdnsutil("set-meta", zone, "TSIG-ALLOW-DNSUPDATE", key)
        self.pdnsutil("set-meta", zone, "SOA-EDIT-DNSUPDATE", "INCREASE")

    def _write(self) -> None:
        ip = self.endpoint.ip
        # The empty security-poll-suffix keeps it from asking the Internet for its own weaknesses; without caches an
        # answer is what the database holds. It stays the user that started it: no setuid, no setgid.
        (self.folder / "pdns.conf").write_text(f"""\
launch=gsqlite3
gsqlite3-database={self._database}
gsqlite3-pragma-synchronous=0
local-address={ip}
local-port={self.endpoint.port}
socket-dir={self.folder}
security-poll-suffix=
primary=yes
only-notify=
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
api=yes
api-key={self.api_key.raw.decode()}
webserver=yes
webserver-address={ip}
webserver-port={self.api_port}
webserver-allow-from=127.0.0.0/8
webserver-loglevel=none
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
zone-metadata-cache-ttl=0
domain-metadata-cache-ttl=0
default-ttl=3600
receiver-threads=1
distributor-threads=1
loglevel=4
""")
