"""``new``: ask, discover, and write a commented plan."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from switchover.cli import say, tell
from switchover.cli.trouble import WrongUse
from switchover.plan.file import PlanUnreadable, load

if TYPE_CHECKING:
    import argparse

TEMPLATE = """\
version = 1
name    = "{name}"

[database]
# conninfo or URI; no password here: a passfile (~/.pgpass, 0600) or ${{VAR}}
source = "{source}"
target = "{target}"
jobs   = 4
# method = "replicate" # a live copy: writes pause for a moment, and the way back loses nothing (see the README)

[dns]
names   = ["{host}"]
from    = "{from_}"
to      = "{to}"
low_ttl = {low_ttl}
lead    = "48h"

[dns.provider]
kind = "manual"        # you are told what to edit; or "rfc2136", "route53", … (see the README)

[window]
start    = {start}     # local time in the zone below
timezone = "{zone}"
length   = "2h"

[maintenance]          # argument lists; both must bear being run twice
# on  = {{ command = ["ssh", "old", "touch", "/srv/maintenance"] }}
# off = {{ command = ["ssh", "old", "rm", "-f", "/srv/maintenance"] }}

[[health]]
name   = "front page"
url    = "https://{host}/"
expect = {{ status = 200 }}

[verify]
soak = "15m"

[readiness]            # the built-in checklist: `switchover checklist` shows it, `switchover attest` signs
availability = 99.5    # percent of a year; what is asked for grows with it. Without this table nothing is asked
"""


LOW_TTL = 60


def new(options: argparse.Namespace) -> int:
    """Ask for what only the operator knows, look up the rest, write plans/NAME.toml; never over another file."""
    if not sys.stdin.isatty():
        raise WrongUse("`new` asks questions and needs a terminal; without one, copy a file from plans/ and edit it")
    name = options.name or _ask("name of the plan", "shop")
    path = Path("plans") / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}.toml"
    if path.exists():
        raise WrongUse(f"{path} is there already; choose another name, or open it: switchover {path}")
    host = _ask("host name that moves", "shop.example.com")
    address, low_ttl = _look_up(host)
    text = TEMPLATE.format(
        name=name,
        host=host,
        low_ttl=low_ttl,
        from_=_ask("address of the old host", address),
        to=_ask("address of the new host", ""),
        source=_ask("old database (conninfo, no password)", "service=shop_old"),
        target=_ask("new database (conninfo, no password)", "service=shop_new"),
        start=_ask("window starts (local time)", "2027-02-06T22:00:00"),
        zone=_ask("time zone", "America/Toronto"),
    )
    return _write(path, text)


def _write(path: Path, text: str) -> int:
    """Write the plan, 0600, and say at once what is wrong with it."""
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    say(f"wrote {path}")
    try:
        load(path)
    except PlanUnreadable as error:
        tell(f"it is not right yet:\n{error}")
        return 1
    say(f"next: switchover check {path}")
    return 0


def _ask(question: str, default: str) -> str:
    tell(f"{question}" + (f" [{default}]" if default else "") + ":")
    answer = sys.stdin.readline()
    if not answer:
        raise WrongUse("no answer; nothing was written")
    said = answer.strip().replace('"', "").replace("\\", "")
    return said or default


def _look_up(host: str) -> tuple[str, int]:
    """The address that the name has now, empty when that cannot be found out; and the TTL its keeper keeps."""
    from switchover.dns.authority import NoAuthority, find_authority, observe
    from switchover.dns.providers.limits import explain, kept_ttl, limits_of

    async def look() -> tuple[str, int]:
        authority = await find_authority(host, resolver=None)
        served = [answer.rrset for answer in await observe(authority) if answer.rrset is not None]
        if served:
            tell(f"{host} is {served[0]} in zone {authority.zone}")
        limits = limits_of("manual", None, authority.hosts.values())
        if raised := explain(limits, LOW_TTL):
            tell(raised)
        return served[0].values[0] if served else "", kept_ttl(limits, LOW_TTL)

    try:
        return asyncio.run(look())
    except (NoAuthority, OSError) as error:
        tell(f"{host} could not be looked up: {error}")
        return "", LOW_TTL
