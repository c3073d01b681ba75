"""What breaks a copy, by either way: the reason is named, and once it is gone the next attempt is the same as ever."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from switchover.children import Children
from switchover.postgres import copy as dumping
from switchover.postgres import stream as streaming
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.copy import dump, hold_snapshot, restore
from switchover.postgres.errors import CopyFailed, PostgresError
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy, drop_copy
from switchover.postgres.stream import programs, stream
from tests.postgres.conftest import APP, PREFIX, Pair, Side, clean, make_pair, silent
from tests.postgres.disks import moved_to, small_disk
from tests.servers.postgres import Cluster

WAYS = ("dump", "stream")
SHOP = """
SET test.nap = '0';
CREATE FUNCTION slowly(i int) RETURNS boolean LANGUAGE sql AS
  $$SELECT pg_sleep(coalesce(current_setting('test.nap', true), '0.02')::float8) IS NOT NULL$$;
CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 1000) n;
CREATE TABLE slow (id int PRIMARY KEY CHECK (slowly(id)));
INSERT INTO slow SELECT n FROM generate_series(1, 100) n;
"""
"""Where no nap is set, as on the target, the rows of one table come slowly."""

FULL = "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 60000) n"


async def copied(
    way: str, pair: Pair, folder: Path, snapshot: str | None = None, say: Callable[[str], object] = str
) -> Database:
    """The source copied anew into a database of its own on the target."""

    def says(text: str, *_: object) -> None:
        say(text)

    name = f"copy_{pair.tag}"
    tools = Tools(2, str(pair.target.cluster.bin), APP, Children())
    await drop_copy(pair.target.db, name, pair.plan_id, APP)
    await create_copy(pair.target.db, name, pair.plan_id, APP)
    copy = pair.target.db.named(name)
    if way == "dump":
        await dump(pair.source.db, folder, tools, snapshot=snapshot, on_progress=says)
        await restore(folder, copy, tools, on_progress=says)
    else:
        await stream(pair.source.db, copy, folder, tools, snapshot=snapshot, stamp="s", on_progress=says)
    return copy


async def broken(way: str, pair: Pair, folder: Path, breaks: Callable[[], object], *, when: str, on: Cluster) -> str:
    """Copy, break something as soon as ``when`` has a row on the server, and give the reason that is named."""
    copying = asyncio.ensure_future(copied(way, pair, folder))
    while not await asyncio.to_thread(on.run, when):
        assert not copying.done(), copying.exception()
        await asyncio.sleep(0.02)
    await asyncio.to_thread(breaks)
    with pytest.raises(PostgresError) as failed:
        await copying
    return str(failed.value)


async def is_the_same(way: str, pair: Pair, folder: Path) -> None:
    copy = await copied(way, pair, folder)
    found = await compare(pair.source.db, copy, APP, on_progress=silent)
    assert "\n".join(found.differences) == ""
    assert found.verdict is Verdict.SAME


WAITS = f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE '{PREFIX}%'"
SLEEPS = f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE '{PREFIX}%'"
CUT = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '{PREFIX}%'"


@pytest.fixture
def shop(pair: Pair) -> Pair:
    pair.source.run(SHOP)
    return pair


@pytest.fixture
def own(servers_folder: Path) -> Iterator[Pair]:
    """A pair of servers of its own, to be killed and filled up."""
    name = uuid.uuid4().hex[:8]
    old = Cluster(servers_folder / f"old-{name}", 16).start()
    new = Cluster(servers_folder / f"new-{name}", 18).start()
    made = make_pair(old, new)
    made.source.run(SHOP)
    yield made
    clean(made)
    old.stop()
    new.stop()


@contextmanager
def locked(side: Side) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A table that nobody can read meanwhile, so that a copy stands still at it."""
    with side.cluster.connect(side.name) as session:
        session.execute("BEGIN; LOCK TABLE a")
        yield session


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_cut_on_the_source(way: str, shop: Pair, tmp_path: Path) -> None:
    with locked(shop.source):
        said = await broken(
            way, shop, tmp_path / "d", lambda: shop.source.cluster.run(CUT), when=WAITS, on=shop.source.cluster
        )
    assert "terminating connection" in said or "connection to server was lost" in said
    await is_the_same(way, shop, tmp_path / "d")


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_cut_on_the_target(way: str, shop: Pair, tmp_path: Path) -> None:
    said = await broken(
        way, shop, tmp_path / "d", lambda: shop.target.cluster.run(CUT), when=SLEEPS, on=shop.target.cluster
    )
    assert "terminating connection" in said or "connection to server was lost" in said
    await is_the_same(way, shop, tmp_path / "d")


