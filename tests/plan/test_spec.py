"""Every mistake in the operator's part is one line that names the place, the value and the way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from switchover.plan.file import PlanUnreadable, load
from switchover.plan.spec import digest, json_schema, subtree
from switchover.plan.values import expand

if TYPE_CHECKING:
    from pathlib import Path


def problems(plan: Path, old: str, new: str) -> list[str]:
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new))
    with pytest.raises(PlanUnreadable) as caught:
        load(plan)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("[replicate]\n", 'the method is "dump"'),
        ('method = "replicate"\n[replicate]\nbudget = "2s"\n', "5s to 10m"),
        ('method = "replicate"\n[replicate]\nbudget = "11m"\n', "5s to 10m"),
        ('method = "replicate"\n[replicate]\nbudget = "10s"\ncompare = "6s"\n', "half of the budget"),
        ('method = "replicate"\n[replicate]\nsource = "host=old password=hunter2"\n', "no password in a plan"),
        ('method = "replicate"\n[replicate]\nuncompared = "why"\n', "at least 8"),
    ],
)
def test_a_wrong_live_copy_is_named(plan: Path, new: str, says: str) -> None:
    said = " ".join(problems(plan, "[dns]", f"{new}\n[dns]"))
    assert says in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ('files = []\ndialect = "stack"', "at least 1"),
        ('files = ["a.yml"]', "dialect"),
        ('files = ["a.yml"]\ndialect = "swarm"', "'stack' or 'compose'"),
        ('files = ["a.yml"]\ndialect = "stack"\nservices = { web = { startup = "0s" } }', "1s to 24h"),
        ('files = ["a.yml"]\ndialect = "stack"\nsuppress = [{ rule = "x", reason = "so" }]', "at least 8"),
    ],
)
def test_a_wrong_table_of_compose_files_is_named(plan: Path, new: str, says: str) -> None:
    assert says in " ".join(problems(plan, "[dns]", f"[compose]\n{new}\n[dns]"))


def test_a_live_copy_has_its_defaults(plan: Path) -> None:
    plan.write_text(plan.read_text().replace("[dns]", 'method = "replicate"\n[replicate]\nbudget = "1m"\n[dns]'))
    live = load(plan).spec.replicate
    assert (live.budget, live.compare) == (timedelta(minutes=1), timedelta(0))
    assert (live.source, live.target, live.uncompared) == (None, None, None)


def test_a_right_plan_is_read_with_its_defaults(plan: Path) -> None:
    spec = load(plan).spec
    assert spec.dns.low_ttl == 60
    assert spec.dns.lead == timedelta(hours=48)
    assert spec.window is not None
    assert spec.window.opens == datetime(2026, 12, 6, 3, tzinfo=UTC)
    assert spec.window.closes == datetime(2026, 12, 6, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('length   = "2h"', 'length   = "90m"', 13, "short_reason"),
        ('length   = "2h"', 'length   = "two hours"', 16, "a duration such as"),
        ('"203.0.113.10"', '"203.0.113.300"', 10, "an IPv4 address"),
        ('"203.0.113.10"', '"198.51.100.20"', 8, "must differ"),
        ('to      = "198', 'lead = "24h"\nto      = "198', 8, "lead_reason"),
        ('"service=shop_old"', '"host=db password=hunter2"', 5, "no password in a plan"),
        ('"service=shop_old"', '"postgresql://shop:hunter2@db/shop"', 5, "no password in a plan"),
        ('"service=shop_old"', '"postgresql://db/shop?password=hunter2"', 5, "no password in a plan"),
        ('"service=shop_old"', '"postgresql://shop:hun@ter2@db/shop"', 5, "no password in a plan"),
        ('target = "service=shop_new"', 'target = "service=shop_new"\njobs = "4"', 7, "valid integer"),
        (
            'target = "service=shop_new"',
            'target = "service=shop_new"\njobs = 0',
            7,
            "greater than or equal to 1",
        ),
        ('target = "service=shop_new"', 'target = "service=shop_old"', 4, "two databases"),
        ('target = "service=shop_new"', 'target = "service=shop_new"\ntable = 1', 7, "is not a key"),
        ("2026-12-05T22:00:00", "2026-12-05T22:00:00Z", 13, "without one"),
        ("2026-12-05T22:00:00", "2027-03-14T02:30:00", 13, "does not exist"),
        ("2026-12-05T22:00:00", "2026-11-01T01:30:00", 13, "comes twice"),
        ('"America/Toronto"', '"EST"', 15, "IANA zone"),
        ("https://shop.example.com/health", "https://other.example.com/health", 1, "not one of dns.names"),
        ("https://shop.example.com/health", "ftp://shop.example.com/health", 18, "http://"),
        ("version = 1", "version = 2", 1, "newer release"),
        ("version = 1", "version = = 1", 1, "is not TOML"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(
    plan: Path, old: str, new: str, line: int, says: str
) -> None:
    (problem,) = problems(plan, old, new)
    assert f"shop.toml:{line}:" in problem
    assert says in problem
    assert "hunter2" not in problem
    assert "\n" not in problem


def test_every_mistake_is_told_at_once(plan: Path) -> None:
    text = plan.read_text().replace("from    =", "frm     =").replace('"2h"', '"1h"')
    plan.write_text(text)
    with pytest.raises(PlanUnreadable) as caught:
        load(plan)
    keys = {problem.key for problem in caught.value.problems}
    assert {"dns.from", "dns.frm", "window"} <= keys


def test_an_hour_that_comes_twice_may_be_named(plan: Path) -> None:
    text = plan.read_text().replace("2026-12-05T22:00:00", "2026-11-01T01:30:00")
    for fold, hour in (("first", 5), ("second", 6)):
        plan.write_text(text.replace('length   = "2h"', f'length = "2h"\nfold = "{fold}"'))
        window = load(plan).spec.window
        assert window is not None
        assert window.opens == datetime(2026, 11, 1, hour, 30, tzinfo=UTC)


def test_a_window_across_a_clock_change_is_as_long_as_it_says(plan: Path) -> None:
    plan.write_text(plan.read_text().replace("2026-12-05T22:00:00", "2026-11-01T00:30:00"))
    window = load(plan).spec.window
    assert window is not None
    assert window.closes - window.opens == timedelta(hours=2)


def test_a_missing_variable_is_named_and_its_neighbours_are_not_shown() -> None:
    with pytest.raises(ValueError, match="SHOP_DB") as caught:
        expand("host=${SHOP_DB} user=secret", {})
    assert "secret" not in str(caught.value)


def test_the_schema_knows_the_plan_files_own_words() -> None:
    schema = json_schema()
    assert "from" in schema["$defs"]["DnsSpec"]["properties"]
    assert schema["$defs"]["DnsSpec"]["additionalProperties"] is False


def test_a_digest_changes_with_the_value_and_not_with_the_comment(plan: Path) -> None:
    before = digest(load(plan).spec, ("dns",))
    plan.write_text(plan.read_text().replace("# the operator's own words", "# other words"))
    assert digest(load(plan).spec, ("dns",)) == before
    plan.write_text(plan.read_text().replace("198.51.100.20", "198.51.100.21"))
    spec = load(plan).spec
    assert digest(spec, ("dns",)) != before
    assert subtree(spec, ("dns.to",)) == {"dns.to": "198.51.100.21"}
