"""A dump restored by the other version is the same, and shows nobody a secret."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.children import Children
from switchover.postgres import programs
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.copy import analyze, dump, dump_argv, hold_snapshot, restore, restore_argv
from switchover.postgres.errors import CopyFailed, PostgresError
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy, drop_copy
from switchover.postgres.sessions import end_sessions
from tests.postgres.conftest import APP, PREFIX, Pair, Side, clean, make_pair, silent
from tests.postgres.zoo import ZOO
from tests.servers.postgres import Cluster

CANARY = "c@n/a%r#y sec'ret"


def tools(pair: Pair, jobs: int = 2) -> Tools:
    return Tools(jobs, str(pair.target.cluster.bin), APP, Children())


async def copied(pair: Pair, folder: Path, jobs: int = 2, snapshot: str | None = None) -> Database:
    """The source dumped and restored into a database of its own beside the target."""
    name = f"copy_{pair.tag}"
    await dump(pair.source.db, folder, tools(pair, jobs), snapshot=snapshot, on_progress=silent)
    await drop_copy(pair.target.db, name, pair.plan_id, APP)
    await create_copy(pair.target.db, name, pair.plan_id, APP)
    copy = pair.target.db.named(name)
    await restore(folder, copy, tools(pair, jobs), on_progress=silent)
    return copy


@pytest.fixture(params=["16 to 18", "16 to 16", "18 to 18"])
def versions(request: pytest.FixtureRequest, old_server: Cluster, new_server: Cluster) -> Iterator[Pair]:
    old, new = request.param.split(" to ")
    servers = {"16": old_server, "18": new_server}
    made = make_pair(servers[old], servers[new])
    yield made
    clean(made)


async def test_the_zoo_is_the_same_after_dump_and_restore(versions: Pair, tmp_path: Path) -> None:
    owner, reader = f"own_{versions.tag}", f"read_{versions.tag}"
    for cluster in {
        versions.source.cluster.port: versions.source.cluster,
        versions.target.cluster.port: versions.target.cluster,
    }.values():
        cluster.run(f"CREATE ROLE {owner} LOGIN")
        cluster.run(f"CREATE ROLE {reader} LOGIN")
    versions.source.run(ZOO.format(o=owner, r=reader))
    copy = await copied(versions, tmp_path / "dump")
    await analyze(copy, APP)
    result = await compare(versions.source.db, copy, APP, on_progress=silent)
    assert result.differences == ()
    assert result.verdict is Verdict.SAME
    assert {table.table for table in result.tables} >= {"app.person", "app.measure_2025", "app.nothing"}
    assert result.sequences == 6


async def test_a_dump_is_for_its_owner_only_and_counts_what_it_holds(pair: Pair, tmp_path: Path) -> None:
    pair.source.run(
        "CREATE TABLE a AS SELECT 1; CREATE TABLE b AS SELECT 2; CREATE SCHEMA switchover; CREATE TABLE switchover.x ()"
    )
    folder, said = tmp_path / "dump", []
    folder.mkdir()
    (folder / "half").write_text("of an earlier attempt")
    before = os.umask(0)
    try:
        facts = await dump(
            pair.source.db, folder, tools(pair), snapshot=None, on_progress=lambda *each: said.append(each[1:3])
        )
    finally:
        os.umask(before)
    assert os.umask(before) == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not (folder / "half").exists()
    assert (facts.tables, facts.client) == (2, 18)
    files = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
    assert facts.bytes == sum(path.stat().st_size for path in files)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=folder, check=True)
    with files[0].open("ab") as file:
        file.write(b"x")
    assert subprocess.run(check, cwd=folder, check=False, capture_output=True).returncode == 1
    assert said[-1] == (2, 2)


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_restore_says_how_much_of_how_much_and_which_table(pair: Pair, tmp_path: Path, jobs: int) -> None:
    pair.source.run("CREATE TABLE a AS SELECT 1; CREATE TABLE b AS SELECT 2; CREATE TABLE c AS SELECT 3")
    await copied(pair, tmp_path / "dump", jobs)
    said: list[tuple[float, float]] = []
    words: list[str] = []
    name = f"again_{pair.tag}"

    def says(say: str, done: float, total: float, unit: str) -> None:
        words.append(say)
        said.append((done, total))

    await create_copy(pair.target.db, name, pair.plan_id, APP)
    await restore(
        tmp_path / "dump",
        pair.target.db.named(name),
        tools(pair, jobs),
        on_progress=says,
    )
    assert said == [(1, 3), (2, 3), (3, 3)]
    begun = r"restored 2 tables, (\d+) B of (\d+) B, about .* left; now public\.[abc], \d+ B"
    ended = r"restored 2 tables, (\d+) B of (\d+) B, about .* left; [abc], \d+ B"
    found = re.fullmatch(begun if jobs == 1 else ended, words[1])
    assert found, words
    assert 0 < int(found[1]) < int(found[2])


async def test_a_dump_says_how_much_of_how_much_and_which_table(pair: Pair, tmp_path: Path) -> None:
    pair.source.run("CREATE TABLE a AS SELECT n FROM generate_series(1, 9000) n; CREATE TABLE b AS SELECT 1")
    pair.source.run("ANALYZE a, b")
    said: list[str] = []
    await dump(
        pair.source.db,
        tmp_path / "dump",
        tools(pair, 1),
        snapshot=None,
        on_progress=lambda say, *_: said.append(say),
    )
    assert re.fullmatch(r"dumped 1 table, 0 B of (\d+) kB; now public\.a, (\d+) kB", said[0]), said
    assert re.fullmatch(r"dumped 2 tables, (\d+) kB of (\d+) kB, about .* left; now public\.b, 8\.2 kB", said[1]), said


async def test_a_snapshot_makes_dump_and_comparison_see_one_moment(pair: Pair, tmp_path: Path) -> None:
    pair.source.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    session, name = await hold_snapshot(pair.source.db, APP)
    async with session:
        pair.source.run("INSERT INTO t VALUES (3); DELETE FROM t WHERE id = 1")
        copy = await copied(pair, tmp_path / "dump", snapshot=name)
        then = await compare(pair.source.db, copy, APP, on_progress=silent, source_snapshot=name)
    now = await compare(pair.source.db, copy, APP, on_progress=silent)
    assert then.verdict is Verdict.SAME
    assert now.verdict is Verdict.DIFFERS


async def test_a_database_of_a_hostile_name_is_dumped_and_restored(pair: Pair, tmp_path: Path) -> None:
    name = f"host=nowhere {pair.tag} 'q\\"
    pair.source = Side(pair.source.cluster, name)
    pair.source.run("CREATE TABLE t AS SELECT 1 AS x")
    copy = await copied(pair, tmp_path / "dump")
    assert (await compare(pair.source.db, copy, APP, on_progress=silent)).verdict is Verdict.SAME


async def test_statistics_are_gathered_without_asking_another_server(servers_folder: Path) -> None:
    """Nobody listens where the foreign tables lie."""
    cluster = Cluster(servers_folder / "foreign", 15).start()
    cluster.run(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw "
        "OPTIONS (host '127.0.0.1', port '1'); CREATE USER MAPPING FOR postgres SERVER away;"
        "CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY LIST (i);"
        "CREATE FOREIGN TABLE p22 PARTITION OF p2 FOR VALUES IN (2) SERVER away;"
        "CREATE TABLE q (i int) PARTITION BY LIST (i); CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);"
        "CREATE TABLE a (i int); CREATE TABLE a1 () INHERITS (a); CREATE FOREIGN TABLE a2 () INHERITS (a) SERVER away;"
    )
    await analyze(Database.parse(cluster.conninfo()), APP)
    found = cluster.run("SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL ORDER BY 1")
    cluster.stop()
    assert found == [("a1",), ("p1",), ("q",), ("q1",)]


async def test_a_failed_restore_is_told_in_the_servers_words(pair: Pair, tmp_path: Path) -> None:
    pair.source.role(f"gone_{pair.tag}")
    pair.source.run(f"CREATE TABLE t (); ALTER TABLE t OWNER TO gone_{pair.tag}")
    with pytest.raises(CopyFailed, match=f'pg_restore ended with 1.*role "gone_{pair.tag}" does not exist'):
        await copied(pair, tmp_path / "dump")


async def test_a_role_that_is_read_only_on_the_target_restores_all_the_same(pair: Pair, tmp_path: Path) -> None:
    role = pair.target.role(f"mover_{pair.tag}", "SUPERUSER LOGIN")
    pair.target.cluster.run(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    pair.target.db = Database.parse(pair.target.cluster.conninfo(pair.target.name, role))
    pair.source.run("CREATE TABLE t AS SELECT 1 AS x")
    copy = await copied(pair, tmp_path / "dump")
    assert (await compare(pair.source.db, copy, APP, on_progress=silent)).verdict is Verdict.SAME


async def test_a_program_that_does_not_answer_is_named(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ANSWER_S", 0.2)
    silent_one = tmp_path / "pg_dump"
    silent_one.write_text("#!/bin/sh\nexec sleep 60\n")
    silent_one.chmod(0o700)
    with pytest.raises(CopyFailed, match=r"pg_dump --version gave no answer for 0\.2 s; call it by hand"):
        await dump(
            pair.source.db,
            tmp_path / "dump",
            Tools(1, str(tmp_path), APP, Children()),
            snapshot=None,
            on_progress=silent,
        )


async def test_tools_older_than_the_server_are_refused(pair: Pair, tmp_path: Path) -> None:
    old = Tools(1, str(pair.source.cluster.bin), APP, Children())
    with pytest.raises(CopyFailed, match=r"pg_dump 16\.\d+ cannot dump a server 18"):
        await dump(pair.target.db, tmp_path / "dump", old, snapshot=None, on_progress=silent)


async def test_an_orphaned_restore_is_ended_on_the_server(pair: Pair, tmp_path: Path) -> None:
    """Its statement sleeps in the server, so that only the end of its session can end it."""
    pair.source.run(
        "CREATE FUNCTION slow(i int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN IF current_database() LIKE 'copy%' THEN PERFORM pg_sleep(600); END IF; RETURN true; END $$; "
        "CREATE TABLE t (i int); INSERT INTO t VALUES (1); CREATE INDEX ON t (slow(i))"
    )
    earlier = Tools(2, str(pair.target.cluster.bin), f"{PREFIX}killed", Children())
    await dump(pair.source.db, tmp_path / "dump", earlier, snapshot=None, on_progress=silent)
    name = f"copy_{pair.tag}"
    await create_copy(pair.target.db, name, pair.plan_id, APP)
    orphan = asyncio.create_task(restore(tmp_path / "dump", pair.target.db.named(name), earlier, on_progress=silent))
    asleep = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'"
    while pair.target.cluster.run(asleep) == [(0,)]:
        assert not orphan.done()
        await asyncio.sleep(0.02)
    assert await end_sessions(pair.target.db, PREFIX, APP, 10) == (f"{PREFIX}killed",)
    assert pair.target.cluster.run(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'") == [(0,)]
    with pytest.raises(CopyFailed):
        await orphan


async def test_a_password_is_in_no_argument_and_no_message(pair: Pair, tmp_path: Path) -> None:
    for cluster in (pair.source.cluster, pair.target.cluster):
        if not cluster.run("SELECT 1 FROM pg_roles WHERE rolname = 'canary'"):
            cluster.run("CREATE ROLE canary SUPERUSER LOGIN")
        cluster.run("ALTER ROLE canary PASSWORD '{}'".format(CANARY.replace("'", "''")))
    password = CANARY.replace("\\", "\\\\").replace("'", "\\'")
    source, target = (
        Database.parse(f"{side.cluster.conninfo(side.name, 'canary')} password='{password}'")
        for side in (pair.source, pair.target)
    )
    pair.source.run("CREATE TABLE t AS SELECT g FROM generate_series(1, 50000) g")
    pair.source.db, pair.target.db = source, target
    seen: set[bytes] = set()
    copying = asyncio.create_task(copied(pair, tmp_path / "dump"))
    while not copying.done():
        seen |= {line for line in _arguments() if b"pg_" in line}
        await asyncio.sleep(0.005)
    copy = await copying
    messages = [repr(source), source.where, repr(await compare(source, copy, APP, on_progress=silent))]
    for wrong in (source.named("absent"), Database((*source.params, ("password", CANARY + "x")))):
        with pytest.raises(PostgresError) as told:
            await dump(wrong, tmp_path / "wrong", tools(pair), snapshot=None, on_progress=silent)
        messages.append(f"{told.value!r} {told.value.__cause__!r} {told.value.__context__!r}")
    assert any(b"pg_dump" in line for line in seen)
    assert any(b"pg_restore" in line for line in seen)
    for part in (CANARY, "n/a%r", "r#y", "sec'ret"):
        assert part.encode() not in b"".join(seen)
        assert part not in " ".join(messages)


def _arguments() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes()
        except OSError:
            continue


def test_the_commands_are_data() -> None:
    assert dump_argv("dump", jobs=4, bin="/opt/bin", snapshot="0-1") == (
        "/opt/bin/pg_dump",
        "--format=directory",
        "--jobs=4",
        "--verbose",
        "--lock-wait-timeout=60s",
        "--exclude-schema=switchover",
        "--snapshot=0-1",
        "--file=dump",
    )
    assert restore_argv("dump", "shop", jobs=2, bin=None, listed="dump.list") == (
        "pg_restore",
        "--format=directory",
        "--jobs=2",
        "--exit-on-error",
        "--no-subscriptions",
        "--verbose",
        "--use-list=dump.list",
        "--dbname=dbname=shop",
        "dump",
    )
