"""Whether the new host, as the plan declares it, is of the size of production."""

from __future__ import annotations

import tomllib

import pytest

from switchover.plan.spec import Spec
from switchover.readiness.checklist.read import built_in
from switchover.readiness.topology import DEMANDS, shortfalls, single_points
from tests.plan.conftest import PLAN

LARGE = "cpu = 2, memory_gb = 8"
WORKERS = [f'{{ name = "w{n}", role = "worker", {LARGE} }}' for n in (1, 2)]
MANAGER = f'{{ name = "m1", role = "manager", {LARGE}, address = "198.51.100.20", runs = ["traefik"] }}'
MANAGERS = [MANAGER, *(f'{{ name = "m{n}", role = "manager", {LARGE} }}' for n in (2, 3))]
DATABASE = 'cpu = 2, memory_gb = 10, tier = "general-purpose"'


def short(nodes: list[str], database: str = DATABASE) -> dict[str, str]:
    text = f"{PLAN}\n[topology]\nnodes = [{', '.join(nodes)}]\n"
    text += f"database = {{ {database} }}\n" if database else ""
    spec = Spec.model_validate(tomllib.loads(text))
    return {each.demand.id: each.evidence for each in shortfalls(spec)}


def test_what_the_production_tables_ask_for_is_enough() -> None:
    assert short([*MANAGERS, *WORKERS]) == {}


def test_without_a_topology_nothing_is_said() -> None:
    assert shortfalls(Spec.model_validate(tomllib.loads(PLAN))) == ()


def test_the_kernel_may_keep_a_twentieth_of_the_memory() -> None:
    assert short([*MANAGERS, *(each.replace("memory_gb = 8", "memory_gb = 7.6") for each in WORKERS)]) == {}


@pytest.mark.parametrize(
    ("nodes", "database", "id", "says"),
    [
        ([MANAGER], DATABASE, "node-count", "one node"),
        ([MANAGER, WORKERS[0]], DATABASE, "worker-count", "1 worker, two"),
        ([MANAGER, *WORKERS], DATABASE, "manager-quorum", "1 manager: the loss of 1"),
        ([*MANAGERS[:2], *WORKERS], DATABASE, "manager-quorum", "2 managers: the loss of 1"),
        (WORKERS, DATABASE, "manager-quorum", "no node is a manager"),
        ([MANAGER.replace("memory_gb = 8", "memory_gb = 4")], DATABASE, "manager-size", "m1 has 2 CPUs and 4 GB"),
        ([WORKERS[0].replace("cpu = 2", "cpu = 1")], DATABASE, "worker-size", "w1 has 1 CPU and 8 GB"),
        ([MANAGER.replace('"traefik"', '"traefik", "web"')], DATABASE, "manager-free", "m1 runs web"),
        ([MANAGER.replace("198.51.100.20", "198.51.100.9")], DATABASE, "ingress-address", "managers are 198.51.100.9"),
        ([WORKERS[0].replace("cpu", 'address = "198.51.100.20", cpu')], DATABASE, "ingress-address", "w1, a worker"),
        (WORKERS, DATABASE, "ingress-address", "no manager's address"),
        (WORKERS, "", "database-size", "does not say"),
        (WORKERS, "cpu = 1, memory_gb = 10", "database-size", "1 CPU and 10 GB"),
        (WORKERS, 'cpu = 2, memory_gb = 10, tier = "burstable"', "database-size", "its tier is burstable"),
    ],
)
def test_what_is_short_is_named(nodes: list[str], database: str, id: str, says: str) -> None:
    assert says in short(nodes, database)[id]


def test_what_is_alone_of_its_kind_is_named() -> None:
    text = f"{PLAN}\n[topology]\nnodes = [{', '.join([MANAGER, *WORKERS])}]\ndatabase = {{ {DATABASE} }}\n"
    spec = Spec.model_validate(tomllib.loads(text))
    assert single_points(spec) == ("the manager m1", "the address 198.51.100.20", "the database server")
    assert single_points(Spec.model_validate(tomllib.loads(PLAN))) == ()


def test_the_built_in_checklist_has_an_item_for_every_demand() -> None:
    shown = {item.id for item in built_in().checklist if item.shown_by == "topology"}
    assert {demand.id for demand in DEMANDS} == shown


def test_what_blocks_is_required_and_what_warns_is_recommended() -> None:
    required = {item.id: item.required for item in built_in().checklist}
    assert {each.id: each.severity == "block" for each in DEMANDS} == {each.id: required[each.id] for each in DEMANDS}
