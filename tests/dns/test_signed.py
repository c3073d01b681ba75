"""Signed zones: every address must serve a signature that holds, or users behind validators lose the name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype

from tests.dns.conftest import ZONE
from tests.dns.scenes import Scene, play
from tests.servers.dns import KnotPrimary, NsdStatic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.dns.conftest import Net


class Signing(KnotPrimary):
    """Signs its zone itself, and again after each update."""

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        config = self.folder / "knot.conf"
        config.write_text(config.read_text().rstrip() + "\n    dnssec-signing: on\n")
        return arguments


async def signed(scene: Scene) -> str:
    """Sign the zone and let the parent vouch for it; returns the whole signed zone as text."""
    net = scene.net
    net.primary.stop()
    primary = Signing(
        scene.folder / "signing",
        net.primary.endpoint,
        net.primary.zone,
        ZONE.replace("hostmaster 1 ", "hostmaster 50 "),
        net.key,
        net.primary.notify,
    )
    scene.start(primary)
    there = primary.endpoint
    query = dns.message.make_query("example.test", "DNSKEY", want_dnssec=True)
    keys = dns.query.tcp(query, there.ip, port=there.port, timeout=5).find_rrset(
        dns.message.ANSWER, dns.name.from_text("example.test"), 1, dns.rdatatype.DNSKEY
    )
    entry = next(key for key in keys if key.flags & 1)
    ds = dns.dnssec.make_ds("example.test.", entry, "SHA256").to_text()
    scene.parent(("ns1.example A", f"example DS {ds}\nns1.example A"))
    serial = dns.query.tcp(dns.message.make_query("example.test", "SOA"), there.ip, port=there.port, timeout=5)
    await scene.until_serial(serial.answer[0][0].serial)
    return "\n".join(_zone_text(scene))


def _zone_text(scene: Scene) -> list[str]:
    import dns.tsig
    import dns.zone

    there = scene.net.primary.endpoint
    key = scene.provider.key.for_dnspython()
    zone = dns.zone.Zone("example.test.", relativize=False)
    query = dns.message.make_query("example.test", "AXFR")
    query.use_tsig({key.name: key})
    dns.query.inbound_xfr(there.ip, zone, query, port=there.port)
    return [
        f"{name} {rdataset.ttl} {rdataset.rdtype.name} {rdata}"
        for name, rdataset in zone.iterate_rdatasets()
        for rdata in rdataset
    ]


async def test_a_signed_zone_is_proved_like_any_other(net: Net, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await signed(scene)
        outcome = await play(scene, deadline_s=10)
    assert outcome.troubles == {"stays example.test": "warn"}
    assert outcome.survey.authority.signed
    assert outcome.watched.ok, outcome.missing
    (told,) = [finding for finding in outcome.survey.findings if finding.id == "dnssec"]
    assert "the first signature runs out" in told.evidence


async def test_a_server_that_serves_the_zone_unsigned_is_named(net: Net, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await signed(scene)
        net.nsd.stop()
        scene.start(scene.stuck("127.0.0.13"))
        outcome = await play(scene, deadline_s=2)
    assert outcome.troubles == {"bogus 127.0.0.13": "error", "stays example.test": "warn"}
    assert "127.0.0.13 192.0.2.10 with TTL 20, without a signature" in outcome.missing


async def test_a_server_whose_signatures_have_run_out_is_named(net: Net, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        text = await signed(scene)
        old = "\n".join(_run_out(line) for line in text.splitlines())
        net.nsd.stop()
        scene.start(NsdStatic(tmp_path / "old", scene.at("127.0.0.13"), {"example.test.": old + "\n"}))
        outcome = await play(scene, deadline_s=2)
    assert outcome.troubles == {"bogus 127.0.0.13": "error", "dnssec": "warn", "stays example.test": "warn"}
    assert "with a signature that holds from" in outcome.missing


def _run_out(line: str) -> str:
    """The same signature with dates of long ago: type, algorithm, labels and TTL stand before them."""
    words = line.split(" ")
    if words[2] == "RRSIG":
        words[7], words[8] = "20200201000000", "20200101000000"
    return " ".join(words)
