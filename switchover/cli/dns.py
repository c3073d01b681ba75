"""``dns``: who decides about a name, what each address serves, and when caches have forgotten."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.words import glyph, instant

if TYPE_CHECKING:
    import argparse

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer


def dns(options: argparse.Namespace) -> int:
    """Print the authority and every address's answer; 1 when they do not agree."""
    authority, answers = asyncio.run(_ask(options))
    values = {answer.values for answer in answers if answer.values}
    ttl = max((answer.ttl for answer in answers if answer.ttl is not None), default=0)
    agree = len(values) == 1 and all(answer.values for answer in answers)
    from switchover.dns.propagation import safe_instant

    until = safe_instant(datetime.now(UTC), ttl)
    if options.json:
        from switchover.steps.dns_change import servers_fact

        say(
            json.dumps(
                {
                    "name": authority.qname,
                    "owner": authority.owner,
                    "zone": authority.zone,
                    "servers": servers_fact(authority, answers),
                    "problems": list(authority.problems),
                    "agree": agree,
                    "safe_if_changed_now": until.isoformat(),
                },
                indent=2,
            )
        )
        return 0 if agree else 1
    say(f"{authority.qname}: owner {authority.owner}, zone {authority.zone}, primary {authority.primary}")
    for answer in answers:
        mark = glyph("done") if answer.values else glyph("failed")
        say(f"  {mark} {authority.hosts.get(answer.endpoint, '')} {answer.endpoint}: {answer}")
    for problem in authority.problems:
        say(f"  {glyph('warn')} {problem}")
    say(f"if it were changed everywhere now, caches may keep the old answer until {instant(until)}")
    return 0 if agree else 1


async def _ask(options: argparse.Namespace) -> tuple[Authority, tuple[Answer, ...]]:
    from switchover.dns.authority import find_authority, observe
    from switchover.dns.message import Endpoint

    resolver = Endpoint.parse(options.at) if options.at else None
    authority = await find_authority(options.name, resolver=resolver, port=options.port)
    return authority, await observe(authority)
