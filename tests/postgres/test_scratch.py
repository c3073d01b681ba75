"""Databases of our own, and the exchange of names, on PostgreSQL 16 and 18."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from switchover.postgres.errors import Refused
from switchover.postgres.guard import read_fact
from switchover.postgres.scratch import (
    close_database,
    create_copy,
    database_exists,
    drop_copy,
    open_database,
    swap_back,
    swap_in,
    user_tables,
    which,
)
from tests.postgres.conftest import APP, PREFIX, Pair, Side, clean, make_pair
from tests.servers.postgres import Cluster


@pytest.fixture(params=[16, 18])
def side(request: pytest.FixtureRequest, old_server: Cluster, new_server: Cluster) -> Iterator[Side]:
    """A target on either server."""
    pair = make_pair(old_server, new_server)
    yield pair.source if request.param == 16 else pair.target
    clean(pair)


def names(side: Side) -> tuple[str, str, str, str]:
    """Plan id, copy, aside and kept; all carry the side's tag, so that they are cleaned up."""
    plan = side.name.partition("_")[2] + "ab" + "0" * 20
    return plan, f"switchover_copy_{plan[:12]}", f"switchover_before_{plan[:12]}", f"switchover_kept_{plan[:12]}_1"


def seen(side: Side, name: str) -> list[tuple[object, ...]]:
    """Everything about a database that lies outside it, as the catalogs hold it; privileges in any order."""
    return side.cluster.run(
        "SELECT d.datallowconn, d.datconnlimit, pg_get_userbyid(d.datdba), shobj_description(d.oid, 'pg_database'), "
        "ARRAY(SELECT a::text FROM unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a ORDER BY 1), "
        "ARRAY(SELECT coalesce(r.rolname, '') || ' ' || s.setconfig::text FROM pg_db_role_setting s "
        f"LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid ORDER BY 1) "
        f"FROM pg_database d WHERE d.datname = '{name}'"
    )


def dress(side: Side) -> str:
    """Give the target everything that a database can have outside itself; returns a role."""
    owner = side.role(f"owner_{side.name}")
    reader = side.role(f"reader_{side.name}")
    for statement in (
        f'ALTER DATABASE "{side.name}" OWNER TO "{owner}"',
        f'ALTER DATABASE "{side.name}" CONNECTION LIMIT 42',
        f'ALTER DATABASE "{side.name}" SET work_mem = 9216',
        f"ALTER DATABASE \"{side.name}\" SET search_path = '$user', 'a,b', 'MiXed \"q', public",
        f"ALTER DATABASE \"{side.name}\" SET datestyle = 'SQL, DMY'",
        f"ALTER DATABASE \"{side.name}\" SET app.tenant = 'it''s = here'",
        f'ALTER ROLE "{owner}" IN DATABASE "{side.name}" SET search_path = \'\'',
        f'ALTER ROLE "{reader}" IN DATABASE "{side.name}" SET statement_timeout = \'77s\'',
        f'REVOKE ALL ON DATABASE "{side.name}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{side.name}" TO "{reader}" WITH GRANT OPTION',
        f"COMMENT ON DATABASE \"{side.name}\" IS 'the shop''s own'",
    ):
        side.cluster.run(statement)
    return reader


async def test_a_copy_is_like_the_target_and_marked(side: Side) -> None:
    dress(side)
    plan, copy, _, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    like = "SELECT encoding, datcollate, datctype, datlocprovider, pg_get_userbyid(datdba), dattablespace, datallowconn"
    assert side.cluster.run(f"{like} FROM pg_database WHERE datname = '{copy}'") == side.cluster.run(
        f"{like} FROM pg_database WHERE datname = '{side.name}'"
    )
    assert seen(side, copy)[0][3] == f"switchover {plan}"
    assert await user_tables(side.db, copy, APP) == ()


async def test_a_name_that_is_taken_is_refused(side: Side) -> None:
    plan, copy, _, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    with pytest.raises(Refused, match="already exists"):
        await create_copy(side.db, copy, plan, APP)


async def test_only_this_plans_databases_are_dropped(side: Side) -> None:
    plan, copy, aside, _ = names(side)
    await create_copy(side.db, copy, "another plan", APP)
    with pytest.raises(Refused, match="does not carry this plan's mark; nothing was dropped"):
        await drop_copy(side.db, copy, plan, APP)
    with pytest.raises(Refused, match="nothing was dropped"):
        await drop_copy(side.db, side.name, plan, APP)
    assert await database_exists(side.db, copy, APP)
    await drop_copy(side.db, aside, plan, APP)


