"""The lab's nameserver and resolver, as real processes on loopback."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest

from switchover.demo import texts
from switchover.demo.lab import free_port
from switchover.demo.processes import Processes, Program
from switchover.dns.keys import read_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAG_S = 0.3


@dataclass(frozen=True)
class Dns:
    port: int
    key: dns.tsig.Key

    def ask(self, name: str, kind: str, at: str, *, nsid: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, kind, flags=dns.flags.RD if at == texts.RESOLVER else 0)
        if nsid:
            query.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")])
        reply = dns.query.udp(query, at, timeout=5, port=self.port)
        assert dns.query.tcp(query, at, timeout=5, port=self.port).rcode() == reply.rcode()
        return reply

    def ttl_and_address(self, name: str, at: str) -> tuple[int, str]:
        (rrset,) = self.ask(name, "A", at).answer
        return rrset.ttl, rrset[0].to_text()

    def serial(self, at: str = texts.NS1) -> int:
        return int(self.ask("shop.test", "SOA", at).answer[0][0].serial)

    def change(self, key: dns.tsig.Key | None = None) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage("shop.test", keyring=key or self.key)

    def send(self, message: dns.message.Message, at: str = texts.NS1) -> dns.rcode.Rcode:
        return dns.query.tcp(message, at, timeout=5, port=self.port).rcode()


@pytest.fixture
def lab_dns(tmp_path: Path) -> Iterator[Dns]:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "shop.key").touch(mode=0o600)
    (folder / "shop.key").write_text(texts.key(secrets.token_bytes(32)))
    (folder / "shop.test.zone").write_text(texts.SHOP_ZONE)
    (folder / "test.zone").write_text(texts.TEST_ZONE)
    served = Dns(
        free_port(texts.PARENT, texts.NS1, texts.NS2, texts.RESOLVER),
        read_key(folder / "shop.key").for_dnspython(),
    )
    processes = Processes(folder)
    try:
        start(processes, folder, served.port)
        for server in (texts.PARENT, texts.NS1, texts.NS2):
            processes.wait_until("nameserver", lambda at=server: answers(at, served.port))
        processes.wait_until("resolver", lambda: answers(texts.RESOLVER, served.port))
        yield served
    finally:
        processes.close()


def start(processes: Processes, folder: Path, port: int) -> None:
    module = (sys.executable, "-m")
    nameserver = (
        *(*module, "switchover.demo.nameserver", "--port", str(port), "--lag", str(LAG_S)),
        *("--parent", texts.PARENT, "--primary", texts.NS1, "--secondary", texts.NS2),
        *("--zone", f"shop.test={folder}/shop.test.zone", "--parent-zone", f"test={folder}/test.zone"),
        *("--key-file", str(folder / "shop.key")),
    )
    resolver = (
        *(*module, "switchover.demo.resolver", "--listen", f"{texts.RESOLVER}:{port}"),
        *("--forward", f"shop.test={texts.NS1},{texts.NS2}", "--forward", f"test={texts.PARENT}"),
    )
    processes.start(Program("nameserver", nameserver, {}))
    processes.start(Program("resolver", resolver, {}))


def answers(at: str, port: int) -> bool:
    try:
        dns.query.udp(dns.message.make_query("nothing.test", "A"), at, timeout=0.3, port=port)
    except (dns.exception.DNSException, OSError):
        return False
    return True


def until_equal(first: object, second: object) -> None:
    """Ask until both give the same."""
    assert callable(first)
    assert callable(second)
    while first() != second():
        pass


def test_answers_are_authoritative_and_nothing_is_said_with_the_soa(lab_dns: Dns) -> None:
    reply = lab_dns.ask("www.shop.test", "A", texts.NS1)
    assert reply.flags & dns.flags.AA
    assert not reply.flags & dns.flags.RA
    assert lab_dns.ttl_and_address("www.shop.test", texts.NS2) == (4, texts.OLD)

    nodata = lab_dns.ask("www.shop.test", "AAAA", texts.NS1)
    assert (nodata.rcode(), nodata.answer, nodata.authority[0].rdtype.name) == (dns.rcode.NOERROR, [], "SOA")
    missing = lab_dns.ask("absent.shop.test", "A", texts.NS1)
    assert (missing.rcode(), missing.authority[0].rdtype.name) == (dns.rcode.NXDOMAIN, "SOA")
    assert lab_dns.ask("example.org", "A", texts.NS1).rcode() == dns.rcode.REFUSED
    nsid = lab_dns.ask("shop.test", "A", texts.NS2, nsid=True).options
    assert [option.to_wire() for option in nsid] == [b"ns2"]


def test_the_parent_refers_to_both_servers_with_their_addresses(lab_dns: Dns) -> None:
    reply = lab_dns.ask("shop.test", "NS", texts.PARENT)
    assert not reply.flags & dns.flags.AA
    assert {str(server.target) for server in reply.authority[0]} == {"ns1.shop.test.", "ns2.shop.test."}
    assert {glue[0].to_text() for glue in reply.additional} == {texts.NS1, texts.NS2}


def test_a_signed_replace_changes_everything_at_once_and_the_secondary_follows(lab_dns: Dns) -> None:
    before = lab_dns.serial()
    change = lab_dns.change()
    change.absent("@", "CNAME")
    change.present("@", "A", texts.OLD)
    change.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(change) == dns.rcode.NOERROR
    assert lab_dns.ttl_and_address("shop.test", texts.NS1) == (1, texts.NEW)
    assert lab_dns.serial() == before + 1
    until_equal(lambda: lab_dns.serial(texts.NS2), lab_dns.serial)
    assert lab_dns.ttl_and_address("shop.test", texts.NS2) == (1, texts.NEW)
    assert lab_dns.send(change) == dns.rcode.NXRRSET, "a resend finds its prerequisite gone"


def test_a_ttl_alone_can_be_changed_and_moves_the_serial(lab_dns: Dns) -> None:
    before = lab_dns.serial()
    change = lab_dns.change()
    change.replace("www", 1, "A", texts.OLD)
    assert lab_dns.send(change) == dns.rcode.NOERROR
    assert lab_dns.ttl_and_address("www.shop.test", texts.NS1) == (1, texts.OLD)
    assert lab_dns.serial() == before + 1


def test_an_update_that_changes_nothing_leaves_the_serial(lab_dns: Dns) -> None:
    change = lab_dns.change()
    change.present("@", "A", texts.OLD)
    change.delete("@", "A", "192.0.2.77")
    assert lab_dns.send(change) == dns.rcode.NOERROR
    assert lab_dns.serial() == 1


@pytest.mark.parametrize(
    ("prerequisite", "code"),
    [
        (lambda change: change.present("@", "A", texts.NEW), dns.rcode.NXRRSET),
        (lambda change: change.present("@", "A", texts.OLD, texts.NEW), dns.rcode.NXRRSET),
        (lambda change: change.present("@", "AAAA"), dns.rcode.NXRRSET),
        (lambda change: change.present("absent"), dns.rcode.NXDOMAIN),
        (lambda change: change.absent("@", "A"), dns.rcode.YXRRSET),
        (lambda change: change.absent("www"), dns.rcode.YXDOMAIN),
        (
            lambda change: change.present("@", dns.rdataset.from_text("IN", "A", 4, texts.OLD)),
            dns.rcode.FORMERR,
        ),
    ],
)
def test_a_prerequisite_that_does_not_hold_stops_the_whole_update(
    lab_dns: Dns, prerequisite: object, code: dns.rcode.Rcode
) -> None:
    change = lab_dns.change()
    assert callable(prerequisite)
    prerequisite(change)
    change.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(change) == code
    assert lab_dns.ttl_and_address("shop.test", texts.NS1) == (4, texts.OLD)
    assert lab_dns.serial() == 1


def test_updates_without_the_right_key_are_refused_and_change_nothing(lab_dns: Dns) -> None:
    wrong_secret = dns.tsig.Key("switchover.", secrets.token_bytes(32))
    unknown = dns.tsig.Key("someone.", secrets.token_bytes(32))
    for key, error in ((wrong_secret, dns.tsig.PeerBadSignature), (unknown, dns.tsig.PeerBadKey)):
        change = lab_dns.change(key)
        change.replace("@", 1, "A", texts.NEW)
        with pytest.raises(error):
            lab_dns.send(change)
    unsigned = dns.update.UpdateMessage("shop.test")
    unsigned.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(unsigned) == dns.rcode.REFUSED
    signed = lab_dns.change()
    signed.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(signed, texts.NS2) == dns.rcode.REFUSED, "only the primary takes updates"
    other_zone = dns.update.UpdateMessage("example.org", keyring=lab_dns.key)
    other_zone.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(other_zone) == dns.rcode.NOTAUTH
    assert lab_dns.serial() == 1


def test_the_apex_keeps_its_soa_and_its_servers(lab_dns: Dns) -> None:
    change = lab_dns.change()
    change.delete("@", "SOA")
    change.delete("@", "NS")
    change.delete("@")
    assert lab_dns.send(change) == dns.rcode.NOERROR
    assert lab_dns.serial() == 1


async def test_the_resolver_counts_down_and_keeps_an_old_answer_until_it_expires(lab_dns: Dns) -> None:
    first = lab_dns.ask("shop.test", "A", texts.RESOLVER)
    assert first.flags & dns.flags.RA
    assert not first.flags & dns.flags.AA
    change = lab_dns.change()
    change.replace("@", 1, "A", texts.NEW)
    assert lab_dns.send(change) == dns.rcode.NOERROR
    seen = [lab_dns.ttl_and_address("shop.test", texts.RESOLVER)]
    while seen[-1][1] == texts.OLD:
        seen.append(lab_dns.ttl_and_address("shop.test", texts.RESOLVER))
    old = [ttl for ttl, address in seen if address == texts.OLD]
    assert sorted(old, reverse=True) == old
    assert {1, 2, 3} <= set(old) <= {1, 2, 3, 4}
    assert seen[-1] == (1, texts.NEW)


def test_the_resolver_finds_parent_and_zone_and_refuses_the_rest(lab_dns: Dns) -> None:
    assert lab_dns.ask("test", "NS", texts.RESOLVER).answer[0][0].to_text() == "ns.test."
    assert lab_dns.ask("ns.test", "A", texts.RESOLVER).answer[0][0].to_text() == texts.PARENT
    assert lab_dns.ask("ns2.shop.test", "A", texts.RESOLVER).answer[0][0].to_text() == texts.NS2
    assert lab_dns.ask("absent.shop.test", "A", texts.RESOLVER).rcode() == dns.rcode.NXDOMAIN
    assert lab_dns.ask("example.org", "A", texts.RESOLVER).rcode() == dns.rcode.REFUSED
