"""Each promise of the fence on its own, on PostgreSQL 16 and 18."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from switchover.postgres.connect import Database
from switchover.postgres.errors import FenceFailed, PostgresError
from switchover.postgres.fence import Fence, FenceBefore, Raised
from tests.postgres.conftest import APP, PREFIX, Side, clean, make_pair
from tests.servers.postgres import Cluster


@pytest.fixture(params=[16, 18])
def side(request: pytest.FixtureRequest, old_server: Cluster, new_server: Cluster) -> Iterator[Side]:
    """A source on either server, with one table."""
    pair = make_pair(old_server, new_server)
    side = pair.source if request.param == 16 else pair.target
    side.run("CREATE TABLE log (n int)")
    yield side
    clean(pair)


def raw(side: Side) -> list[tuple[object, ...]]:
    """What the fence changes, as the catalogs hold it."""
    return side.cluster.run(
        "SELECT datconnlimit, setrole, setconfig FROM pg_database d LEFT JOIN pg_db_role_setting s "
        f"ON s.setdatabase = d.oid WHERE datname = '{side.name}' ORDER BY 2"
    )


async def raised(fence: Fence, side: Side, db: Database | None = None) -> Raised:
    return await fence.raise_(db or side.db, APP, PREFIX, deadline_s=10, say=lambda _: None)


class Writer(threading.Thread):
    """Writes through every cut, in one way, and remembers what was acknowledged."""

    def __init__(self, side: Side, user: str, before: str, start: int) -> None:
        super().__init__(daemon=True)
        self.side, self.user, self.before, self.number = side, user, before, start
        self.acknowledged: set[int] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with self.side.cluster.connect(self.side.name, self.user) as session:
                    while not self.stop.is_set():
                        self.number += 1
                        session.execute(f"{self.before}; INSERT INTO log VALUES ({self.number}); COMMIT".encode())
                        self.acknowledged.add(self.number)
            except psycopg.Error:
                self.stop.wait(0.005)


async def test_what_was_acknowledged_is_there_and_nothing_comes_after(side: Side) -> None:
    """Superuser with its own SET, the owner, BEGIN READ WRITE, and sessions that were open all along."""
    owner = side.role(f"owner_{side.name}")
    side.run(f"ALTER TABLE log OWNER TO {owner}")
    side.cluster.run(f"ALTER ROLE {owner} IN DATABASE {side.name} SET default_transaction_read_only = off")
    writers = [
        Writer(side, user, before, 1_000_000 * n)
        for n, (user, before) in enumerate(
            (
                ("postgres", "SET default_transaction_read_only = off; BEGIN"),
                ("postgres", "BEGIN READ WRITE"),
                (owner, "BEGIN"),
                (owner, "BEGIN READ WRITE"),
            )
        )
    ]
    for writer in writers:
        writer.start()
    while not all(writer.acknowledged for writer in writers):
        time.sleep(0.005)
    fence = Fence()
    before, settings = await fence.read_before(side.db, APP), raw(side)
    await raised(fence, side)
    there = {row[0] for row in side.run("SELECT n FROM log")}
    acknowledged = set[int]().union(*(writer.acknowledged for writer in writers))
    assert acknowledged <= there
    assert len(await fence.prove(side.db, APP)) == 3
    for writer in writers:
        writer.stop.set()
    await fence.release()
    for writer in writers:
        writer.join()
    assert set[int]().union(*(writer.acknowledged for writer in writers)) <= there
    assert {row[0] for row in side.run("SELECT n FROM log")} == there
    await fence.lower(side.db, APP, before)
    assert raw(side) == settings


async def test_each_layer_is_said_and_each_attempt_is_refused_by_its_own(side: Side) -> None:
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    session = side.cluster.connect(side.name, application_name="shop")
    found = await raised(fence, side)
    assert found == Raised(
        ("default_transaction_read_only = on", "connection limit 0", "SHARE locks on 1 tables"),
        ("postgres shop",),
        (),
        1,
    )
    session.close()
    new, override, read_write = await fence.prove(side.db, APP)
    assert "read-only transaction" in new
    assert "could not obtain lock" in override
    assert "could not obtain lock" in read_write
    seen = await fence.observe(side.db, APP)
    assert (seen.read_only, seen.limit, seen.held) == (True, 0, True)
    assert side.run("SELECT count(*) FROM log") == [(0,)]
    await fence.lower(side.db, APP, before)
    assert not fence.held
    side.run("INSERT INTO log VALUES (1)")


async def test_a_write_that_gets_through_is_an_error(side: Side) -> None:
    """Without the locks a client overrides the setting; without the setting a plain client writes."""
    fence = Fence()
    with pytest.raises(FenceFailed, match="accepted through a new session"):
        await fence.prove(side.db, APP)
    side.cluster.run(f"ALTER DATABASE {side.name} SET default_transaction_read_only = on")
    with pytest.raises(FenceFailed, match="accepted through SET"):
        await fence.prove(side.db, APP)
    assert side.cluster.run("SELECT count(*) FROM pg_class WHERE relname = 'switchover_attempt'") == [(0,)]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("CONNECTION LIMIT 7",),
        ("SET work_mem = 9216", "SET default_transaction_read_only = 'OFF'", "SET app.x = 'a=b'", "CONNECTION LIMIT 0"),
        ("SET default_transaction_read_only = 'true'", "SET search_path = '$user', \"odd, name\""),
    ],
)
async def test_the_way_back_is_exact(side: Side, settings: tuple[str, ...]) -> None:
    for setting in settings:
        side.cluster.run(f"ALTER DATABASE {side.name} {setting}")
    was = raw(side)
    fence = Fence()
    saved = json.dumps((await fence.read_before(side.db, APP)).to_json())
    await raised(fence, side)
    await fence.release()
    await Fence().lower(side.db, APP, FenceBefore.from_json(json.loads(saved)))
    assert raw(side) == was
    await Fence().lower(side.db, APP, FenceBefore.from_json(json.loads(saved)))
    assert raw(side) == was


async def test_an_applications_own_keys_stay_out_of_the_journal(side: Side) -> None:
    side.cluster.run(f"ALTER DATABASE {side.name} SET app.jwt_secret = 'canary'")
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    assert "canary" not in json.dumps(before.to_json())
    side.cluster.run(f"ALTER DATABASE {side.name} SET app.jwt_secret = 'another'")
    assert await fence.read_before(side.db, APP) != before


async def test_settings_that_cannot_be_put_back_are_said(side: Side) -> None:
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    await raised(fence, side)
    side.cluster.run(f"ALTER DATABASE {side.name} SET work_mem = '5MB'")
    with pytest.raises(FenceFailed, match=r"work_mem=#.*put them back by hand"):
        await fence.lower(side.db, APP, before)
    assert (await fence.read_before(side.db, APP)).read_only is None


async def test_raising_it_again_writes_nothing_and_lets_nothing_go(side: Side) -> None:
    fence = Fence()
    await raised(fence, side)
    mark, holder = fence.mark, side.cluster.run("SELECT pid FROM pg_locks WHERE mode = 'ShareLock' AND granted")
    await raised(fence, side)
    assert fence.mark == mark
    assert side.cluster.run("SELECT pid FROM pg_locks WHERE mode = 'ShareLock' AND granted") == holder
    await fence.release()
    again = Fence()
    await raised(again, side)
    assert again.mark == mark
    await again.release()


async def test_locks_whose_session_was_ended_are_not_held(side: Side) -> None:
    fence = Fence()
    await raised(fence, side)
    side.cluster.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE mode = 'ShareLock' AND locktype = 'relation' "
        f"AND database = (SELECT oid FROM pg_database WHERE datname = '{side.name}')"
    )
    assert not (await fence.observe(side.db, APP)).held
    await raised(fence, side)
    assert (await fence.observe(side.db, APP)).held
    await fence.release()


async def test_a_short_transaction_ends_by_itself_and_its_rows_stay(side: Side) -> None:
    session = side.cluster.connect(side.name)
    session.execute("BEGIN; INSERT INTO log VALUES (1)")
    timer = threading.Timer(0.3, session.execute, ("COMMIT",))
    timer.start()
    fence = Fence()
    await raised(fence, side)
    timer.join()
    assert side.run("SELECT n FROM log") == [(1,)]
    await fence.release()
    session.close()


async def test_a_long_transaction_is_named_and_ended(side: Side) -> None:
    said: list[str] = []
    session = side.cluster.connect(side.name)
    session.execute("BEGIN; INSERT INTO log VALUES (1)")
    fence = Fence()
    await fence.raise_(side.db, APP, PREFIX, deadline_s=20, say=said.append)
    assert f"pid {session.info.backend_pid} postgres since" in said[0]
    assert "INSERT INTO log VALUES (1)" in said[0]
    assert side.run("SELECT n FROM log") == []
    await fence.release()
    with pytest.raises(psycopg.OperationalError):
        session.execute("COMMIT")
    session.close()


async def test_a_blocked_writer_does_not_write_when_the_locks_go(side: Side) -> None:
    fence = Fence()
    await raised(fence, side)
    outcome: list[str] = []

    def write() -> None:
        try:
            with side.cluster.connect(side.name) as session:
                session.execute("SET default_transaction_read_only = off; INSERT INTO log VALUES (1)")
                outcome.append("written")
        except psycopg.OperationalError as error:
            outcome.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    while not side.cluster.run("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'"):
        time.sleep(0.005)
    await fence.release()
    writer.join()
    assert "terminating connection" in outcome[0]
    assert side.run("SELECT n FROM log") == []


async def test_prepared_transactions_are_refused_before_anything_is_changed(side: Side) -> None:
    was = raw(side)
    with side.cluster.connect(side.name) as session:
        session.execute("BEGIN; INSERT INTO log VALUES (1); PREPARE TRANSACTION 'two phase'")
        with pytest.raises(FenceFailed, match="two phase; commit or roll back each first"):
            await raised(Fence(), side)
        assert raw(side) == was
        session.execute("ROLLBACK PREPARED 'two phase'")


async def test_every_kind_of_table_is_locked_and_ours_is_not(side: Side) -> None:
    side.run(
        'CREATE TABLE "Odd ""t" (); CREATE UNLOGGED TABLE u (); CREATE TABLE p (k int) PARTITION BY LIST (k); '
        "CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE child () INHERITS (log); CREATE SCHEMA switchover; "
        "CREATE TABLE switchover.run (); CREATE TEMP TABLE gone (); CREATE VIEW v AS SELECT 1; CREATE SCHEMA s; "
        "CREATE TABLE s.log ()"
    )
    fence = Fence()
    found = await raised(fence, side)
    locked = side.run(
        "SELECT relation::regclass::text FROM pg_locks WHERE mode = 'ShareLock' AND locktype = 'relation' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
    )
    assert [row[0] for row in locked] == ['"Odd ""t"', "child", "log", "p", "p1", "s.log", "u"]
    assert found.locks == 7
    await fence.release()


async def test_thousands_of_tables_are_locked(side: Side) -> None:
    side.run("DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$")
    fence = Fence()
    assert (await raised(fence, side)).locks == 1501
    await fence.release()


async def test_a_database_without_tables_can_be_fenced(side: Side) -> None:
    side.run("DROP TABLE log")
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    assert (await raised(fence, side)).locks == 0
    assert fence.held
    assert (await fence.prove(side.db, APP))[1:] == ("there is no table to write to",)
    await fence.lower(side.db, APP, before)


async def test_a_role_that_is_no_superuser_says_what_does_not_hold(side: Side) -> None:
    owner = side.role(f"owner_{side.name}")
    app = side.role(f"app_{side.name}")
    side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
    side.run(f"ALTER TABLE log OWNER TO {owner}")
    side.cluster.run(f"ALTER ROLE {app} SET default_transaction_read_only = off")
    db = Database.parse(side.cluster.conninfo(side.name, owner))
    was = raw(side)
    with side.cluster.connect(side.name) as admin, side.cluster.connect(side.name, owner) as session:
        fence = Fence()
        before = await fence.read_before(db, APP)
        found = await raised(fence, side, db)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        admin.execute("SELECT 1")
        said = "; ".join(found.not_in_force)
        assert found.layers == ("default_transaction_read_only = on", "SHARE locks on 1 tables")
        assert f"pid {admin.info.backend_pid} postgres could not be ended" in said
        assert f"role {app} overrides it: default_transaction_read_only=off" in said
        assert "no connection limit" in said
        assert len(await fence.prove(db, APP)) == 3
    await fence.lower(db, APP, before)
    assert raw(side) == was


async def test_a_table_that_may_not_be_locked_fails_the_fence_and_leaves_no_session(side: Side) -> None:
    owner = side.role(f"owner_{side.name}")
    side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
    db = Database.parse(side.cluster.conninfo(side.name, owner))
    fence = Fence()
    with pytest.raises(PostgresError, match="permission denied for table log"):
        await raised(fence, side, db)
    assert not fence.held
    while side.cluster.run(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{side.name}'"):
        time.sleep(0.005)


async def test_a_table_made_while_locks_are_awaited_is_locked_too(side: Side) -> None:
    session = side.cluster.connect(side.name)
    session.execute("BEGIN; INSERT INTO log VALUES (1)")

    def make() -> None:
        while not side.cluster.run("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'"):
            time.sleep(0.005)
        session.execute("CREATE TABLE late (); COMMIT")

    maker = threading.Thread(target=make)
    maker.start()
    fence = Fence()
    assert (await raised(fence, side)).locks == 2
    maker.join()
    session.close()
    await fence.release()


async def test_replication_goes_on_behind_the_fence(side: Side) -> None:
    """Whatever follows the source by WAL is no writer, and a copy that drains must not be cut."""
    with psycopg.connect(side.cluster.conninfo(side.name) + " replication=database", autocommit=True) as walsender:
        fence = Fence()
        before = await fence.read_before(side.db, APP)
        await raised(fence, side)
        assert walsender.execute("IDENTIFY_SYSTEM").fetchall()
        await fence.lower(side.db, APP, before)
