"""What a dump and a restore word otherwise than it was first written is no difference."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from tests.postgres.conftest import APP, silent
from tests.postgres.zoo import UNMARK
from tests.servers.postgres import Cluster

CASES = {
    "lists of varchar": "CREATE TABLE t (a varchar(9) CHECK (a IN ('x', 'y')), b varchar CHECK (b NOT IN ('q')));"
    "CREATE INDEX i ON t (a) WHERE a IN ('x', 'z'); CREATE DOMAIN d AS varchar CHECK (VALUE IN ('k', 'l'));"
    "CREATE VIEW v AS SELECT a FROM t WHERE a IN ('m', 'n')",
    "defaults of domains": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    "CREATE DOMAIN d AS int DEFAULT f(); CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN de AS e DEFAULT 'a'",
    "options in another order": "CREATE TABLE t (a int); CREATE VIEW v WITH (security_barrier) AS SELECT a FROM t "
    "WHERE a > 0; ALTER VIEW v SET (check_option = local)",
    "a range's collation": 'CREATE COLLATION own FROM "C"; CREATE TYPE r AS RANGE (subtype = text, collation = own)',
    "a range's functions": "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
    "CREATE TYPE r AS RANGE (subtype = int)",
}


@pytest.fixture(scope="module")
def oldest(servers_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers_folder / "trips", 15).start()
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("major", [15, 18])
async def test_it_is_the_same_after_a_restore(oldest: Cluster, new_server: Cluster, major: int, case: str) -> None:
    source = oldest if major == 15 else new_server
    name = f"trip_{list(CASES).index(case)}"
    source.run(f"CREATE DATABASE {name}")
    new_server.run(f"CREATE DATABASE {name}_{major} TEMPLATE template0")
    source.run(CASES[case], name)
    if major == 15:
        source.run(UNMARK, name)
    archive = source.folder / f"{name}.dump"
    tools = new_server.bin
    subprocess.run([tools / "pg_dump", "-Fc", "-f", archive, "-d", source.conninfo(name)], check=True)
    target = new_server.conninfo(f"{name}_{major}")
    subprocess.run([tools / "pg_restore", "--exit-on-error", "-d", target, archive], check=True)
    found = await compare(Database.parse(source.conninfo(name)), Database.parse(target), APP, on_progress=silent)
    assert (found.verdict, found.differences) == (Verdict.SAME, ())
    new_server.run(f"DROP DATABASE {name}_{major}")
    source.run(f"DROP DATABASE {name}")
