"""Both ways of copying, with everything a database may hold: the comparison says the same, and so does an oracle."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from switchover.children import Children
from switchover.postgres.compare import Comparison, Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.copy import dump, restore
from switchover.postgres.errors import CopyFailed
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy
from switchover.postgres.stream import shape, stream
from tests.postgres import oracle
from tests.postgres.conftest import APP, silent
from tests.postgres.zoo import FOREIGN, UNMARK, everything
from tests.servers.postgres import ADMIN, Cluster

JOURNEYS = [
    *((majors, "dump") for majors in [(15, 16), (15, 18), (16, 18), (15, 15), (16, 16), (18, 18)]),
    *((majors, "stream") for majors in [(15, 16), (16, 18), (16, 16)]),
    *((majors, "stream each alone") for majors in [(15, 15), (15, 18), (18, 18)]),
]
"""A table that goes alone goes by COPY, in binary form where that may be, and in parts; together they go by pg_dump."""
WAYS = ["dump", "stream each alone"]
HEAVY = 300 * 1024 * 1024

REPLICA = """
CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'x'); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL);
CREATE SEQUENCE s; SELECT setval('s', 7); COMMENT ON TABLE t IS 'a table'; CREATE VIEW w AS SELECT v FROM t;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE INDEX i ON t (v);
CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); SELECT lo_from_bytea(7, 'object')
"""
PLANTED = {
    "a value": ("UPDATE t SET v = 'c' WHERE id = 2", "+2\tc"),
    "a row": ("DELETE FROM t WHERE id = 3", "-3\t\\N"),
    "a default": ("ALTER TABLE t ALTER v SET DEFAULT 'y'", "DEFAULT 'y'"),
    "a grant": ("GRANT SELECT (v) ON t TO pg_monitor", "+GRANT SELECT(v)"),
    "an owner": ("ALTER SEQUENCE s OWNER TO pg_monitor", "pg_monitor"),
    "a sequence's value": ("SELECT setval('s', 8)", "8, true"),
    "a sequence not called": ("SELECT setval('s', 7, false)", "7, false"),
    "a comment": ("COMMENT ON TABLE t IS 'another'", "another"),
    "a trigger's mode": ("ALTER TABLE t ENABLE ALWAYS TRIGGER g", "+ALTER TABLE public.t ENABLE ALWAYS TRIGGER g"),
    "a large object's bytes": ("SELECT lo_put(7, 0, 'O')", "+SELECT pg_catalog.lowrite(0, '\\x4f"),
    "a large object's comment": ("COMMENT ON LARGE OBJECT 7 IS 'x'", "COMMENT ON LARGE OBJECT 7"),
    "a missing index": ("DROP INDEX i", "-CREATE INDEX i"),
    "a view": ("CREATE OR REPLACE VIEW w AS SELECT lower(v) AS v FROM t", "lower"),
}


@dataclass(slots=True)
class Park:
    """Servers of every version, and the zoos on them: each made once, whoever comes to copy it."""

    servers: dict[int, Cluster]
    tag: str = field(default_factory=lambda: f"ways_{uuid.uuid4().hex[:8]}")
    made: dict[tuple[object, ...], str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return f"own_{self.tag}"

    @property
    def reader(self) -> str:
        return f"read_{self.tag}"

    def way_in(self, major: int, name: str, user: str, *, tls: bool) -> str:
        server = self.servers[major]
        return server.conninfo(name, user) if tls or server.authority is None else server.socket(name, user)

    def create(self, major: int, scripts: list[str], user: str = ADMIN) -> str:
        """A database made by scripts, or the one that was made by the same."""
        key = (major, user, *scripts)
        if key not in self.made:
            name = self.made[key] = f"{self.tag}_{len(self.made)}"
            self.servers[major].run(f"CREATE DATABASE {name} OWNER {user}")
            for script in scripts:
                self.servers[major].run(script, name, user)
        return self.made[key]

    def clean(self) -> None:
        for server in self.servers.values():
            for (name,) in server.run(f"SELECT datname FROM pg_database WHERE starts_with(datname, '{self.tag}')"):
                server.run(f"DROP DATABASE {name} WITH (FORCE)")
            server.run(f"DROP ROLE {self.owner}, {self.reader}")


@dataclass(slots=True)
class Copy:
    """A database of one server, and a copy of it on one of the same version or a newer one."""

    park: Park
    majors: tuple[int, int]
    source: str
    target: str
    bin: Path

    @property
    def tools(self) -> Tools:
        return Tools(2, str(self.bin), APP, Children())

    async def fill(self, way: str, folder: Path) -> None:
        source, target = Database.parse(self.source), Database.parse(self.target)
        if way == "dump":
            await dump(source, folder, self.tools, snapshot=None, on_progress=silent)
            await restore(folder, target, self.tools, on_progress=silent)
        else:
            await stream(source, target, folder, self.tools, snapshot=None, stamp="s", on_progress=silent)

    async def compared(self) -> Comparison:
        source, target = Database.parse(self.source), Database.parse(self.target)
        return await compare(source, target, APP, on_progress=silent, not_data=FOREIGN)

    async def is_the_same(self) -> None:
        found = await self.compared()
        assert "\n".join(found.differences) == ""
        assert found.verdict is Verdict.SAME
        assert oracle.difference(self.bin / "pg_dump", self.source, self.target) == ""


@pytest.fixture(scope="module")
def park(servers_folder: Path, old_server: Cluster, new_server: Cluster) -> Iterator[Park]:
    oldest = Cluster(servers_folder / "by_tls", 15, authority=trustme.CA()).start()
    made = Park({15: oldest, 16: old_server, 18: new_server})
    for server in made.servers.values():
        server.run(f"CREATE ROLE {made.owner} LOGIN CREATEDB")
        server.run(f"CREATE ROLE {made.reader} LOGIN")
    yield made
    made.clean()
    oldest.stop()


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stream each alone":
        monkeypatch.setattr(shape, "ALONE_FROM", 1)
        monkeypatch.setattr(shape, "TAIL_UP_TO", 1)
    return str(request.param)


async def copy_of(park: Park, name: str, majors: tuple[int, int], user: str = ADMIN) -> Copy:
    """An empty database for the copy, made as the product makes it. 15 to itself speaks TLS and trusts one name."""
    source, target = majors
    tls = majors == (15, 15)
    base = Database.parse(park.way_in(target, park.create(target, [""], user), user, tls=tls))
    copy = f"{park.tag}_{uuid.uuid4().hex[:8]}"
    await create_copy(base, copy, park.tag, APP)
    ways = (park.way_in(major, each, user, tls=tls) for major, each in ((source, name), (target, copy)))
    return Copy(park, majors, *ways, park.servers[max(majors)].bin)


def zoo(park: Park, majors: tuple[int, int], user: str = ADMIN) -> str:
    source, target = majors
    name = park.create(
        source, everything(park.owner, park.reader, source=source, target=target, superuser=user == ADMIN), user
    )
    if source == 15 < target:
        park.servers[15].run(UNMARK, name)
    return name


@pytest.mark.parametrize(
    ("majors", "way"), JOURNEYS, indirect=["way"], ids=[f"{a} to {b} by {way}" for (a, b), way in JOURNEYS]
)
async def test_every_animal_arrives(park: Park, majors: tuple[int, int], way: str, tmp_path: Path) -> None:
    copy = await copy_of(park, zoo(park, majors), majors)
    await copy.fill(way, tmp_path / "copy")
    await copy.is_the_same()


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_an_owner_without_more_rights_copies_what_is_its_own(park: Park, way: str, tmp_path: Path) -> None:
    copy = await copy_of(park, zoo(park, (15, 18), park.owner), (15, 18), park.owner)
    await copy.fill(way, tmp_path / "copy")
    await copy.is_the_same()


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_a_value_of_300_mb_arrives(park: Park, way: str, tmp_path: Path) -> None:
    """As text it is 600 MB of the 1 GB that a message may have."""
    value = f"convert_to(repeat('0123456789abcdef', {HEAVY // 16}), 'UTF8')"
    name = park.create(18, [f"CREATE TABLE heavy (id int PRIMARY KEY, v bytea); INSERT INTO heavy VALUES (1, {value})"])
    copy = await copy_of(park, name, (18, 18))
    await copy.fill(way, tmp_path / "copy")
    found = await copy.compared()
    assert (found.verdict, found.differences) == (Verdict.SAME, ())
    target = str(dict(Database.parse(copy.target).params)["dbname"])
    query = "SELECT octet_length(v), encode(sha256(v), 'hex') FROM heavy"
    assert park.servers[18].run(query, name) == park.servers[18].run(query, target)
    assert park.servers[18].run(f"SELECT octet_length(v) = {HEAVY} FROM heavy", target) == [(True,)]


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_a_child_whose_columns_a_dump_puts_in_another_order_is_told(park: Park, way: str, tmp_path: Path) -> None:
    """pg_dump makes the columns that a child shares with its parent first, in the parent's order."""
    script = "CREATE TABLE p (a int); CREATE TABLE c (own int) INHERITS (p); ALTER TABLE p ADD late text"
    copy = await copy_of(park, park.create(18, [script]), (18, 18))
    await copy.fill(way, tmp_path / "copy")
    found = await copy.compared()
    assert [each.split(" is ")[0] for each in found.differences] == ["column public.c.late", "column public.c.own"]


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_rows_that_a_policy_hides_from_their_owner_stop_the_copy(park: Park, way: str, tmp_path: Path) -> None:
    script = "CREATE TABLE t AS SELECT 1 AS id; ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    copy = await copy_of(park, park.create(18, [script], park.owner), (18, 18), park.owner)
    with pytest.raises(CopyFailed, match="row-level security"):
        await copy.fill(way, tmp_path / "copy")


@pytest.mark.parametrize("planted", PLANTED)
def test_the_oracle_sees_what_was_planted(park: Park, planted: str) -> None:
    server = park.servers[18]
    name, other = park.create(18, [REPLICA]), f"{park.tag}_{uuid.uuid4().hex[:8]}"
    server.run(f"CREATE DATABASE {other} TEMPLATE {name}")
    source, target = server.conninfo(name), server.conninfo(other)
    server.run("UPDATE t SET v = v; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'a')", other)
    assert oracle.difference(server.bin / "pg_dump", source, target) == ""
    statement, seen = PLANTED[planted]
    server.run(statement, other)
    assert seen in oracle.difference(server.bin / "pg_dump", source, target)
