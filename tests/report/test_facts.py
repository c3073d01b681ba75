"""The report's facts: what is claimed, what is not, and that unknown is never said as ok."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from switchover.plan.journal import Json, What
from switchover.plan.outline import StepName
from switchover.plan.production import ComposeSpec, ReadinessSpec, SuppressSpec, WaiverSpec
from switchover.report import as_json, markdown
from switchover.report.verdict import CLAIMS
from tests.report.conftest import SAME, SERVERS, Story, T


def test_a_finished_switchover_proves_every_claim(finished: Story) -> None:
    report = finished.report()

    assert report.verdict == "Done: users are on the new host, and every step is proved."
    assert report.proved == tuple(CLAIMS.values())
    assert report.not_proved == ()
    assert report.passed == "passed"


def test_an_empty_journal_claims_nothing(story: Story) -> None:
    report = story.report()

    assert report.verdict == "Not cut over: users are on the old host. Next is readiness."
    assert report.proved == ()
    assert len(report.not_proved) == len(CLAIMS)
    assert (report.service, report.opened, report.first_write, report.head) == (None, "", None, "")


def test_a_plan_changed_after_a_step_is_not_called_proved(finished: Story) -> None:
    finished.spec = finished.spec.model_copy(
        update={"verify": finished.spec.verify.model_copy(update={"soak": timedelta(hours=1)})}
    )
    report = finished.report()

    assert report.verdict == "Users are on the new host, but the plan was changed since: Verify."
    assert CLAIMS[StepName.VERIFY] not in report.proved
    assert any(CLAIMS[StepName.VERIFY] in line and "stale: changed since" in line for line in report.not_proved)
    (changed,) = [each for each in report.relied if each.stale]
    assert (changed.step, "verify" in changed.stale) == ("verify", True)


def test_an_unknown_outcome_is_the_headline(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={})
    story.tell(StepName.CUTOVER, What.UNKNOWN, "fence-source", reason="the source does not answer", seen={})
    story.tell(StepName.CUTOVER, What.UNKNOWN, reason="the source does not answer")

    assert story.report().verdict == "Unknown: a person must look. Cutover: the source does not answer"
    assert [each.reason for each in story.report().proofs if each.status == "unknown"] == ["the source does not answer"]


def test_a_cutover_cut_short_does_not_say_that_users_have_service(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source", "open-target")
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={})

    assert story.report().verdict.startswith("In the middle of the cutover: users may be without service")

    story.tell(StepName.CUTOVER, What.DONE, "fence-source", proof={}, result={})
    story.tell(StepName.CUTOVER, What.INTENT, "open-target", before={})
    assert story.report().verdict.startswith("In between: the target may have taken writes")
    assert story.report().passed == "may be passed"


def test_an_undone_cutover_says_why_and_that_users_are_on_the_old_host(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    story.act(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.FAILED, reason="a row differs")
    story.tell(StepName.CUTOVER, What.UNDO, "fence-source")
    story.tell(StepName.CUTOVER, What.UNDONE, "fence-source", proof={})
    story.tell(StepName.CUTOVER, What.UNDONE, reason="a row differs. Everything was put back as it was.", asked=False)

    assert story.report().verdict == (
        "Not cut over: users are on the old host. The last attempt: a row differs. Everything was put back as it was."
    )


def test_a_rollback_states_the_rows_and_what_keeps_them(story: Story) -> None:
    story.prepare()
    story.cut_over()
    story.begin(StepName.ROLLBACK, "close-target", "keep-written")
    story.tell(StepName.ROLLBACK, What.INTENT, "close-target", before={})

    assert story.report().verdict.startswith("In the middle of a rollback")

    rows = [{"table": "public.orders", "inserted": 3, "updated": 1, "deleted": 0}]
    story.tell(StepName.ROLLBACK, What.DONE, "close-target", proof={}, result={"changes": rows})
    story.act(StepName.ROLLBACK, "keep-written", kept="switchover_kept_0123_1")
    story.complete(StepName.ROLLBACK)
    report = story.report()

    assert report.verdict == "Rolled back: users are on the old host."
    assert (report.passed, report.kept) == ("rolled back", "switchover_kept_0123_1")
    assert report.changes == ({"step": "rollback", "action": "close-target", **rows[0]},)
    assert CLAIMS[StepName.CUTOVER] not in report.proved


def test_rows_that_were_never_counted_are_not_said_to_be_none(story: Story) -> None:
    story.prepare()
    story.cut_over()
    assert not story.report().changes_known

    story.verify(written=())
    assert story.report().changes_known
    assert story.report().changes == ()


def test_people_are_named_with_what_they_said(story: Story) -> None:
    story.tell(StepName.READINESS, What.ATTESTED, item="backups", note="restored one on Monday")
    story.who = "lee@ops-2"
    story.tell(StepName.CUTOVER, What.DECIDED, hold="go:cutover:1", choice="go", note="all green")

    assert [(each.who, each.where, each.says) for each in story.report().people] == [
        ("dana@ops-1", "readiness backups", "restored one on Monday"),
        ("lee@ops-2", "cutover go:cutover:1", "go. all green"),
    ]


def test_the_timeline_tells_torn_ends_lost_runs_and_stops(story: Story) -> None:
    story.tell("", What.RUN, run="aaa", pid=1, epoch=1, version="0.1.0", through="finish")
    story.tell("", What.RECOVERED, file="shop.toml.torn", bytes=317, sha256="ab")
    story.tell("", What.RUN, run="bbb", pid=2, epoch=2, version="0.1.0", through="finish")
    story.begin(StepName.READINESS)
    story.tell(StepName.READINESS, What.STOPPED, signal="SIGTERM")
    story.tell("", What.ENDED, run="bbb", outcome="not-yet", reason="")
    story.tell("", What.RUN, run="ccc", pid=3, epoch=3, version="0.1.0", through="finish")
    said = [(each.what, each.says) for each in story.report().timeline]

    assert said == [
        ("recovered", "a torn end of the plan was cut off: 317 bytes, kept in shop.toml.torn"),
        ("lost", "run aaa ended without a word: it was killed or its machine stopped"),
        ("begin", "attempt 1"),
        ("stopped", "SIGTERM"),
    ]


def test_a_hold_met_by_many_runs_is_one_line(story: Story) -> None:
    for run in "abc":
        story.tell("", What.RUN, run=run, pid=1, epoch=1, version="0.1.0", through="finish")
        story.begin(StepName.READINESS)
        story.tell(StepName.READINESS, What.HELD, key="attest:backups", reason="not attested yet", kind="person")
        story.tell("", What.ENDED, run=run, outcome="not-yet", reason="")

    assert [(each.what, each.times) for each in story.report().timeline] == [("begin", 1), ("held", 3)]


def test_durations_stand_beside_those_of_the_rehearsal(finished: Story) -> None:
    report = finished.report()

    assert [(each.phase, each.rehearsed_s, each.took_s) for each in report.timings if each.rehearsed_s] == [
        ("dump", 1.5, 1.5),
        ("restore", 1.5, 1.5),
        ("compare", 1.5, 1.5),
    ]
    assert report.forecast_s == (32.0, 65.0)
    assert report.cutover_s == 12.0


def test_evidence_keeps_keys_that_nobody_planned_for(finished: Story) -> None:
    report = finished.report()

    assert report.dns == ({"step": "cutover", "action": "set-address", **SERVERS[0]},)  # type: ignore[dict-item]
    assert [each["verdict"] for each in report.comparisons] == ["same", "same"]
    assert [each.facts for each in report.proofs if each.action == "do soak"] == [{"probes": 360, "failures": 0}]


def test_a_difference_found_is_told_as_found(story: Story) -> None:
    story.begin(StepName.REHEARSAL, "compare-rehearsal")
    differs = {**SAME, "verdict": "differs", "differing": ["public.orders: 1 row only on the target"]}
    story.tell(StepName.REHEARSAL, What.DONE, "compare-rehearsal", proof={"comparison": differs}, result={})

    assert story.report().comparisons[0]["differing"] == ["public.orders: 1 row only on the target"]


def test_reasons_for_shorter_times_are_repeated(story: Story) -> None:
    dns = story.spec.dns.model_copy(update={"lead": timedelta(hours=6), "lead_reason": "the TTL was 60 s already"})
    assert story.spec.window is not None
    window = story.spec.window.model_copy(update={"length": timedelta(hours=1), "short_reason": "a tiny database"})
    story.spec = story.spec.model_copy(update={"dns": dns, "window": window})

    assert story.report().reasons == (
        "lead of 6h instead of 48h: the TTL was 60 s already",
        "window of 1h instead of 2h: a tiny database",
    )


def test_what_was_accepted_in_the_compose_files_is_repeated_and_what_stands_there_is_told(story: Story) -> None:
    accepted = SuppressSpec(rule="replicas-single", service="mailer", reason="one by design", until=date(2027, 1, 31))
    compose = ComposeSpec(files=("stack.yaml",), dialect="stack", suppress=(accepted,))
    story.spec = story.spec.model_copy(update={"compose": compose})
    row = {"rule": "replicas-single", "severity": "error", "service": "mailer", "place": "stack.yaml:53"}
    story.begin(StepName.READINESS)
    story.complete(StepName.READINESS, compose={"findings": [row]})
    report = story.report()
    assert report.reasons == (
        "in the Compose files replicas-single of mailer accepted: one by design (until 2027-01-31)",
    )
    assert report.files == (row,)
    assert "What stands in the Compose files" in markdown(report)


def test_what_of_the_checklist_was_waived_is_repeated_with_its_reason(story: Story) -> None:
    waiver = WaiverSpec(reason="ordered for January", until=date(2027, 1, 31), owner="sam")
    wanted = ReadinessSpec(availability=99.5, waived={"off-site": waiver}, not_applicable={"cdn": "one office"})
    story.spec = story.spec.model_copy(update={"readiness": wanted})
    assert story.report().reasons == (
        "checklist off-site waived: ordered for January (until 2027-01-31, by sam)",
        "checklist cdn not applicable: one office",
    )


def test_a_signature_is_told_with_its_evidence(story: Story) -> None:
    more: dict[str, Json] = {"link": "https://w/1", "owner": "sam", "expires": "2027-01-31"}
    story.tell(StepName.READINESS, What.ATTESTED, item="backups", note="nightly", **more)
    assert story.report().people[0].says == "nightly, https://w/1, owner sam, expires 2027-01-31"


def test_the_json_report_says_the_same_and_is_whole(finished: Story) -> None:
    report = finished.report()
    read = json.loads(as_json(report))

    assert read["verdict"] == report.verdict
    assert read["head"] == finished.entries[-1].chain
    assert read["service"]["total_s"] == report.service.total_s  # type: ignore[union-attr]
    assert len(read["relied"]) == 7


@pytest.mark.parametrize("number", range(45))
def test_a_report_can_be_made_after_every_entry(finished: Story, number: int) -> None:
    finished.entries = finished.entries[:number]

    assert finished.markdown()
    assert json.loads(as_json(finished.report()))["entries"] == len(finished.entries)


def test_a_report_is_the_same_whenever_it_is_made(finished: Story) -> None:
    assert finished.markdown() == finished.markdown()
    assert T.isoformat() not in finished.markdown()


def test_a_server_that_was_set_aside_is_named_beside_the_claims(story: Story) -> None:
    story.prepare()
    servers = [
        {"host": "ns1.example.net", "address": "192.0.2.1", "proved": True},
        {"host": "ns3.example.net", "address": "192.0.2.3", "proved": False},
    ]
    story.tell(StepName.LOWER_TTL, What.INTENT, "set-ttl shop.example.com", before={})
    story.tell(StepName.LOWER_TTL, What.DONE, "set-ttl shop.example.com", proof={}, result={"servers": servers})
    assert "what ns3.example.net 192.0.2.3 served: accepted as unproven, or not to be reached from here" in (
        story.report().not_proved
    )


def test_what_the_preflight_said_and_who_was_there_are_repeated(story: Story) -> None:
    story.spec = story.spec.model_copy(
        update={"database": story.spec.database.model_copy(update={"accept": {"locale": "it sorts by itself"}})}
    )
    client: dict[str, Json] = {"address": "192.0.2.7", "application_name": "shop", "user": "shop", "count": 3}
    story.begin(StepName.REHEARSAL, "copy-globals")
    story.tell("rehearsal", What.INTENT, "copy-globals", before={"says": ["make role shop"], "lacking": []})
    story.tell("rehearsal", What.DONE, "copy-globals", proof={}, result={}, seconds=0.1)
    story.complete(
        StepName.REHEARSAL,
        preflight=[
            {"id": "locale", "severity": "warn", "evidence": "C and de"},
            {"id": "versions", "severity": "info", "evidence": "16 to 18"},
        ],
        clients=[client],
    )

    report = story.report()
    assert report.remarks == (
        {"id": "locale", "severity": "warn", "evidence": "C and de", "accepted": "it sorts by itself"},
    )
    assert report.made == ("make role shop",)
    assert report.clients == (client,)
    assert "preflight locale accepted: it sorts by itself" in report.reasons

    story.begin(StepName.CUTOVER, "fence-source")
    story.tell("cutover", What.INTENT, "fence-source", before={})
    back: dict[str, Json] = {**client, "count": 1}
    story.tell("cutover", What.DONE, "fence-source", proof={}, result={"clients": [], "came_back": [back]}, seconds=0.1)
    assert story.report().came_back == (back,)
    assert "## Who came back to it after the fence" in story.markdown()
