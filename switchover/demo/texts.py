"""The lab's files as text: its plan, zones, key and connection services."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

PARENT, NS1, NS2, RESOLVER = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13"
OLD, NEW = "127.0.0.31", "127.0.0.32"
TTL_S = 4


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the lab listens: DNS on four addresses, the web on two, PostgreSQL on 127.0.0.1."""

    dns: int
    web: int
    old: int
    new: int


SHOP_ZONE = f"""\
$TTL 30
@    SOA ns1 hostmaster 1 60 10 3600 2
@    NS  ns1
@    NS  ns2
ns1  A   {NS1}
ns2  A   {NS2}
@    {TTL_S} A {OLD}
www  {TTL_S} A {OLD}
"""

TEST_ZONE = f"""\
$TTL 30
@    SOA ns hostmaster 1 60 10 3600 2
@    NS  ns
ns   A   {PARENT}
shop NS  ns1.shop
shop NS  ns2.shop
ns1.shop A {NS1}
ns2.shop A {NS2}
"""


def key(secret: bytes) -> str:
    """The TSIG key that may update the zone, as tsig-keygen writes it."""
    text = base64.b64encode(secret).decode()
    return f'key "switchover." {{\n\talgorithm hmac-sha256;\n\tsecret "{text}";\n}};\n'


def services(ports: Ports) -> str:
    """The connection services (PostgreSQL manual, "The Connection Service File")."""
    return "".join(
        f"[{name}]\nhost=127.0.0.1\nport={port}\ndbname=shop\nuser={user}\nsslmode=disable\n\n"
        for name, port, user in (
            ("shop_old", ports.old, "admin"),
            ("shop_new", ports.new, "admin"),
            ("shop_old_app", ports.old, "shop"),
            ("shop_new_app", ports.new, "shop"),
        )
    )


def passwords(ports: Ports, admin: str, role: str) -> str:
    """The password file (PostgreSQL manual, "The Password File")."""
    return "".join(
        f"127.0.0.1:{port}:*:{user}:{password}\n"
        for port in (ports.old, ports.new)
        for user, password in (("admin", admin), ("shop", role))
    )


def replicate(ports: Ports, passfile: Path) -> str:
    """The plan's table for a live copy: the servers reach one another by a password file of their own account."""
    return "[replicate]\n" + "".join(
        f'{key} = "host=127.0.0.1 port={port} dbname=shop user=admin sslmode=disable passfile={passfile}"\n'
        for key, port in (("source", ports.old), ("target", ports.new))
    )


def plan(ports: Ports, folder: Path, bin_folder: Path, opens: datetime, window: str) -> str:
    """The plan of the lab's migration: seconds where a real one has hours."""
    return textwrap.dedent(f"""\
        # The lab's migration: a real one in small. Seconds stand where yours has hours.
        version = 1
        name    = "demo-shop"

        [database]
        source = "service=shop_old"        # PostgreSQL 16, {ports.old}
        target = "service=shop_new"        # PostgreSQL 18, {ports.new}
        method = "dump"
        jobs   = 2
        bin    = "{bin_folder}"

        [dns]
        names       = ["shop.test", "www.shop.test"]
        from        = "{OLD}"
        to          = "{NEW}"
        low_ttl     = 1
        lead        = "6s"
        lead_reason = "a lab on this machine: its caches forget in {TTL_S} s"
        port        = {ports.dns}
        resolver    = "{RESOLVER}:{ports.dns}"
        resolvers   = ["{RESOLVER}:{ports.dns}"]

        [dns.provider]
        kind     = "rfc2136"
        server   = "{NS1}:{ports.dns}"
        key_file = "shop.key"
        zone     = "shop.test"

        [window]
        start        = {opens:%Y-%m-%dT%H:%M:%S}
        timezone     = "Etc/UTC"
        length       = "{window}"
        short_reason = "a lab on this machine: it moves a few megabytes"

        [maintenance]
        on  = {{ command = ["touch", "{folder}/maintenance"] }}
        off = {{ command = ["rm", "-f", "{folder}/maintenance"] }}

        [[health]]
        name   = "the shop"
        url    = "http://shop.test:{ports.web}/health"
        expect = {{ status = 200, contains = "ok" }}

        [verify]
        soak  = "5s"
        every = "1s"

        [[checklist]]
        id    = "notice"
        title = "The users were told about the window"

        [[checklist]]
        id    = "config"
        title = "The new host's configuration, mail and cron jobs were read by a second person"
        """)
