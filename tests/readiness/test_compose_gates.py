"""The gates on the Compose files that a plan names, and on the path that their load balancer asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchover.engine.live import Live
from switchover.engine.runner import Runner, Stop
from switchover.engine.step import Step, Verdict
from switchover.plan.file import load
from switchover.plan.outline import StepName
from switchover.steps import build
from switchover.steps.context import Context
from switchover.steps.preview import _NoJournal
from tests.plan.conftest import PLAN
from tests.servers.http import Answer, HttpServer

CLEAN = (Path(__file__).parents[2] / "plans" / "shop-stack.yaml").read_text()
ONE = '[[compose.suppress]]\nrule = "replicas-single"\nservice = "mailer"\nreason = "one by design"\n'
NAMED = '[compose]\nfiles = ["stack.yaml"]\ndialect = "stack"\n'
INSIDE = '[[compose.suppress]]\nrule = "balancer-path-unanswered"\nreason = "asked from inside"\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text(CLEAN)
    return tmp_path / "shop.toml"


@pytest.fixture
def target() -> Iterator[HttpServer]:
    """The new host, which answers the balancer's path."""
    with HttpServer({"/health": Answer()}) as server:
        yield server


def step(plan: Path, more: str, name: StepName = StepName.READINESS, text: str = PLAN) -> Step:
    plan.write_text(text + more)
    loaded = load(plan)
    runner = Runner(loaded.spec, _NoJournal(()), Live(plan, "test"), Stop())
    return build(name, Context(plan, loaded.spec, loaded.entries, "a" * 32, "test"), runner)


def looked(step: Step, name: str) -> Verdict:
    (gate,) = (gate for gate in step.gates if gate.name == name)
    return asyncio.run(gate.look())


def files(plan: Path, more: str) -> Verdict:
    return looked(step(plan, more), "the Compose files are clean")


def answered(plan: Path, target: HttpServer, more: str = "") -> Verdict:
    text = PLAN.replace("198.51.100.20", target.address).replace(
        "https://shop.example.com/health", target.url("/", "shop.example.com")
    )
    return looked(step(plan, NAMED + ONE + more, text=text), "the load balancer's path is answered")


def test_without_the_table_nothing_is_asked(plan: Path) -> None:
    names = {gate.name for gate in step(plan, "").gates}
    assert names == {"target answers: front page"}


def test_readiness_and_cutover_ask_for_clean_files(plan: Path) -> None:
    for name in (StepName.READINESS, StepName.CUTOVER):
        there = {gate.name for gate in step(plan, NAMED, name).gates}
        assert {"the Compose files are clean", "the load balancer's path is answered"} <= there


def test_an_error_bars_the_way_with_its_place_and_the_command_that_shows_it(plan: Path) -> None:
    found = files(plan, NAMED)
    assert found.ok is False
    assert found.evidence == (
        "stack.yaml, read as stack: 2 services, 1 error, 0 warnings, 0 hints: "
        "stack.yaml:53 replicas-single mailer: the number of replicas is 1: a single point of failure"
    )
    assert found.fix.startswith("switchover lint --plan shop.toml shows each line and what mends it")
    assert "[[compose.suppress]]" in found.fix


def test_what_is_accepted_with_a_reason_bars_nothing_and_is_repeated(plan: Path) -> None:
    made = step(plan, NAMED + ONE)
    found = looked(made, "the Compose files are clean")
    assert found.ok is True
    assert found.evidence.endswith("0 hints, 1 accepted")
    assert found.details[0].endswith("a single point of failure: one by design")
    compose: Any = made.facts()["compose"]
    assert (compose["errors"], compose["left_out"]) == (0, 0)
    assert [(row["rule"], row["place"], row["accepted"]) for row in compose["findings"]] == [
        ("replicas-single", "stack.yaml:53", "one by design")
    ]


def test_an_acceptance_holds_until_its_last_day_and_one_in_vain_is_told(plan: Path) -> None:
    found = files(plan, NAMED + ONE + "until = 2020-01-31\n")
    assert found.ok is False
    assert "replicas-single of mailer was accepted until 2020-01-31, and counts again" in found.details
    vain = files(plan, NAMED + ONE + ONE.replace("mailer", "web"))
    assert vain.ok is True
    assert "replicas-single of web is accepted and not found: take it out of compose.suppress" in vain.details


