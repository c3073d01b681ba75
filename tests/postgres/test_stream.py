"""A copy without a file: the same as the source, in parts and in order, and what a broken-off one leaves."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from switchover.children import Children
from switchover.plan.journal import Json
from switchover.postgres import stream as streaming
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.errors import CopyFailed
from switchover.postgres.guard import read_fact
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy
from switchover.postgres.stream import StreamFacts, resumable, shape, stream
from tests.postgres.conftest import APP, PREFIX, Pair, silent
from tests.postgres.zoo import ZOO

BIG = """
CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT n, repeat(md5(n::text), 3)
FROM generate_series(1, 150000) n; CREATE INDEX big_v ON big (v); ANALYZE big;
CREATE TABLE small (id serial PRIMARY KEY, big int REFERENCES big);
INSERT INTO small (big) SELECT 7 FROM generate_series(1, 9);
CREATE TABLE other (id int UNIQUE, v text); INSERT INTO other SELECT n, md5(n::text) FROM generate_series(1, 150000) n;
ANALYZE other; SELECT lo_from_bytea(0, '\\x0102')
"""


SLOWLY = (
    "CREATE FUNCTION slowly(i int) RETURNS boolean LANGUAGE sql AS "
    "$$SELECT pg_sleep(coalesce(current_setting('test.nap', true), '0.3')::float8) IS NOT NULL$$; "
    "SET test.nap = '0'; ALTER TABLE {} ADD CHECK (slowly(id))"
)
"""Rows of a table come slowly to the target, where no nap is set."""


def tools(pair: Pair, children: Children | None = None, jobs: int = 2) -> Tools:
    return Tools(jobs, str(pair.target.cluster.bin), APP, children or Children())


async def empty_copy(pair: Pair) -> Database:
    name = f"copy_{pair.tag}"
    await create_copy(pair.target.db, name, pair.plan_id, APP)
    return pair.target.db.named(name)


async def streamed(pair: Pair, copy: Database, folder: Path, jobs: int = 2) -> StreamFacts:
    return await stream(
        pair.source.db, copy, folder, tools(pair, jobs=jobs), snapshot=None, stamp="s", on_progress=silent
    )


async def broken_off(pair: Pair, copy: Database, folder: Path, jobs: int = 2, *, full: int) -> None:
    """Stream until so much is full, and end what comes slowly."""
    streaming = asyncio.ensure_future(streamed(pair, copy, folder, jobs))
    sleepers = f"FROM pg_stat_activity WHERE application_name LIKE '{PREFIX}%' AND wait_event = 'PgSleep'"
    async with asyncio.timeout(30):
        while len(await known_full(copy)) < full or not pair.target.run(f"SELECT 1 {sleepers}"):
            assert not streaming.done(), streaming.exception()
            await asyncio.sleep(0.02)
    pair.target.run(f"SELECT pg_terminate_backend(pid) {sleepers}")
    with pytest.raises(CopyFailed, match="table"):
        await streaming
    pair.target.run(f"ALTER DATABASE copy_{pair.tag} SET test.nap = '0'")


async def known_full(copy: Database) -> list[object]:
    """What the copy says is full."""
    said = await read_fact(copy, APP, "streamed")
    known = said.get("full") if isinstance(said, dict) else None
    return list(known) if isinstance(known, list) else []


async def same(pair: Pair, copy: Database) -> None:
    found = await compare(pair.source.db, copy, APP, on_progress=silent, not_data=("app.far",))
    assert "\n".join(found.differences) == ""
    assert found.verdict is Verdict.SAME


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are large from 1 MB on, so that tests need no large ones."""
    monkeypatch.setattr(shape, "ALONE_FROM", 1024 * 1024)
    monkeypatch.setattr(shape, "TAIL_UP_TO", 1024 * 1024)


async def test_large_tables_go_in_parts_and_all_is_the_same(pair: Pair, tmp_path: Path, small_steps: None) -> None:
    for statement in BIG.split(";"):
        pair.source.run(statement)
    copy = await empty_copy(pair)
    said: list[str] = []
    facts = await stream(
        pair.source.db,
        copy,
        tmp_path / "s",
        tools(pair),
        snapshot=None,
        stamp="s",
        on_progress=lambda say, *_: said.append(say),
    )
    assert (facts.tables, facts.kept) == (3, 0)
    assert not (tmp_path / "s").exists()
    assert any("of" in each for each in said)
    await same(pair, copy)


