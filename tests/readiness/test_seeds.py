"""Every item of the published checklists is answered by something that exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from switchover.cli import _COMMANDS
from switchover.engine.live import Live
from switchover.engine.runner import Runner, Stop
from switchover.plan.file import load
from switchover.plan.outline import STEPS, StepName
from switchover.plan.spec import known_key
from switchover.readiness.checklist.read import built_in
from switchover.readiness.seeds import named_seeds, seed_markdown, seed_sources, seed_table, seed_text
from switchover.readiness.topology import DEMANDS
from switchover.steps import build
from switchover.steps.context import Context
from switchover.steps.preview import _NoJournal

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plans" / "rfc2136-dump.toml"


def test_no_item_is_left_unanswered() -> None:
    assert [seed.id for seed in seed_table() if not seed.is_answered] == []


def test_what_is_named_by_rules_and_checklist_is_an_item() -> None:
    assert named_seeds() - {seed.id for seed in seed_table()} == set()


def test_every_item_is_there_once_under_its_source() -> None:
    ids = [seed.id for seed in seed_table()]
    assert len(set(ids)) == len(ids) == 123
    assert {id[:3] for id in ids} == set(seed_sources())


@pytest.mark.parametrize("source", [("000", 24), ("001", 14), ("002", 45), ("003", 17), ("004", 23)])
def test_no_item_of_a_source_is_missing(source: tuple[str, int]) -> None:
    assert sum(seed.id.startswith(source[0]) for seed in seed_table()) == source[1]


def test_what_is_required_there_is_not_only_recommended_here() -> None:
    required = {item.id for item in built_in().checklist if item.required}
    for seed in seed_table():
        if seed.ask == "required":
            assert seed.rules or seed.checks or required & set(seed.items), seed.id


def names(args: list[ast.expr]) -> list[str]:
    """The names that a first argument may be: of ``f"{side}-archiving"`` those of both sides."""
    match args:
        case [ast.Constant(value)]:
            return [str(value)]
        case [ast.JoinedStr([ast.FormattedValue(ast.Name("side")), ast.Constant(value)])]:
            return [f"source{value}", f"target{value}"]
    return []


@pytest.fixture(scope="module")
def there() -> dict[str, set[str]]:
    """What there is of each kind, from the code itself."""
    loaded = load(EXAMPLE)
    context = Context(EXAMPLE, loaded.spec, loaded.entries, "a" * 32, "test")
    runner = Runner(loaded.spec, _NoJournal(()), Live(EXAMPLE, "test"), Stop())
    steps = [build(name, context, runner) for name in StepName]
    findings = {
        name
        for path in (ROOT / "switchover" / "postgres").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Finding", "Check")
        for name in names(node.args[:1])
    }
    return {
        "step": {info.name for info in STEPS},
        "gate": {gate.name for step in steps for gate in step.gates},
        "action": {action.id for step in steps for action in step.actions},
        "finding": findings,
        "topology": {demand.id for demand in DEMANDS},
        "command": set(_COMMANDS),
    }


def test_every_check_that_is_named_exists(there: dict[str, set[str]]) -> None:
    for seed in seed_table():
        for check in seed.checks:
            kind, _, name = check.partition(" ")
            if kind == "key":
                assert known_key(name), check
            else:
                assert any(each == name or each.startswith((f"{name} ", f"{name}:")) for each in there[kind]), check


def test_the_readme_has_the_table() -> None:
    whole = seed_markdown() in (ROOT / "README.md").read_text()
    assert whole, "put there what this prints: switchover.readiness.seeds.seed_markdown()"


def test_the_table_for_a_terminal_names_every_item() -> None:
    assert all(f"{seed.id:<7} " in seed_text() for seed in seed_table())
