"""The reading of a reply."""

from __future__ import annotations

from datetime import UTC, datetime

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
import dns.rdtypes.ANY.SOA
import dns.rrset

from switchover.dns.message import (
    FIRM,
    Alias,
    Answer,
    Delegation,
    Question,
    Signature,
    Soa,
    State,
    clean_name,
    is_within,
)
from switchover.words import plain


def understand(question: Question, reply: dns.message.Message, at: datetime) -> Answer:
    """Read a reply."""
    chain, found = _follow(question, reply)
    soa = _soa(question, reply, chain)
    aa, ra = bool(reply.flags & dns.flags.AA), bool(reply.flags & dns.flags.RA)
    here = question.recursion or not chain  # without recursion only what stands at the name itself counts
    state, detail = _state(question, reply, bool(found and here))
    if state is State.NODATA and chain and not question.recursion:
        detail = f"a CNAME to {chain[0].target}"
    ttl = found.ttl if found and here else soa.negative_ttl if soa and state in FIRM else None
    return Answer(
        endpoint=question.endpoint,
        name=question.name,
        rdtype=question.rdtype,
        at=at,
        state=state,
        rcode=dns.rcode.to_text(reply.rcode()),
        aa=aa,
        ra=ra,
        ad=bool(reply.flags & dns.flags.AD),
        ttl=ttl,
        values=tuple(sorted(plain(rdata.to_text()) for rdata in found)) if found and here else (),
        chain=chain,
        soa=soa,
        delegation=_delegation(question, reply) if not aa and not found else None,
        signature=_signature(reply, found) if found and here else None,
        nsid=_nsid(reply),
        ede=tuple(_ede(option) for option in reply.extended_errors()),
        detail=detail,
    )


def _state(question: Question, reply: dns.message.Message, found: bool) -> tuple[State, str]:
    aa, ra = reply.flags & dns.flags.AA, reply.flags & dns.flags.RA
    rcode = reply.rcode()
    match rcode:
        case dns.rcode.SERVFAIL:
            return State.SERVFAIL, "SERVFAIL: the server could not answer"
        case dns.rcode.REFUSED if not question.recursion and ra:
            return State.REFUSED, "REFUSED, by a recursive resolver: this is not the authoritative server"
        case dns.rcode.REFUSED:
            return State.REFUSED, "REFUSED: the server does not answer this question"
        case dns.rcode.NOERROR | dns.rcode.NXDOMAIN:
            pass
        case _:
            return State.BROKEN, f"error {dns.rcode.to_text(rcode)}"
    if not question.recursion and not aa:
        if ra:
            return (
                State.CACHE,
                "answered from a cache (AA=0, RA=1): something between here and the server answers for it",
            )
        return State.LAME, "not authoritative for the name (AA=0)"
    if question.recursion and not aa and not ra and not found:
        return State.LAME, "not a recursive resolver (RA=0)"
    if rcode == dns.rcode.NXDOMAIN:
        return State.NXDOMAIN, ""
    return (State.OK, "") if found else (State.NODATA, "")


def _follow(question: Question, reply: dns.message.Message) -> tuple[tuple[Alias, ...], dns.rrset.RRset | None]:
    """Follow the CNAMEs in the answer section to the record asked for."""
    wanted = dns.rdatatype.from_text(question.rdtype)
    name = dns.name.from_text(question.name)
    by_key = {(rrset.name, rrset.rdtype): rrset for rrset in reply.answer}
    chain: list[Alias] = []
    while (rrset := by_key.get((name, wanted))) is None and len(chain) < 16:
        alias = by_key.get((name, dns.rdatatype.CNAME))
        if alias is None:
            break
        target = alias[0].target
        chain.append(Alias(clean_name(name), clean_name(target), alias.ttl))
        name = target
    return tuple(chain), rrset


def _soa(question: Question, reply: dns.message.Message, chain: tuple[Alias, ...]) -> Soa | None:
    """The SOA of the zone that holds the name (behind its CNAMEs), wherever in the reply it stands."""
    end = chain[-1].target if chain else question.name
    for rrset in (*reply.answer, *reply.authority):
        if rrset.rdtype == dns.rdatatype.SOA and is_within(end, clean_name(rrset.name)):
            rdata: dns.rdtypes.ANY.SOA.SOA = rrset[0]
            return Soa(clean_name(rrset.name), clean_name(rdata.mname), rdata.serial, min(rrset.ttl, rdata.minimum))
    return None


def _delegation(question: Question, reply: dns.message.Message) -> Delegation | None:
    for rrset in (*reply.authority, *reply.answer):
        if rrset.rdtype == dns.rdatatype.NS and is_within(question.name, clean_name(rrset.name)):
            servers = tuple(sorted(clean_name(rdata.target) for rdata in rrset))
            glue = tuple(
                sorted(
                    (clean_name(extra.name), rdata.address)
                    for extra in reply.additional
                    if extra.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) and clean_name(extra.name) in servers
                    for rdata in extra
                )
            )
            return Delegation(clean_name(rrset.name), servers, glue)
    return None


def _signature(reply: dns.message.Message, found: dns.rrset.RRset) -> Signature | None:
    for rrset in reply.answer:
        if rrset.rdtype == dns.rdatatype.RRSIG and rrset.name == found.name and rrset.covers == found.rdtype:
            rdata: dns.rdtypes.ANY.RRSIG.RRSIG = rrset[0]
            return Signature(
                datetime.fromtimestamp(rdata.inception, UTC),
                datetime.fromtimestamp(rdata.expiration, UTC),
                rdata.labels,
            )
    return None


def _nsid(reply: dns.message.Message) -> str:
    for option in reply.options:
        if option.otype == dns.edns.OptionType.NSID:
            raw = option.to_wire() or b""
            return plain(raw.decode(), 200) if raw.isascii() and raw.decode().isprintable() else raw.hex()[:200]
    return ""


def _ede(option: dns.edns.EDEOption) -> str:
    return plain(f"{int(option.code)} {option.text or ''}", 300).strip()
