"""A comparison under one snapshot keeps few of the server's locks, however many tables it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg import AsyncConnection

from switchover.postgres.connect import connect
from switchover.postgres.rowdiff import Reading, count_changes, explain
from switchover.postgres.sequences import read_sequences
from switchover.postgres.sums import sum_up
from switchover.postgres.table import read_tables
from tests.postgres.conftest import APP, Pair, Side

MANY = 300
FEW = 40
"""The transaction's own, the catalog's and those of what asks."""
TABLES = f"""
DO $$ BEGIN FOR i IN 1..{MANY} LOOP
  EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a int UNIQUE, b text)', i);
  EXECUTE format('CREATE INDEX ON t%s (b); INSERT INTO t%s (a, b) SELECT n, n FROM generate_series(1, 3) n', i, i);
  IF i % 100 = 0 THEN COMMIT; END IF;
END LOOP; END $$
"""


@asynccontextmanager
async def snapshot(side: Side) -> AsyncIterator[AsyncConnection]:
    async with await connect(side.db, APP) as session:
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield session


async def locks(session: AsyncConnection) -> int:
    found = await session.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
    return int((await found.fetchall())[0][0])


async def test_sums_and_sequences_keep_few_locks_and_one_snapshot(pair: Pair) -> None:
    pair.source.run(TABLES)
    async with snapshot(pair.source) as session:
        tables = await read_tables(session)
        digests = await sum_up([session], tables, lambda piece: None)
        pair.source.run("INSERT INTO t1 (a) VALUES (99)")
        assert await sum_up([session], tables, lambda piece: None) == digests
        assert len(digests) == len(await read_sequences(session)) == MANY
        assert await locks(session) < FEW


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
async def test_the_rows_that_differ_are_found_and_few_locks_kept(pair: Pair, key: str) -> None:
    for number in range(20):
        pair.both(f"CREATE TABLE t{number} (id int {key}, v text UNIQUE); INSERT INTO t{number} VALUES (1, 'a')")
    pair.target.run("; ".join(f"UPDATE t{number} SET v = 'b'" for number in range(20)))
    async with snapshot(pair.source) as ours, snapshot(pair.target) as theirs:
        tables = await read_tables(ours)
        before = await locks(ours)
        for table in tables:
            sides = Reading(ours, table), Reading(theirs, table)
            changes = await count_changes(*sides)
            assert (changes.updated if key else changes.deleted) == 1
            assert await explain(*sides)
        assert await locks(ours) == before
        assert await locks(theirs) < before