@pytest.mark.parametrize("way", WAYS)
async def test_both_servers_killed_in_turn(way: str, own: Pair, tmp_path: Path) -> None:
    old, new = own.source.cluster, own.target.cluster
    for dies in (old, new):
        said = await broken(way, own, tmp_path / "d", dies.kill, when=SLEEPS, on=new) if dies is new else ""
        if dies is old:
            lock = old.connect(own.source.name)
            lock.execute("BEGIN; LOCK TABLE a")
            said = await broken(way, own, tmp_path / "d", dies.kill, when=WAITS, on=old)
            lock.close()
        assert any(word in said for word in ("terminat", "lost", "refused", "closed")), said
        dies.start()
    await is_the_same(way, own, tmp_path / "d")


@pytest.mark.parametrize(
    "change", ["DROP TABLE a", "ALTER TABLE a ADD late int DEFAULT 7", "ALTER TABLE a RENAME TO b"]
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_schema_changed_under_the_copy_is_never_the_same(
    way: str, change: str, pair: Pair, tmp_path: Path
) -> None:
    pair.source.run("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
    session, snapshot = await hold_snapshot(pair.source.db, APP)
    async with session:
        pair.source.run(change)
        try:
            copy = await copied(way, pair, tmp_path / "d", snapshot)
        except CopyFailed as failed:
            said = str(failed)
        else:
            # A column may be added while a dump runs: what was dumped is then as old as its snapshot.
            found = await compare(pair.source.db, copy, APP, on_progress=silent)
            said = " ".join(found.differences)
        assert any(word in said for word in ("public.a", "relation", "cache lookup"))
    await is_the_same(way, pair, tmp_path / "d")


@pytest.mark.parametrize("way", WAYS)
async def test_a_full_disk_on_the_target(way: str, own: Pair, tmp_path: Path) -> None:
    own.source.run(FULL)
    new = own.target.cluster
    with small_disk(new.folder.parent / f"small-{way}", 40) as disk:
        moved_to(disk, own.target)
        with pytest.raises(CopyFailed, match="No space left on device"):
            await copied(way, own, tmp_path / "d")
        own.source.run("TRUNCATE wide; INSERT INTO wide VALUES (1, 'x')")
        await is_the_same(way, own, tmp_path / "d")
        clean(own)
        new.run("DROP TABLESPACE small")


async def test_a_full_disk_for_the_dump(pair: Pair, tmp_path: Path) -> None:
    pair.source.run(FULL)
    with small_disk(tmp_path / "disk", 1) as disk:
        with pytest.raises(CopyFailed, match="No space left on device"):
            await copied("dump", pair, disk / "d")
        pair.source.run("TRUNCATE wide; INSERT INTO wide VALUES (1, 'x')")
        await is_the_same("dump", pair, disk / "d")


async def test_a_stream_needs_no_room_beside_the_plan(pair: Pair, tmp_path: Path) -> None:
    pair.source.run(FULL)
    with small_disk(tmp_path / "disk", 1) as disk:
        await is_the_same("stream", pair, disk / "d")


@pytest.mark.parametrize("way", WAYS)
async def test_a_table_that_stays_locked_ends_the_copy_and_names_who_holds_it(
    way: str, shop: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dumping, streaming, programs):
        monkeypatch.setattr(module, "LOCK_PATIENCE", "1s")
    said: list[str] = []
    with locked(shop.source), pytest.raises(CopyFailed) as failed:
        await copied(way, shop, tmp_path / "d", say=said.append)
    holder = r"held up by pid \d+ postgres since \d+ s: BEGIN; LOCK TABLE a"
    assert re.search(f"timeout; {holder}; end it, then run again", str(failed.value))
    assert any(re.search(f"waiting for a lock of the source, {holder}", each) for each in said)
    await is_the_same(way, shop, tmp_path / "d")


@pytest.mark.parametrize("way", WAYS)
async def test_a_table_locked_for_a_moment_holds_the_copy_up_and_no_more(way: str, shop: Pair, tmp_path: Path) -> None:
    with locked(shop.source) as session:
        copying = asyncio.ensure_future(copied(way, shop, tmp_path / "d"))
        while not await asyncio.to_thread(shop.source.cluster.run, WAITS):
            await asyncio.sleep(0.02)
        session.execute("COMMIT")
        await copying