async def test_a_closed_or_used_copy_is_dropped(side: Side) -> None:
    plan, copy, _, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    with side.cluster.connect(copy):
        side.cluster.run(f"ALTER DATABASE {copy} ALLOW_CONNECTIONS false")
        await drop_copy(side.db, copy, plan, APP)
    assert not await database_exists(side.db, copy, APP)


async def test_a_copy_whose_making_was_cut_off_is_dropped(side: Side) -> None:
    """A kill between CREATE DATABASE and the mark would otherwise leave a name that nothing can take again."""
    plan, copy, _, _ = names(side)
    side.cluster.run(f"CREATE DATABASE {copy} TEMPLATE template0 ALLOW_CONNECTIONS false")
    await drop_copy(side.db, copy, plan, APP)
    assert not await database_exists(side.db, copy, APP)


async def test_tables_of_a_closed_database_are_listed_and_it_stays_closed(side: Side) -> None:
    side.run('CREATE TABLE "A b" (); CREATE SCHEMA switchover; CREATE TABLE switchover.run (); CREATE TABLE z ()')
    side.cluster.run(f"ALTER DATABASE {side.name} ALLOW_CONNECTIONS false")
    assert await user_tables(side.db, side.name, APP) == ('public."A b"', "public.z")
    assert seen(side, side.name)[0][0] is False


async def test_the_copy_takes_name_settings_and_privileges_and_gives_them_back(side: Side) -> None:
    reader = dress(side)
    side.run("CREATE TABLE before ()")
    plan, copy, aside, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    side.cluster.run("CREATE TABLE after ()", copy)
    target, made = seen(side, side.name), seen(side, copy)
    assert await which(side.db, copy, aside, APP) == "copy"

    await swap_in(side.db, copy, aside, APP)
    assert await which(side.db, copy, aside, APP) == "swapped"
    assert seen(side, side.name) == target
    assert [row[0] for row in side.run("SELECT relname FROM pg_class WHERE relname IN ('before', 'after')")] == [
        "after"
    ]
    assert seen(side, aside)[0][0] is False
    assert seen(side, aside)[0][3] == f"switchover {plan}"
    with side.cluster.connect(side.name, reader) as session:
        assert session.execute("SHOW statement_timeout").fetchall() == [("77s",)]
        assert session.execute("SHOW search_path").fetchall() == [('"$user", "a,b", "MiXed ""q", public',)]

    await swap_in(side.db, copy, aside, APP)
    assert await which(side.db, copy, aside, APP) == "swapped"

    await swap_back(side.db, copy, aside, APP)
    assert seen(side, side.name) == target
    assert [row[0] for row in side.run("SELECT relname FROM pg_class WHERE relname IN ('before', 'after')")] == [
        "before"
    ]
    assert seen(side, copy)[0][3] == made[0][3]
    await swap_back(side.db, copy, aside, APP)
    assert await which(side.db, copy, aside, APP) == "copy"

    await swap_in(side.db, copy, aside, APP)
    assert seen(side, side.name) == target
    await drop_copy(side.db, aside, plan, APP)
    assert await which(side.db, copy, aside, APP) == "none"


@contextmanager
def crowd(side: Side, users: int) -> Iterator[list[str]]:
    """Users who connect to the target again and again, as a pool does; yields what else than a refusal they met."""
    stop = threading.Event()
    strange: list[str] = []

    def use() -> None:
        while not stop.is_set():
            try:
                with side.cluster.connect(side.name) as session:
                    while not stop.is_set():
                        session.execute("SELECT 1")
            except (psycopg.errors.AdminShutdown, psycopg.OperationalError):
                continue
            except psycopg.Error as error:
                strange.append(repr(error))

    threads = [threading.Thread(target=use) for _ in range(users)]
    for thread in threads:
        thread.start()
    try:
        yield strange
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def test_names_are_exchanged_under_a_crowd_that_keeps_connecting(side: Side) -> None:
    plan, copy, aside, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    side.cluster.run("CREATE TABLE after ()", copy)
    with crowd(side, 6) as strange:
        await swap_in(side.db, copy, aside, APP)
        assert side.run("SELECT to_regclass('after') IS NOT NULL") == [(True,)]
        await swap_back(side.db, copy, aside, APP)
        assert side.run("SELECT to_regclass('after') IS NOT NULL") == [(False,)]
    assert strange == []


