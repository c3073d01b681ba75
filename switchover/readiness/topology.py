"""Whether the new host, as the plan declares it, is what production asks for: nodes, their sizes, the database.

What is declared is not proved: a finding says what the plan says. Sizes are those of the production tables of
"Go to Production": Large is 2 CPUs and 8 GB, the smallest database 2 CPUs and 10 GB; a twentieth less is let through,
for the kernel keeps some memory to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from switchover.plan.production import NodeSpec, TopologySpec
    from switchover.plan.spec import Spec

NODE_CPU, NODE_GB = 2.0, 8.0
DATABASE_CPU, DATABASE_GB = 2.0, 10.0
TIER = "general purpose"
LEEWAY = 0.95


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that is asked of the new host; the built-in checklist has an item of the same id."""

    id: str
    severity: Literal["block", "warn"]
    mend: str
    look: Callable[[Spec, TopologySpec], str]
    """What is short of it, in words; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A demand that is not met."""

    demand: Demand
    evidence: str


def shortfalls(spec: Spec) -> tuple[Shortfall, ...]:
    """Every demand that the plan's topology does not meet; none without one."""
    if spec.topology is None:
        return ()
    looked = ((demand, demand.look(spec, spec.topology)) for demand in DEMANDS)
    return tuple(Shortfall(demand, says) for demand, says in looked if says)


def single_points(spec: Spec) -> tuple[str, ...]:
    """What of the new host is alone of its kind, as the plan declares it; whether that is accepted, a person says."""
    if spec.topology is None:
        return ()
    managers, workers = _nodes(spec.topology, "manager"), _nodes(spec.topology, "worker")
    alone = [
        f"the {node.role} {plain(node.name, 60)}" for nodes in (managers, workers) if len(nodes) == 1 for node in nodes
    ]
    return (*alone, f"the address {spec.dns.to}", *(["the database server"] if spec.topology.database else []))


def _nodes(topology: TopologySpec, role: str) -> list[NodeSpec]:
    return [node for node in topology.nodes if node.role == role]


def _node_count(spec: Spec, topology: TopologySpec) -> str:
    return "" if len(topology.nodes) > 1 else "one node carries everything"


def _worker_count(spec: Spec, topology: TopologySpec) -> str:
    workers = len(_nodes(topology, "worker"))
    return "" if workers >= 2 else f"{count(workers, 'worker')}, two are asked for"


def _quorum(spec: Spec, topology: TopologySpec) -> str:
    managers = len(_nodes(topology, "manager"))
    if managers >= 3 and managers % 2:
        return ""
    if managers == 0:
        return "no node is a manager"
    lost = (managers - 1) // 2
    return f"{count(managers, 'manager')}: the loss of {lost + 1} stops the cluster's control"


def _manager_size(spec: Spec, topology: TopologySpec) -> str:
    return _small(_nodes(topology, "manager"))


def _worker_size(spec: Spec, topology: TopologySpec) -> str:
    return _small(_nodes(topology, "worker"))


def _small(nodes: Sequence[NodeSpec]) -> str:
    small = [
        f"{plain(node.name, 60)} has {_size(node.cpu, node.memory_gb)}"
        for node in nodes
        if node.cpu < NODE_CPU or node.memory_gb < NODE_GB * LEEWAY
    ]
    return _listed(small, f"{_size(NODE_CPU, NODE_GB)} are asked for")


def _manager_free(spec: Spec, topology: TopologySpec) -> str:
    busy = [
        f"{plain(node.name, 60)} runs {', '.join(plain(name, 60) for name in others)}"
        for node in _nodes(topology, "manager")
        if (others := [name for name in node.runs if name not in topology.on_managers])
    ]
    return "; ".join(busy)


def _ingress(spec: Spec, topology: TopologySpec) -> str:
    known = [node.address for node in _nodes(topology, "manager") if node.address is not None]
    if spec.dns.to in known:
        return ""
    other = next((node for node in topology.nodes if node.address == spec.dns.to), None)
    if other is not None:
        return f"dns.to is {spec.dns.to}, which is {plain(other.name, 60)}, a {other.role}"
    if known:
        return f"dns.to is {spec.dns.to}; the managers are {', '.join(known)}"
    return f"dns.to is {spec.dns.to}; the plan gives no manager's address"


def _database(spec: Spec, topology: TopologySpec) -> str:
    database = topology.database
    if database is None:
        return "the plan does not say what the database server is: [topology.database]"
    says = []
    if database.cpu < DATABASE_CPU or database.memory_gb < DATABASE_GB * LEEWAY:
        says.append(f"it has {_size(database.cpu, database.memory_gb)}")
    if database.tier is not None and database.tier.lower().replace("-", " ") != TIER:
        says.append(f"its tier is {plain(database.tier, 60)}")
    return _listed(says, f"{TIER}, {_size(DATABASE_CPU, DATABASE_GB)} are asked for")


def _size(cpu: float, memory_gb: float) -> str:
    return f"{cpu:g} CPU{'' if cpu == 1 else 's'} and {memory_gb:g} GB"


def _listed(says: Iterable[str], asked: str) -> str:
    joined = ", ".join(says)
    return f"{joined}; {asked}" if joined else ""


DEMANDS = (
    Demand("node-count", "block", "add a node", _node_count),
    Demand("worker-count", "block", "add workers", _worker_count),
    Demand("manager-quorum", "warn", "run three managers, or accept the one by name", _quorum),
    Demand("manager-size", "warn", "resize the managers to Large or X-Large", _manager_size),
    Demand("worker-size", "warn", "resize the workers, or add larger ones", _worker_size),
    Demand("manager-free", "warn", "deploy.placement.constraints: [node.role != manager]", _manager_free),
    Demand("ingress-address", "block", "set dns.to to the manager's address, or correct the topology", _ingress),
    Demand("database-size", "warn", "choose 2 CPUs and 10 GB, or 4 and 20, of the general-purpose tier", _database),
)
