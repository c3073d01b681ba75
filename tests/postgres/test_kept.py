"""Sessions that are kept while every millisecond counts: as good as new, and never a trap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from switchover.postgres.connect import connect, connect_anew
from switchover.postgres.kept import keeping
from tests.postgres.conftest import APP, Pair


@asynccontextmanager
async def kept() -> AsyncIterator[None]:
    end = await keeping()
    try:
        yield
    finally:
        await end()


async def pid(pair: Pair, *, statement: str = "SELECT 1", anew: bool = False) -> int:
    async with await (connect_anew if anew else connect)(pair.source.db, APP) as session:
        await session.execute(statement.encode())
        return session.info.backend_pid


async def value(pair: Pair, statement: str) -> object:
    async with await connect(pair.source.db, APP) as session:
        row = await (await session.execute(statement.encode())).fetchone()
    return row[0] if row is not None else None


def ours(pair: Pair) -> int:
    found = pair.source.run(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{APP}'")
    return int(str(found[0][0]))


async def test_a_session_is_used_again_and_all_are_closed_in_the_end(pair: Pair) -> None:
    end = await keeping()
    first = await pid(pair)
    assert await pid(pair) == first
    async with await connect(pair.source.db, APP) as one, await connect(pair.source.db, APP) as other:
        assert one.info.backend_pid == first != other.info.backend_pid
    await end()
    assert await pid(pair) != first
    while ours(pair):  # the server takes a moment to notice
        pass


async def test_nothing_of_a_former_use_is_left(pair: Pair) -> None:
    async with kept():
        pair.source.run("CREATE TABLE t (x int)")
        first = await pid(pair, statement="CREATE TEMPORARY TABLE t (y int)")
        assert await pid(pair, statement="SET lock_timeout = '7s'; SET work_mem = '9MB'; SET ROLE pg_monitor") == first
        await pid(pair, statement="SELECT pg_advisory_lock(7)")
        assert await value(pair, "SELECT current_setting('lock_timeout')") == "5s"
        assert await value(pair, "SELECT current_setting('work_mem')") == "4MB"
        assert await value(pair, "SELECT current_user::text") == "postgres"
        assert (
            await value(pair, "SELECT attname::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1")
            == "x"
        )
        assert await value(pair, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert await pid(pair) == first


async def test_one_that_failed_or_was_left_in_a_transaction_is_not_used_again(pair: Pair) -> None:
    async with kept():
        first = await pid(pair)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await pid(pair, statement="SELECT FROM nowhere")
        second = await pid(pair, statement="BEGIN")
        assert len({first, second, await pid(pair)}) == 3


async def test_one_that_the_server_has_ended_is_opened_anew(pair: Pair) -> None:
    async with kept():
        first = await pid(pair)
        pair.source.run(f"SELECT pg_terminate_backend({first}, 5000)")
        assert await pid(pair) != first


async def test_a_newcomer_meets_the_databases_settings_of_this_moment(pair: Pair) -> None:
    async with kept():
        first = await pid(pair)
        pair.source.run(f"ALTER DATABASE {pair.source.name} SET work_mem = '11MB'")
        assert await value(pair, "SELECT current_setting('work_mem')") == "4MB"
        assert await pid(pair, anew=True) != first
        async with await connect_anew(pair.source.db, APP) as session:
            row = await (await session.execute("SELECT current_setting('work_mem')")).fetchone()
        assert row == ("11MB",)