async def test_a_swap_that_is_cut_off_leaves_the_names_and_the_target_open(side: Side) -> None:
    """Between the two names nothing is committed, so a killed run finds a target that it can connect to."""
    plan, copy, aside, _ = names(side)
    await create_copy(side.db, copy, plan, APP)
    target = seen(side, side.name)
    side.cluster.run(f"ALTER DATABASE {side.name} SET log_statement = 'all'")
    with side.cluster.connect() as blocker:
        blocker.execute("BEGIN; LOCK pg_shdescription IN ACCESS EXCLUSIVE MODE")
        swapping = asyncio.create_task(swap_in(side.db, copy, aside, APP))
        while not side.cluster.run("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        swapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await swapping
    side.cluster.run(f"ALTER DATABASE {side.name} RESET log_statement")
    assert await which(side.db, copy, aside, APP) == "copy"
    assert seen(side, side.name) == target
    side.run("SELECT 1")


async def test_names_that_do_not_fit_are_refused(side: Side) -> None:
    plan, copy, aside, _ = names(side)
    with pytest.raises(Refused, match="do not fit together; nothing was renamed"):
        await swap_in(side.db, copy, aside, APP)
    for name in (copy, aside):
        await create_copy(side.db, name, plan, APP)
    assert await which(side.db, copy, aside, APP) == "mixed"
    with pytest.raises(Refused, match="nothing was renamed"):
        await swap_back(side.db, copy, aside, APP)


async def test_a_closed_database_refuses_writes_and_opens_exactly_as_it_was(side: Side) -> None:
    dress(side)
    side.cluster.run(f"ALTER DATABASE {side.name} SET default_transaction_read_only = 'off'")
    side.run("CREATE TABLE t (x int)")
    before = seen(side, side.name)
    user = side.cluster.connect(side.name)
    for _ in range(2):
        await close_database(side.db, APP, PREFIX)
        with pytest.raises(psycopg.OperationalError):
            user.execute("SELECT 1")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            side.run("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            side.run("SELECT 1", f"owner_{side.name}")
    user.close()
    await open_database(side.db, APP)
    assert seen(side, side.name) == before
    await open_database(side.db, APP)
    assert seen(side, side.name) == before
    assert await read_fact(side.db, APP, "closed") is None


async def test_a_closed_target_is_not_carried_into_production(side: Side) -> None:
    dress(side)
    plan, copy, aside, _ = names(side)
    before = seen(side, side.name)
    await create_copy(side.db, copy, plan, APP)
    await close_database(side.db, APP, PREFIX)
    await swap_in(side.db, copy, aside, APP)
    assert seen(side, side.name) == before
    await close_database(side.db, APP, PREFIX)
    await swap_back(side.db, copy, aside, APP)
    assert seen(side, side.name) == before


async def test_a_rollback_keeps_the_written_database_closed_and_brings_the_former_back(side: Side) -> None:
    dress(side)
    plan, copy, aside, kept = names(side)
    before = seen(side, side.name)
    await create_copy(side.db, copy, plan, APP)
    await swap_in(side.db, copy, aside, APP)
    side.run("CREATE TABLE written ()")
    await close_database(side.db, APP, PREFIX)
    await swap_in(side.db, aside, kept, APP, settings=False)
    assert seen(side, side.name) == before
    assert side.run("SELECT to_regclass('written')") == [(None,)]
    assert seen(side, kept)[0][:2] == (False, 0)
    assert await user_tables(side.db, kept, APP) == ("public.written",)


async def test_a_change_that_cannot_be_carried_over_leaves_everything_as_it_was(pair: Pair) -> None:
    """The owner may not set what only a superuser may; then not one name has moved."""
    side = pair.target
    owner = side.role(f"owner_{side.name}", "LOGIN CREATEDB")
    side.cluster.run(f'ALTER DATABASE {side.name} OWNER TO "{owner}"')
    side.cluster.run(f"ALTER DATABASE {side.name} SET log_statement = 'all'")
    plan, copy, aside, _ = names(side)
    plain_db = type(side.db).parse(side.cluster.conninfo(side.name, owner))
    await create_copy(plain_db, copy, plan, APP)
    before = seen(side, side.name), seen(side, copy)
    with pytest.raises(Refused, match="permission denied to set parameter"):
        await swap_in(plain_db, copy, aside, APP)
    assert (seen(side, side.name), seen(side, copy)) == before
