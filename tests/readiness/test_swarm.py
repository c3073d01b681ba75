"""What a swarm says of its nodes, asked through Docker's own client, against what the plan declares."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from switchover.engine.step import Verdict
from switchover.plan.file import load
from switchover.plan.production import TopologySpec
from switchover.plan.spec import Spec
from switchover.readiness.swarm import Differences, SwarmUnreachable, differences, read_swarm
from switchover.steps.checklist import topology_gates
from switchover.steps.context import Context
from tests.plan.conftest import PLAN
from tests.servers.docker import Engine, serve, serve_tls

NODES = """
[topology]
nodes = [
  { name = "m1", role = "manager", cpu = 2, memory_gb = 8, address = "198.51.100.20" },
  { name = "w1", role = "worker", cpu = 2, memory_gb = 8 },
  { name = "w2", role = "worker", cpu = 2, memory_gb = 8 },
]
"""


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    made.node("m1", "manager")
    made.node("w1", "worker", labels={"database": "true"})
    made.node("w2", "worker")
    made.service("shop_traefik", "m1", constraints=("node.role == manager",))
    made.service("shop_web", "w1", "w2", constraints=("node.role != manager",))
    made.service("shop_db", "w1", constraints=("node.labels.database == true",))
    return made


def topology() -> TopologySpec:
    found = Spec.model_validate(tomllib.loads(PLAN + NODES)).topology
    assert found is not None
    return found


def compared(engine: Engine, folder: Path) -> Differences:
    with serve(engine, folder / "docker.sock") as url:
        return differences(topology(), asyncio.run(read_swarm(url)))


def test_a_swarm_as_declared_has_no_differences_and_is_only_read(engine: Engine, tmp_path: Path) -> None:
    assert compared(engine, tmp_path) == Differences((), ())
    assert engine.asked
    assert all(each.startswith("GET ") for each in engine.asked)


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"cpu": 1}, "w2 has 1 CPUs, declared as 2"),
        ({"gb": 4.1}, "w2 has 4.1 GB, declared as 8"),
        ({"state": "down"}, "w2 is not ready"),
        ({"availability": "drain"}, "w2 takes no tasks: its availability is drain"),
    ],
)
def test_a_node_that_is_less_than_declared_is_named(
    engine: Engine, tmp_path: Path, node: dict[str, object], says: str
) -> None:
    engine.nodes.pop()
    engine.node("w2", "worker", **node)  # type: ignore[arg-type]
    assert compared(engine, tmp_path).blocks == (says,)


def test_a_node_that_is_missing_or_has_another_role_is_named(engine: Engine, tmp_path: Path) -> None:
    engine.nodes[1]["Spec"]["Role"] = "manager"
    engine.nodes.pop()
    engine.node("w3", "worker")
    found = compared(engine, tmp_path)
    assert found.blocks == ("w1 is a manager, declared as worker", "w2 is no node of the swarm")
    assert found.warns[0] == "w3 is a node that the plan does not name"


def test_work_on_a_manager_is_named_and_the_balancer_is_not(engine: Engine, tmp_path: Path) -> None:
    engine.service("shop_jobs", "m1")
    assert compared(engine, tmp_path).warns == ("m1 is a manager and runs shop_jobs",)


@pytest.mark.parametrize("why", ["label", "drained"])
def test_a_service_that_no_node_can_take_is_named(engine: Engine, tmp_path: Path, why: str) -> None:
    if why == "label":
        engine.nodes[1]["Spec"]["Labels"] = None
    else:
        engine.nodes[1]["Spec"]["Availability"] = "pause"
    says = "no node that takes tasks meets what shop_db asks for: node.labels.database == true"
    assert says in compared(engine, tmp_path).blocks


def test_constraints_have_to_be_met_by_one_node_together(engine: Engine, tmp_path: Path) -> None:
    engine.service("both", constraints=("node.labels.database == true", "node.hostname == w2", "engine.labels.x == 1"))
    assert any("both asks for" in each for each in compared(engine, tmp_path).blocks)


@pytest.mark.parametrize("status", [503, 500])
def test_an_endpoint_that_is_no_manager_is_unknown(engine: Engine, tmp_path: Path, status: int) -> None:
    engine.status = status
    with pytest.raises(SwarmUnreachable, match="not a swarm manager"):
        compared(engine, tmp_path)


def test_no_endpoint_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(SwarmUnreachable):
        asyncio.run(read_swarm(f"unix://{tmp_path}/none.sock"))


def gate(plan: Path, url: str, more: str = "") -> Verdict:
    plan.write_text(PLAN + NODES + f'docker = "{url}"\n{more}\n')
    loaded = load(plan)
    context = Context(plan, loaded.spec, loaded.entries, "a" * 32, "test")
    return asyncio.run(topology_gates(context)[1].look())


def test_the_gate_says_what_docker_says(engine: Engine, tmp_path: Path) -> None:
    with serve(engine, tmp_path / "d.sock") as url:
        assert gate(tmp_path / "shop.toml", url) == Verdict(True, "3 nodes, as Docker says")
        engine.nodes.pop()
        found = gate(tmp_path / "shop.toml", url)
    assert (found.ok, found.evidence) == (False, "w2 is no node of the swarm")
    assert gate(tmp_path / "shop.toml", f"unix://{tmp_path}/none.sock").ok is None


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def certificates(folder: Path, authority: trustme.CA, client: trustme.CA | None = None) -> Path:
    """The folder that Docker's own client wants; the certificate in it may be of another authority."""
    folder.mkdir()
    issued = (client or authority).issue_cert("operator@ops-1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder


def test_over_tls_a_swarm_is_asked_by_who_has_a_certificate(
    engine: Engine, tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates(tmp_path / "certs", authority)
    trustme.CA().cert_pem.write_to_path(tmp_path / "bundle.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    with serve_tls(engine, authority) as port:
        more = 'docker_certificates = "certs"'
        assert gate(tmp_path / "shop.toml", f"tcp://localhost:{port}", more).ok is True
    assert any("/nodes" in each for each in engine.asked)


@pytest.mark.parametrize("why", ["another authority", "another name", "unknown client", "no key", "key for all"])
def test_over_tls_nobody_is_asked_who_is_not_proved_to_be_the_manager(
    engine: Engine, tmp_path: Path, authority: trustme.CA, why: str
) -> None:
    other = trustme.CA()
    folder = certificates(tmp_path / "certs", authority, other if why == "unknown client" else None)
    if why == "another authority":
        other.cert_pem.write_to_path(folder / "ca.pem")
    if why == "no key":
        (folder / "key.pem").unlink()
    if why == "key for all":
        (folder / "key.pem").chmod(0o644)
    host = "127.0.0.1" if why == "another name" else "localhost"
    says = {"no key": "certs lacks key.pem", "key for all": "chmod 600"}.get(why, "tcp://")
    with serve_tls(engine, authority) as port, pytest.raises(SwarmUnreachable, match=says):
        asyncio.run(read_swarm(f"tcp://{host}:{port}", folder))
    assert engine.asked == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('docker = "tcp://10.0.0.1:2375"', "docker over tcp:// needs docker_certificates, the folder with ca.pem"),
        ('docker = "ssh://m1"\ndocker_certificates = "c"', "docker_certificates are for docker over tcp:// alone"),
    ],
)
def test_an_endpoint_over_tcp_is_refused_without_certificates(line: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Spec.model_validate(tomllib.loads(f"{PLAN}{NODES}{line}\n"))


@pytest.mark.parametrize("url", ["tcp://10.0.0.1", "ssh://deploy:secret@m1", "unix://", "http://x", "m1"])
def test_an_endpoint_that_is_not_guarded_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="docker"):
        Spec.model_validate(tomllib.loads(PLAN + NODES + f'docker = "{url}"\n'))