async def test_the_zoo_is_the_same_after_streaming(pair: Pair, tmp_path: Path) -> None:
    owner, reader = f"own_{pair.tag}", f"read_{pair.tag}"
    for cluster in (pair.source.cluster, pair.target.cluster):
        cluster.run(f"CREATE ROLE {owner} LOGIN")
        cluster.run(f"CREATE ROLE {reader} LOGIN")
    pair.source.run(ZOO.format(o=owner, r=reader))
    copy = await empty_copy(pair)
    await streamed(pair, copy, tmp_path / "s")
    await same(pair, copy)


async def test_a_stream_that_was_broken_off_keeps_the_tables_that_were_full(
    pair: Pair, tmp_path: Path, small_steps: None
) -> None:
    for statement in BIG.split(";"):
        pair.source.run(statement)
    pair.source.run(SLOWLY.format("small"))
    copy = await empty_copy(pair)
    await broken_off(pair, copy, tmp_path / "s", full=2)
    assert await resumable(copy, APP, "s")
    assert not await resumable(copy, APP, "another")
    again = await streamed(pair, copy, tmp_path / "s")
    assert again.kept == 2
    await same(pair, copy)
    assert not await resumable(copy, APP, "s")


@pytest.mark.parametrize(("slow", "kept"), [("t8", 6), ("t6", 7)])
async def test_a_stream_goes_on_with_other_jobs_and_loses_and_doubles_nothing(
    pair: Pair, tmp_path: Path, small_steps: None, slow: str, kept: int
) -> None:
    """Four jobs send t1 to t6 each alone, one job would send t5 and t6 with the small ones.

    A vacuum would cut a table's empty end off, and the next largest would be sent alone in its place.
    """
    for number in range(1, 9):
        pair.source.run(
            f"CREATE TABLE t{number} WITH (autovacuum_enabled = off) AS SELECT n AS id, repeat(md5(n::text), 3) AS v "
            f"FROM generate_series(1, {5000 if number < 8 else 9}) n"
        )
    pair.source.run(SLOWLY.format(slow))
    copy = await empty_copy(pair)
    await broken_off(pair, copy, tmp_path / "s", 4, full=6)
    again = await streamed(pair, copy, tmp_path / "s", 1)
    assert again.kept == kept
    await same(pair, copy)


async def test_what_is_full_stays_noted_when_notes_overtake_each_other(
    pair: Pair, tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fact = streaming.write_fact
    later = asyncio.Event()

    async def overtaken(db: Database, app: str, key: str, value: Json) -> None:
        """The first note of a full table is written when the second has been, or nobody has come to write it."""
        if isinstance(value, dict) and isinstance(value["full"], list) and len(value["full"]) == 1:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await later.wait()
        await write_fact(db, app, key, value)
        if isinstance(value, dict) and isinstance(value["full"], list) and len(value["full"]) == 2:
            later.set()

    monkeypatch.setattr(streaming, "write_fact", overtaken)
    for statement in BIG.split(";"):
        pair.source.run(statement)
    pair.source.run(SLOWLY.format("small"))
    copy = await empty_copy(pair)
    pair.target.run(f"ALTER DATABASE copy_{pair.tag} SET test.nap = '5'")
    await broken_off(pair, copy, tmp_path / "s", full=2)


async def test_a_stream_goes_on_over_more_large_objects_than_one_transaction_locks(
    pair: Pair, tmp_path: Path, small_steps: None
) -> None:
    for statement in BIG.split(";"):
        pair.source.run(statement)
    pair.source.run(SLOWLY.format("small"))
    copy = await empty_copy(pair)
    await broken_off(pair, copy, tmp_path / "s", full=2)
    pair.target.cluster.run("SELECT count(lo_create(0)) FROM generate_series(1, 16000)", f"copy_{pair.tag}")
    await streamed(pair, copy, tmp_path / "s")
    await same(pair, copy)


async def test_a_connection_of_a_non_superuser_streams_its_own_database(pair: Pair, tmp_path: Path) -> None:
    owner = f"own_{pair.tag}"
    for side in (pair.source, pair.target):
        side.role(owner, "LOGIN CREATEDB")
        side.cluster.run(f'ALTER DATABASE "{side.name}" OWNER TO {owner}')
    for statement in BIG.split(";"):
        pair.source.run(statement, user=owner)
    source, target = (Database.parse(side.cluster.conninfo(side.name, owner)) for side in (pair.source, pair.target))
    name = f"copy_{pair.tag}"
    await create_copy(target, name, pair.plan_id, APP)
    tools_ = tools(pair)
    await stream(source, target.named(name), tmp_path / "s", tools_, snapshot=None, stamp="s", on_progress=silent)
    found = await compare(source, target.named(name), APP, on_progress=silent)
    assert "\n".join(found.differences) == ""
