"""What becomes of a wanted TTL, by the plan's words and by the name servers' names."""

from __future__ import annotations

import pytest

from switchover.dns.providers.limits import Limits, elsewhere, explain, kept_ttl, limits_of


@pytest.mark.parametrize(
    ("kind", "service", "hosts", "keeper"),
    [
        ("cloudflare", None, (), "cloudflare"),
        ("digitalocean", None, ("ns1.example.net",), "digitalocean"),
        ("lexicon", "porkbun", (), "porkbun"),
        ("manual", "GoDaddy", (), "godaddy"),
        ("manual", "name.com", (), "namecom"),
        ("manual", "Google Cloud DNS", (), "googlecloud"),
        ("manual", None, ("ns-cloud-a1.googledomains.com", "ns-cloud-a2.googledomains.com."), "googlecloud"),
        ("manual", None, ("ns-512.awsdns-00.net", "ns-1.awsdns-64.co.uk"), "route53"),
        ("manual", None, ("ada.ns.cloudflare.com",), "cloudflare"),
        ("manual", None, ("ns-11-a.gandi.net",), "gandi"),
        ("manual", None, ("NS1.LINODE.COM.",), "linode"),
        ("manual", None, ("ns1.digitalocean.com",), "digitalocean"),
        ("manual", None, ("hydrogen.ns.hetzner.com",), "hetzner"),
        ("manual", None, ("ns01.domaincontrol.com",), "godaddy"),
        ("command", None, ("ns1.desec.io", "ns2.desec.org"), "desec"),
        ("manual", "somebody new", ("ns1.gandi.net",), "gandi"),
    ],
)
def test_the_keeper_is_known_by_the_plan_or_by_its_name_servers(
    kind: str, service: str | None, hosts: tuple[str, ...], keeper: str
) -> None:
    found = limits_of(kind, service, hosts)
    assert found is not None
    assert found.keeper == keeper


@pytest.mark.parametrize(
    ("kind", "service", "hosts"),
    [
        ("manual", None, ()),
        ("manual", "somebody new", ("ns1.example.net",)),
        ("manual", None, ("notgandi.net", "ns1.notgandi.net", "ns1.gandi.net.example.com", "gandi.net")),
        ("rfc2136", None, ("ns1.gandi.net",)),
        ("powerdns", None, ("ns1.gandi.net",)),
    ],
)
def test_nothing_is_made_up_about_a_keeper_that_is_not_known(
    kind: str, service: str | None, hosts: tuple[str, ...]
) -> None:
    assert limits_of(kind, service, hosts) is None
    assert kept_ttl(None, 60) == 60
    assert explain(None, 60) == ""


def test_of_two_keepers_the_stricter_counts() -> None:
    found = limits_of("manual", None, ("ns-512.awsdns-00.net", "ns1.gandi.net", "ns1.digitalocean.com"))
    assert found is not None
    assert found.keeper == "gandi"


@pytest.mark.parametrize(
    ("keeper", "wanted", "kept"),
    [
        ("gandi", 60, 300),
        ("gandi", 300, 300),
        ("gandi", 301, 301),
        ("godaddy", 60, 600),
        ("cloudflare", 1, 60),
        ("route53", 1, 1),
        ("linode", 60, 120),
        ("linode", 300, 300),
        ("linode", 301, 3600),
        ("linode", 99999999, 2419200),
        ("cloudns", 1, 60),
        ("cloudns", 3601, 21600),
        ("domainnameshop", 61, 120),
        ("domainnameshop", 120, 120),
    ],
)
def test_a_ttl_is_raised_to_the_minimum_and_up_to_the_next_step(keeper: str, wanted: int, kept: int) -> None:
    limits = limits_of("manual", keeper, ())
    assert limits is not None
    assert kept_ttl(limits, wanted) == kept
    assert bool(explain(limits, wanted)) == (wanted != kept)


def test_a_ttl_that_is_not_kept_is_explained_with_the_way_out() -> None:
    assert explain(limits_of("manual", "gandi", ()), 60) == (
        "gandi keeps at least 300 s: 60 would become 300; set low_ttl = 300"
    )
    assert explain(limits_of("manual", "linode", ()), 60).startswith(
        "linode keeps only 30, 120, 300 s and the like: 60 would become 120; set low_ttl = 120"
    )
    assert explain(Limits("somebody", multiple=60, note="perhaps"), 61).startswith(
        "somebody keeps only multiples of 60 s (perhaps): 61 would become 120; "
    )


def test_an_edit_where_the_delegation_does_not_point_is_named() -> None:
    said = elsewhere("manual", "gandi", ("ns-512.awsdns-00.net",))
    assert said == (
        "the plan edits at gandi, but the delegation points to ns-512.awsdns-00.net (route53): "
        "an edit there shows nowhere"
    )
    assert elsewhere("cloudflare", None, ("amy.ns.cloudflare.com",)) == ""
    assert elsewhere("manual", None, ("ns-512.awsdns-00.net",)) == ""
    assert elsewhere("manual", "gandi", ("ns1.example.com",)) == ""
