"""What an authoritative server says and how an update changes its zone: pure rules on dnspython's zones."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.update
import dns.versioned
import dns.zone

if TYPE_CHECKING:
    from dns.transaction import Transaction

Contents: TypeAlias = "dict[tuple[dns.name.Name, dns.rdatatype.RdataType], tuple[int, frozenset[object]]]"

_ANY = dns.rdataclass.ANY
_NONE = dns.rdataclass.NONE
_APEX_ONLY = (dns.rdatatype.SOA, dns.rdatatype.NS)


def load(text: str, origin: str) -> dns.versioned.Zone:
    """A zone from its master file (RFC 1035 5)."""
    zone = dns.zone.from_text(text, origin, relativize=False, zone_factory=dns.versioned.Zone)
    assert isinstance(zone, dns.versioned.Zone)  # the factory makes these
    return zone


def answer(query: dns.message.Message, origin: dns.name.Name, zone: Transaction) -> dns.message.Message:
    """The authoritative answer: records, a referral, NODATA or NXDOMAIN with the SOA (RFC 1034 4.3.2)."""
    reply = dns.message.make_response(query)
    question = query.question[0]
    name, kind = question.name, question.rdtype
    cut = _cut(name, kind, origin, zone)
    if cut is not None:
        _refer(reply, cut, zone)
        return reply
    reply.flags |= dns.flags.AA
    found = zone.get(name, kind) or zone.get(name, dns.rdatatype.CNAME)
    if found is not None:
        reply.answer.append(_rrset(name, found))
        if found.rdtype == dns.rdatatype.CNAME and kind != dns.rdatatype.CNAME:
            target = zone.get(found[0].target, kind) if found[0].target.is_subdomain(origin) else None
            if target is not None:
                reply.answer.append(_rrset(found[0].target, target))
        return reply
    soa = zone.get(origin, dns.rdatatype.SOA)
    assert soa is not None  # a zone does not load without one
    negative = dns.rdataset.from_rdata(min(soa.ttl, soa[0].minimum), soa[0])  # RFC 2308 3
    reply.authority.append(_rrset(origin, negative))
    if not any(known.is_subdomain(name) for known in zone.iterate_names()):
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply


def identify(query: dns.message.Message, reply: dns.message.Message, server: str) -> None:
    """Say which server answers, when asked (NSID, RFC 5001)."""
    if any(option.otype == dns.edns.OptionType.NSID for option in query.options):
        reply.use_edns(0, 0, 1232, query.payload, [dns.edns.GenericOption(dns.edns.OptionType.NSID, server.encode())])


def _cut(
    name: dns.name.Name, kind: dns.rdatatype.RdataType, origin: dns.name.Name, zone: Transaction
) -> dns.name.Name | None:
    """The delegation at or above ``name``, if any; DS is the parent's own (RFC 4035 3.1.4.1)."""
    cut = None
    while name != origin:
        if zone.get(name, dns.rdatatype.NS) is not None and not (cut is None and kind == dns.rdatatype.DS):
            cut = name
        name = name.parent()
    return cut


def _refer(reply: dns.message.Message, cut: dns.name.Name, zone: Transaction) -> None:
    servers = zone.get(cut, dns.rdatatype.NS)
    assert servers is not None  # that is what makes it a cut
    reply.authority.append(_rrset(cut, servers))
    for server in servers:
        glue = zone.get(server.target, dns.rdatatype.A)
        if glue is not None:
            reply.additional.append(_rrset(server.target, glue))


def _rrset(name: dns.name.Name, records: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, records.ttl, list(records))


def update(message: dns.update.UpdateMessage, zone: dns.versioned.Zone) -> dns.rcode.Rcode:
    """Apply a dynamic update as one transaction, or nothing of it; the serial moves when the zone did.

    RFC 2136: prerequisites 3.2, update section 3.4.
    """
    asked = message.zone[0] if message.zone else None
    if asked is None or asked.name != zone.origin or asked.rdtype != dns.rdatatype.SOA:
        return dns.rcode.NOTAUTH
    if any(not rrset.name.is_subdomain(asked.name) for rrset in (*message.prerequisite, *message.update)):
        return dns.rcode.NOTZONE
    with zone.writer() as txn:
        refusal = _unmet(message.prerequisite, txn)
        if refusal is not None:
            txn.rollback()
            return refusal
        before = _contents(txn)
        for rrset in message.update:
            _apply(rrset, asked.name, txn)
        if _contents(txn) == before:
            txn.rollback()
        else:
            txn.update_serial(name=asked.name)
    return dns.rcode.NOERROR


def _unmet(prerequisites: list[dns.rrset.RRset], zone: Transaction) -> dns.rcode.Rcode | None:
    """The code of the first prerequisite that does not hold."""
    values: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], set[object]] = {}
    for rrset in prerequisites:
        name, kind = rrset.name, rrset.rdtype
        if rrset.deleting is None:
            if rrset.ttl != 0:
                return dns.rcode.FORMERR
            values.setdefault((name, kind), set()).update(rrset)
            continue
        whole = kind == dns.rdatatype.ANY
        exists = zone.name_exists(name) if whole else zone.get(name, kind) is not None
        if rrset.deleting == _ANY and not exists:
            return dns.rcode.NXDOMAIN if whole else dns.rcode.NXRRSET
        if rrset.deleting == _NONE and exists:
            return dns.rcode.YXDOMAIN if whole else dns.rcode.YXRRSET
    if any(set(zone.get(name, kind) or ()) != wanted for (name, kind), wanted in values.items()):
        return dns.rcode.NXRRSET
    return None


def _apply(rrset: dns.rrset.RRset, origin: dns.name.Name, zone: Transaction) -> None:
    """One record of the update section; the apex keeps its SOA and NS (RFC 2136 3.4.2.3, 3.4.2.4)."""
    name, kind = rrset.name, rrset.rdtype
    guarded = name == origin and (kind in _APEX_ONLY or kind == dns.rdatatype.ANY)
    if rrset.deleting is None:
        if kind == dns.rdatatype.SOA or _beside_cname(name, kind, zone):
            return
        kept = [*(zone.get(name, kind) or ())]
        zone.replace(name, dns.rdataset.from_rdata_list(rrset.ttl, [*kept, *rrset]))
    elif guarded or not zone.name_exists(name):
        return
    elif kind == dns.rdatatype.ANY:
        zone.delete(name)
    elif rrset.deleting == _ANY:
        zone.delete(name, kind)
    else:
        zone.delete(name, dns.rdataset.from_rdata_list(0, list(rrset)))


def _beside_cname(name: dns.name.Name, kind: dns.rdatatype.RdataType, zone: Transaction) -> bool:
    """A name with a CNAME has nothing else; such an addition is ignored, no error (RFC 2136 3.4.2.2)."""
    if kind == dns.rdatatype.CNAME:
        return zone.name_exists(name) and zone.get(name, dns.rdatatype.CNAME) is None
    return zone.get(name, dns.rdatatype.CNAME) is not None


def _contents(zone: Transaction) -> Contents:
    return {(name, records.rdtype): (records.ttl, frozenset(records)) for name, records in zone.iterate_rdatasets()}
