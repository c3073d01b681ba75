"""PostgreSQL 16 as the old server and 18 as the new one, and fresh databases on them for each test."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchover.postgres.connect import Database
from tests.servers.postgres import Cluster
from tests.servers.wait import until

APP = "switchover/test/run"
PREFIX = "switchover/test/"


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="switchover-pg-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def oldest_server(servers_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers_folder / "oldest", 15).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def old_server(servers_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers_folder / "old", 16).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def new_server(servers_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers_folder / "new", 18).start()
    yield cluster
    cluster.stop()


@dataclass(slots=True)
class Side:
    """One fresh database on one server."""

    cluster: Cluster
    name: str
    db: Database = field(init=False)

    def __post_init__(self) -> None:
        self.cluster.run(f'CREATE DATABASE "{self.name}"')
        self.db = Database.parse(self.cluster.conninfo(self.name))

    def run(self, statement: str, user: str = "postgres") -> list[tuple[object, ...]]:
        return self.cluster.run(statement, self.name, user)

    def role(self, name: str, attributes: str = "LOGIN") -> str:
        """A role of that name, made anew."""
        self.cluster.run(f'CREATE ROLE "{name}" {attributes}')
        return name


@dataclass(slots=True)
class Pair:
    """A database on the old server and one on the new."""

    source: Side
    target: Side
    tag: str

    @property
    def plan_id(self) -> str:
        return f"{self.tag}00000000"

    def both(self, statement: str) -> None:
        self.source.run(statement)
        self.target.run(statement)


def make_pair(old: Cluster, new: Cluster) -> Pair:
    tag = uuid.uuid4().hex[:10]
    return Pair(Side(old, f"old_{tag}"), Side(new, f"new_{tag}"), tag)


@pytest.fixture
def pair(old_server: Cluster, new_server: Cluster) -> Iterator[Pair]:
    """The default direction: 16 to 18."""
    made = make_pair(old_server, new_server)
    yield made
    clean(made)


def clean(pair: Pair) -> None:
    """Drop every database and role that carries the pair's tag."""
    for cluster in (pair.source.cluster, pair.target.cluster):
        for (name,) in cluster.run(f"SELECT datname FROM pg_database WHERE datname LIKE '%{pair.tag}%'"):
            cluster.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        for (name,) in cluster.run(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '%{pair.tag}%'"):
            cluster.run(f'DROP ROLE IF EXISTS "{name}"')


@contextmanager
def without_autovacuum(cluster: Cluster) -> Iterator[None]:
    """Nobody but the test uses up transaction ids."""
    cluster.run("ALTER SYSTEM SET autovacuum = off")
    cluster.run("SELECT pg_reload_conf()")
    workers = "SELECT 1 FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'"
    until(lambda: not cluster.run(workers), "autovacuum has stopped")
    yield
    cluster.run("ALTER SYSTEM RESET autovacuum")
    cluster.run("SELECT pg_reload_conf()")


def silent(say: str, done: float, total: float, unit: str = "") -> None:
    """A progress callback that keeps quiet."""
