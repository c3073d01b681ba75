"""What is asked of production, who signed it, and when a signature no longer counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from switchover.plan.file import PlanUnreadable, append, load
from switchover.plan.journal import Draft, What
from switchover.plan.progress import fold
from switchover.plan.spec import CATEGORIES
from switchover.readiness.availability import allowed_downtime, slower_than_asked, spent_by_window
from switchover.readiness.checklist import (
    Checklist,
    ChecklistUnreadable,
    Standing,
    Statement,
    Status,
    judge,
    read_items,
    sign,
)
from switchover.readiness.checklist.judge import score
from switchover.readiness.checklist.read import built_in
from switchover.words import duration, glyph
from tests.plan.conftest import PLAN

NOW = datetime.now(UTC)
ASKED = "\n[readiness]\navailability = 99.5\n"
OWN = '\n[[checklist]]\nid = "cron"\ntitle = "Cron runs on one host"\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "shop.toml"


def judged(plan: Path, text: str, now: datetime = NOW) -> Checklist:
    """The checklist of the usual plan with more; what was journaled before stays."""
    old = plan.read_text() if plan.exists() else ""
    at = old.find("\n# ------")
    plan.write_text(PLAN + text + (old[at:] if at >= 0 else ""))
    loaded = load(plan)
    return judge(loaded.spec, read_items(loaded.spec, plan.parent), fold(loaded.spec, loaded.entries), now)


def attest(plan: Path, item: str, **more: object) -> None:
    loaded = load(plan)
    found = next(each for each in read_items(loaded.spec, plan.parent) if each.id == item)
    append(plan, sign(loaded.spec, found, Statement(item, "looked at", **more)))  # type: ignore[arg-type]


def of(found: Checklist, item: str) -> Standing:
    return next(each for each in found.standings if each.item.id == item)


def test_without_a_readiness_table_only_the_plans_own_items_are_asked_for(plan: Path) -> None:
    found = judged(plan, OWN)
    assert [each.item.id for each in found.standings] == ["cron"]
    assert [each.item.id for each in found.missing] == ["cron"]


def test_an_attestation_of_before_this_was_known_still_counts(plan: Path) -> None:
    judged(plan, OWN)
    append(plan, Draft("readiness", "", What.ATTESTED, {"item": "cron", "note": "looked at"}))
    assert of(judged(plan, OWN), "cron").status is Status.SIGNED


def test_every_category_has_built_in_items_and_every_id_is_used_once(plan: Path) -> None:
    ids = [item.id for item in built_in().checklist]
    assert len(set(ids)) == len(ids)
    assert set(judged(plan, ASKED).categories) == set(CATEGORIES)


def test_every_item_says_why_it_matters_and_what_to_point_to() -> None:
    for item in built_in().checklist:
        assert item.why, item.id
        assert item.shown_by or item.evidence, item.id
        assert item.seeds, item.id


def test_a_higher_availability_requires_more(plan: Path) -> None:
    counts = [
        sum(each.required for each in judged(plan, f"\n[readiness]\navailability = {target}\n").standings)
        for target in (95, 99.5, 99.9, 99.99)
    ]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize(
    ("target", "allows"),
    [(95, "18d06h"), (99, "3d15h"), (99.5, "43h49m"), (99.9, "8h45m"), (99.99, "52m36s"), (99.999, "5m16s")],
)
def test_what_an_availability_allows_a_year(target: float, allows: str) -> None:
    assert duration(allowed_downtime(target)) == allows


def test_a_window_that_takes_most_of_the_year_is_named(plan: Path) -> None:
    judged(plan, "\n[readiness]\navailability = 99.99\n")
    assert spent_by_window(load(plan).spec) == "a window of 2h is more than the 52m36s a year that 99.99 % allows"
    judged(plan, ASKED)
    assert spent_by_window(load(plan).spec) == ""


def test_a_rehearsal_that_took_longer_than_a_recovery_may_is_named(plan: Path) -> None:
    judged(plan, ASKED + 'recovery_time = "10m"\n')
    loaded = load(plan)
    assert slower_than_asked(loaded.spec, fold(loaded.spec, loaded.entries)) == ""
    append(plan, Draft("rehearsal", "", What.BEGIN, {"attempt": 1, "actions": []}))
    append(plan, Draft("rehearsal", "", What.COMPLETE, {"facts": {"seconds": {"dump": 300, "restore": 900}}}))
    loaded = load(plan)
    says = slower_than_asked(loaded.spec, fold(loaded.spec, loaded.entries))
    assert says == "a recovery may take 10m, but copying the database took 20m in the rehearsal"


def test_a_signature_says_who_and_where_and_ends_on_its_day(plan: Path) -> None:
    judged(plan, ASKED)
    attest(plan, "backups", link="https://wiki/backups", owner="sam", expires=(NOW + timedelta(days=9)).date())
    signed = of(judged(plan, ASKED), "backups")
    assert signed.status is Status.SIGNED
    assert signed.says.endswith(": looked at https://wiki/backups")
    assert signed.owner == "sam"
    assert of(judged(plan, ASKED, NOW + timedelta(days=9)), "backups").stands
    assert of(judged(plan, ASKED, NOW + timedelta(days=10)), "backups").status is Status.EXPIRED


def test_a_signature_holds_no_longer_than_the_item_allows(plan: Path) -> None:
    judged(plan, ASKED)
    attest(plan, "backups", expires=(NOW + timedelta(days=4000)).date())
    assert of(judged(plan, ASKED, NOW + timedelta(days=179)), "backups").stands
    assert of(judged(plan, ASKED, NOW + timedelta(days=182)), "backups").status is Status.EXPIRED


def test_a_signature_is_stale_when_the_key_it_speaks_of_has_changed(plan: Path) -> None:
    judged(plan, ASKED)
    attest(plan, "notice")
    attest(plan, "backups")
    assert of(judged(plan, ASKED), "notice").stands
    plan.write_text(plan.read_text().replace('length   = "2h"', 'length   = "3h"'))
    loaded = load(plan)
    found = judge(loaded.spec, read_items(loaded.spec, plan.parent), fold(loaded.spec, loaded.entries), NOW)
    assert of(found, "notice").status is Status.STALE
    assert of(found, "notice").says.endswith("; changed since: window.length was 2h, is 3h")
    assert of(found, "backups").stands


def test_a_signature_is_stale_when_the_words_of_the_item_have_changed(plan: Path) -> None:
    judged(plan, OWN)
    attest(plan, "cron")
    again = judged(plan, OWN.replace("one host", "no host"))
    assert of(again, "cron").status is Status.STALE
    assert "no host" in of(again, "cron").says


def test_a_signature_is_stale_when_what_it_speaks_of_is_gone(plan: Path) -> None:
    judged(plan, OWN + 'about = ["maintenance"]\n[maintenance]\non = { command = ["true"] }\n')
    attest(plan, "cron")
    again = judged(plan, OWN + 'about = ["window"]\n')
    assert of(again, "cron").status is Status.STALE


def test_waived_and_not_applicable_items_carry_their_reason(plan: Path) -> None:
    more = (
        'not_applicable = { cdn = "one office uses it" }\n'
        f'waived = {{ backups = {{ reason = "the provider does it", until = {NOW.date()}, owner = "sam" }} }}\n'
    )
    found = judged(plan, ASKED + more)
    assert of(found, "cdn").status is Status.NOT_APPLICABLE
    assert of(found, "cdn").says == "one office uses it"
    assert of(found, "backups").status is Status.WAIVED
    assert of(found, "backups").owner == "sam"
    assert "the provider does it" in of(found, "backups").says
    late = of(judged(plan, ASKED + more, NOW + timedelta(days=1)), "backups")
    assert late.status is Status.OPEN
    assert late.says.startswith("the waiver ended on")


@pytest.mark.parametrize(
    "more",
    [
        'waived = { backups = { reason = "short" } }',
        'not_applicable = { cdn = "" }',
        'packs = ["../others.toml"]',
        'packs = ["/etc/passwd.toml"]',
        'packs = ["development"]',
    ],
)
def test_a_reason_too_short_and_a_pack_from_elsewhere_are_refused(plan: Path, more: str) -> None:
    with pytest.raises(PlanUnreadable, match="readiness"):
        judged(plan, ASKED + more + "\n")


@pytest.mark.parametrize("key", ["waived = { nothing = { reason = 'long enough' } }", 'required = ["nothing"]'])
def test_an_item_that_there_is_not_is_named(plan: Path, key: str) -> None:
    with pytest.raises(ChecklistUnreadable, match="no checklist has an item 'nothing'"):
        judged(plan, ASKED + key + "\n")


def test_a_recommended_item_can_be_required(plan: Path) -> None:
    assert not of(judged(plan, ASKED), "cdn").required
    assert of(judged(plan, ASKED + 'required = ["cdn"]\n'), "cdn").required


def test_a_pack_of_ones_own_adds_items(plan: Path) -> None:
    plan.with_name("ours.toml").write_text(
        'title = "Ours"\n[[checklist]]\nid = "lawyer"\ntitle = "The lawyer agreed"\n'
    )
    found = judged(plan, ASKED + 'packs = ["production", "ours.toml"]\n')
    assert of(found, "lawyer").required
    assert len(found.standings) == len(built_in().checklist) + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('title = "Ours"\n[[checklist]]\nid = "backups"\ntitle = "x"\n', "item backups is in production too"),
        ('title = "Ours"\n[[checklist]]\nid = "a b"\ntitle = "x"\n', "checklist.0.id"),
        ('title = "Ours"\n[[checklist]]\nid = "a"\ntitle = "x"\nabout = ["dns.too"]\n', "dns.too, which is no key"),
        ("title = \n", "ours.toml: "),
        (None, "no such file"),
    ],
)
def test_a_pack_that_cannot_be_used_is_told_with_its_place(plan: Path, text: str | None, says: str) -> None:
    if text is not None:
        plan.with_name("ours.toml").write_text(text)
    with pytest.raises(ChecklistUnreadable, match=says):
        judged(plan, ASKED + 'packs = ["production", "ours.toml"]\n')


def test_a_pack_may_not_be_a_way_out_of_the_plans_folder(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "pack.toml"
    other.write_text('title = "x"\n[[checklist]]\nid = "a"\ntitle = "x"\n')
    plan.with_name("ours.toml").symlink_to(other)
    with pytest.raises(ChecklistUnreadable, match="leads out"):
        judged(plan, ASKED + 'packs = ["ours.toml"]\n')


def test_a_plans_item_changes_what_it_says_of_a_built_in_one(plan: Path) -> None:
    found = judged(plan, ASKED + '\n[[checklist]]\nid = "notice"\ntitle = "The clinic was told"\n')
    assert of(found, "notice").item.title == "The clinic was told"
    assert of(found, "notice").item.about == ("window", "dns.names")
    assert len(found.standings) == len(built_in().checklist)


def test_what_a_step_shows_is_not_signed_by_anybody(plan: Path) -> None:
    found = judged(plan, ASKED)
    assert of(found, "rehearsed").status is Status.LATER
    assert not of(found, "rehearsed").signable
    append(plan, Draft("rehearsal", "", What.BEGIN, {"attempt": 1, "actions": []}))
    append(plan, Draft("rehearsal", "", What.COMPLETE, {"facts": {}, "seconds": 1.0, "relied": {}}))
    assert of(judged(plan, ASKED), "rehearsed").status is Status.FAILS, "it relied on nothing that is there now"


def test_the_score_leaves_out_what_does_not_apply(plan: Path) -> None:
    found = judged(plan, ASKED + 'not_applicable = { cdn = "one office uses it" }\n')
    category = found.of("scalability")
    assert score(category) == (0, len(category) - 1)


def test_every_status_has_its_mark() -> None:
    for status in Status:
        assert glyph(status)
        assert glyph(status, ascii_only=True).isascii()