def test_what_is_said_of_a_service_or_rule_that_is_not_there_is_unknown(plan: Path) -> None:
    said = '{ wbe = { startup = "20s" } }'
    found = files(plan, NAMED + f"services = {said}\n" + ONE.replace("mailer", "mail").replace("single", "singel"))
    assert found.ok is None
    assert "stack.yaml has no service 'wbe'; there is: web, mailer" in found.evidence
    assert "there is no rule 'replicas-singel'" in found.details[0]
    assert "there is no service 'mail'; there is: web, mailer" in found.details[1]


def test_files_that_cannot_be_read_are_unknown(plan: Path) -> None:
    found = files(plan, NAMED.replace("stack.yaml", "gone.yaml"))
    assert found.ok is None
    assert "gone.yaml" in found.evidence


def test_start_first_is_an_error_where_the_plan_says_that_two_versions_may_not_meet(plan: Path) -> None:
    found = files(plan, NAMED + "services = { web = { stateless = false } }\n" + ONE)
    assert found.ok is False
    assert "update-start-first-stateful web: start-first, and the plan says that it is not stateless" in found.evidence


def test_an_update_that_takes_capacity_away_is_told(plan: Path) -> None:
    stack = plan.with_name("stack.yaml")
    stack.write_text(
        CLEAN.replace("order: start-first, parallelism: 2, delay", "order: stop-first, parallelism: 2, delay")
    )
    made = step(plan, NAMED + 'services = { web = { startup = "20s" } }\n' + ONE)
    found = looked(made, "the Compose files are clean")
    assert (
        "web: an update takes it down to 2 of 4: the wizard's checklist, key c, shows what to change" in found.details
    )
    rollouts: Any = made.facts()["rollouts"]
    assert [(row["service"], row["lossless"], row["fewest_serving"]) for row in rollouts] == [("web", False, 2)]


def test_settings_worse_than_dockers_own_are_told(plan: Path) -> None:
    stack = plan.with_name("stack.yaml")
    stack.write_text(CLEAN.replace('        traefik.swarm.lbswarm: "true"', "        x: y"))
    found = files(plan, NAMED + 'services = { web = { startup = "20s" } }\n' + ONE)
    assert found.ok is True
    assert any(
        line.startswith("web: an update fails more requests than with Docker's defaults") for line in found.details
    )


@pytest.mark.parametrize("status", [200, 204, 302])
def test_the_balancers_path_is_asked_at_the_target_under_the_production_name(
    plan: Path, target: HttpServer, status: int
) -> None:
    target.answers["/health"] = Answer(status, headers=(("location", "/login"),) if status == 302 else ())
    found = answered(plan, target)
    assert found.ok is True, found.evidence
    assert f"web: {target.url('/health', 'shop.example.com')} at 127.0.0.1: {status} in " in found.evidence
    assert target.asked == [("/health", f"shop.example.com:{target.port}")]


def test_what_follows_the_path_is_asked_and_never_told(plan: Path, target: HttpServer) -> None:
    stack = plan.with_name("stack.yaml")
    stack.write_text(CLEAN.replace("healthcheck.path: /health", "healthcheck.path: /health?key=hunter2"))
    found = answered(plan, target)
    assert [path for path, _ in target.asked] == ["/health?key=hunter2"]
    assert "hunter2" not in str(found)


def test_a_path_that_is_not_answered_bars_the_way_until_it_is_accepted(plan: Path, target: HttpServer) -> None:
    target.answers["/health"] = Answer(503)
    found = answered(plan, target)
    assert found.ok is False
    assert "status 503, not 2xx or 3xx" in found.evidence
    assert 'rule = "balancer-path-unanswered"' in found.fix
    accepted = answered(plan, target, INSIDE)
    assert accepted.ok is True
    assert accepted.evidence.endswith("(accepted: asked from inside)")


@pytest.mark.parametrize(
    ("rule", "ok", "says"),
    [
        ("Host(`shop.example.com`) && PathPrefix(`/api`)", None, "from outside only /api leads to it"),
        ("Host(`shop.example.com`) && PathPrefix(`/he`)", True, "200 in"),
        ("Host(`other.example.com`)", True, "nothing to ask"),
    ],
)
def test_a_path_that_no_request_from_outside_reaches_is_unknown(
    plan: Path, target: HttpServer, rule: str, ok: bool | None, says: str
) -> None:
    both = "Host(`shop.example.com`) || Host(`www.shop.example.com`)"
    plan.with_name("stack.yaml").write_text(CLEAN.replace(both, rule))
    found = answered(plan, target)
    assert found.ok is ok
    assert says in found.evidence
