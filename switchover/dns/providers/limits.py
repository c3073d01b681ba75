"""What a zone's keeper makes of a TTL: its minimum, and the values it rounds to, where they are known.

Gathered from the keepers' documents and from the tools that write to them (lego, DNSControl); they change, and some
depend on what is paid. So this only warns early: the TTL that counts is the one the authoritative servers serve.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Limits:
    """The TTLs one keeper keeps."""

    keeper: str
    """Its name, in small letters as in the plan."""
    min_ttl: int = 0
    """Seconds; a lower TTL is raised to this, or refused."""
    steps: tuple[int, ...] = ()
    """The only values there are, ascending; others are taken to be rounded up. Empty: any value."""
    multiple: int = 1
    """Every value is a multiple of this."""
    note: str = ""
    """What may make it different."""


_LINODE = (30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200)
_CLOUDNS = (60, 300, 900, 1800, 3600, 21600, 43200, 86400, 172800, 259200, 604800, 1209600, 2592000)

_KNOWN = {
    limits.keeper: limits
    for limits in (
        Limits("alidns", 600, note="less where the edition is paid for"),
        Limits("arvancloud", 600),
        Limits("azure", 1),
        Limits("bunny", 60),
        Limits("civo", 600),
        Limits("cloudflare", 60, note="30 for Enterprise; a proxied record is always 300"),
        Limits("cloudns", 60, steps=_CLOUDNS),
        Limits("desec", 3600, note="a domain's minimum is lowered on request"),
        Limits("digitalocean", 30),
        Limits("dnsimple", 60),
        Limits("domainnameshop", 60, multiple=60),
        Limits("gandi", 300),
        Limits("glesys", 60),
        Limits("godaddy", 600),
        Limits("googlecloud"),
        Limits("hetzner", 60),
        Limits("ionos", 300),
        Limits("joker", 300),
        Limits("linode", 30, steps=_LINODE),
        Limits("loopia", 300),
        Limits("luadns", 300),
        Limits("mittwald", 300),
        Limits("namecom", 300),
        Limits("nicmanager", 900),
        Limits("otc", 300),
        Limits("porkbun", 300, note="600 by its own documents"),
        Limits("route53"),
        Limits("scaleway", 60),
        Limits("selectel", 60),
        Limits("uniteddomains", 300),
        Limits("vercel", 60),
        Limits("wedos", 300),
    )
}

_ALSO = {
    "aliyun": "alidns",
    "alibabacloud": "alidns",
    "aws": "route53",
    "amazonroute53": "route53",
    "azuredns": "azure",
    "gandiv5": "gandi",
    "gandilivedns": "gandi",
    "gcloud": "googlecloud",
    "googleclouddns": "googlecloud",
    "akamai": "linode",
    "linode4": "linode",
    "linodev4": "linode",
    "namedotcom": "namecom",
}

_SUFFIXES = {
    "alidns.com": "alidns",
    "arvancdn.ir": "arvancloud",
    "awsdns-*.com": "route53",
    "awsdns-*.net": "route53",
    "awsdns-*.org": "route53",
    "awsdns-*.co.uk": "route53",
    "azure-dns.com": "azure",
    "azure-dns.net": "azure",
    "azure-dns.org": "azure",
    "azure-dns.info": "azure",
    "bunny.net": "bunny",
    "cloudns.net": "cloudns",
    "desec.io": "desec",
    "desec.org": "desec",
    "digitalocean.com": "digitalocean",
    "dnsimple.com": "dnsimple",
    "dnsimple-edge.net": "dnsimple",
    "dnsimple-edge.org": "dnsimple",
    "domaincontrol.com": "godaddy",
    "gandi.net": "gandi",
    "googledomains.com": "googlecloud",
    "hetzner.com": "hetzner",
    "hetzner.de": "hetzner",
    "hyp.net": "domainnameshop",
    "joker.com": "joker",
    "linode.com": "linode",
    "loopia.se": "loopia",
    "luadns.net": "luadns",
    "name.com": "namecom",
    "ns.cloudflare.com": "cloudflare",
    "porkbun.com": "porkbun",
    "ui-dns.com": "ionos",
    "ui-dns.de": "ionos",
    "ui-dns.org": "ionos",
    "ui-dns.biz": "ionos",
    "vercel-dns.com": "vercel",
    "wedos.com": "wedos",
    "wedos.cz": "wedos",
    "wedos.eu": "wedos",
    "wedos.net": "wedos",
}
"""Name servers' last labels; ``*`` stands for the digits that Route 53 deals out."""

_OWN = frozenset({"rfc2136", "powerdns"})
"""The operator's own primary: it keeps any TTL, and whoever serves copies of the zone must too."""


def limits_of(kind: str, service: str | None, hosts: Iterable[str]) -> Limits | None:
    """What is known of the keeper that the plan names, else of the name servers' owner; of several, the strictest."""
    named = _KNOWN.get(kind) or _by_name(service or "")
    if named is not None or kind in _OWN:
        return named
    found = [limits for host in hosts if (limits := _by_host(host)) is not None]
    return max(found, key=lambda limits: kept_ttl(limits, 1), default=None)


def elsewhere(kind: str, service: str | None, hosts: Iterable[str]) -> str:
    """Why an edit at the plan's keeper would change nothing: the name servers are another's; empty where they fit."""
    named = _KNOWN.get(kind) or _by_name(service or "")
    owners = {host: found.keeper for host in hosts if (found := _by_host(host)) is not None}
    if named is None or not owners or named.keeper in owners.values():
        return ""
    who = ", ".join(f"{host} ({keeper})" for host, keeper in sorted(owners.items()))
    return f"the plan edits at {named.keeper}, but the delegation points to {who}: an edit there shows nowhere"


def kept_ttl(limits: Limits | None, wanted: int) -> int:
    """The TTL that will be served if ``wanted`` is asked for."""
    if limits is None:
        return wanted
    least = max(wanted, limits.min_ttl)
    if limits.steps:
        return next((step for step in limits.steps if step >= least), limits.steps[-1])
    return -(-least // limits.multiple) * limits.multiple


def explain(limits: Limits | None, wanted: int) -> str:
    """What becomes of ``wanted`` and what to do about it, in a sentence; empty where it is kept."""
    kept = kept_ttl(limits, wanted)
    if limits is None or kept == wanted:
        return ""
    note = f" ({limits.note})" if limits.note else ""
    if wanted < limits.min_ttl and kept == limits.min_ttl:
        rule = f"keeps at least {limits.min_ttl} s{note}"
    elif limits.steps:
        rule = f"keeps only {', '.join(map(str, _near(limits.steps, kept)))} s and the like{note}"
    else:
        rule = f"keeps only multiples of {limits.multiple} s{note}"
    return f"{limits.keeper} {rule}: {wanted} would become {kept}; set low_ttl = {kept}"


def _near(steps: tuple[int, ...], kept: int) -> tuple[int, ...]:
    at = steps.index(kept)
    return steps[max(0, at - 1) : at + 2]


def _by_name(name: str) -> Limits | None:
    bare = _PLAIN.sub("", name.lower())
    return _KNOWN.get(_ALSO.get(bare, bare))


def _by_host(host: str) -> Limits | None:
    labels = host.lower().rstrip(".").split(".")
    labels = [re.sub(r"^(awsdns-)\d+$", r"\1*", label) for label in labels]
    tails = (".".join(labels[at:]) for at in range(1, len(labels)))
    return next((_KNOWN[_SUFFIXES[tail]] for tail in tails if _SUFFIXES.get(tail)), None)
