"""The gates of readiness and cutover on the checklist and on the topology."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from switchover.engine.live import Live
from switchover.engine.runner import Runner, Stop
from switchover.engine.step import Verdict
from switchover.plan.file import append, load
from switchover.plan.outline import StepName
from switchover.readiness.checklist import Statement, read_items, sign
from switchover.steps import build
from switchover.steps.checklist import checklist_gates, topology_gates
from switchover.steps.context import Context
from switchover.steps.preview import _NoJournal
from tests.plan.conftest import PLAN

OWN = '\n[[checklist]]\nid = "cron"\ntitle = "Cron runs on one host"\n'
ASKED = "\n[readiness]\navailability = 99.5\n"
FILES = '\n[compose]\nfiles = ["stack.yaml"]\ndialect = "stack"\n'
NODE = '{ name = "m1", role = "manager", cpu = 2, memory_gb = 8, address = "198.51.100.20" }'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "shop.toml"


def context(plan: Path) -> Context:
    loaded = load(plan)
    return Context(plan, loaded.spec, loaded.entries, "a" * 32, "test")


def verdict(plan: Path, text: str | None = None) -> Verdict:
    if text is not None:
        plan.write_text(PLAN + text)
    (gate,) = checklist_gates(context(plan))
    return asyncio.run(gate.look())


def sign_all(plan: Path, **more: object) -> None:
    loaded = load(plan)
    for item in read_items(loaded.spec, plan.parent):
        if item.shown_by in (None, "topology"):
            append(plan, sign(loaded.spec, item, Statement(item.id, "looked at", **more)))  # type: ignore[arg-type]


def test_a_plan_that_asks_for_nothing_has_no_gate(plan: Path) -> None:
    plan.write_text(PLAN + OWN + "required = false\n")
    assert checklist_gates(context(plan)) == []
    assert topology_gates(context(plan)) == []


def test_what_is_missing_is_named_with_the_command_that_signs_it(plan: Path) -> None:
    found = verdict(plan, OWN)
    assert found.ok is False
    assert found.waits is not None
    assert found.waits.kind == "person"
    assert found.fix == "switchover attest shop.toml cron --note …"
    assert found.details == ("cron: Cron runs on one host: nobody has signed this",)


def test_the_first_few_of_many_are_named_and_all_are_in_the_details(plan: Path) -> None:
    found = verdict(plan, ASKED)
    assert found.evidence.endswith(f"and {len(found.details) - 6} more")


def test_all_signed_is_enough(plan: Path) -> None:
    plan.write_text(PLAN + ASKED + OWN)
    sign_all(plan)
    found = verdict(plan)
    assert found.ok is True, found.details


def test_that_no_compose_file_was_looked_at_is_said_where_all_of_production_is_asked(plan: Path) -> None:
    says = "the plan has no [compose]: no Compose file was held against the rules"
    for more, told in ((ASKED, True), (OWN, False), (ASKED + FILES, False)):
        plan.write_text(PLAN + more)
        sign_all(plan)
        assert (says in verdict(plan).details) is told


def test_what_ends_before_the_window_closes_is_said_today(plan: Path) -> None:
    soon = datetime.now(UTC) + timedelta(days=400)
    start = f"{soon:%Y-%m-%d}T22:00:00"
    plan.write_text(PLAN.replace("2026-12-05T22:00:00", start) + OWN)
    sign_all(plan, expires=(soon - timedelta(days=5)).date())
    found = verdict(plan)
    assert found.ok is True
    assert "before the window closes" in found.details[0]


def test_a_checklist_that_cannot_be_read_is_unknown(plan: Path) -> None:
    found = verdict(plan, ASKED + 'packs = ["ours.toml"]\n')
    assert found.ok is None
    assert "ours.toml" in found.evidence


def test_the_cutover_looks_again(plan: Path) -> None:
    plan.write_text(PLAN + OWN)
    runner = Runner(load(plan).spec, _NoJournal(()), Live(plan, "test"), Stop())
    for name in (StepName.READINESS, StepName.CUTOVER):
        assert "the checklist is signed" in {gate.name for gate in build(name, context(plan), runner).gates}


def test_a_topology_that_is_short_blocks_unless_waived(plan: Path) -> None:
    def looked(more: str) -> Verdict:
        plan.write_text(PLAN + f"\n[topology]\nnodes = [{NODE}]\n" + more)
        (gate,) = topology_gates(context(plan))
        return asyncio.run(gate.look())

    bare = looked("")
    assert bare.ok is False
    assert "node-count: one node" in bare.evidence
    reason = '{ reason = "one node by decision" }'
    waived = looked(ASKED + f"waived = {{ node-count = {reason}, worker-count = {reason} }}\n")
    assert waived.ok is True
    assert any(line.startswith("manager-quorum") for line in waived.details)
    assert not any(line.startswith("node-count") for line in waived.details)
