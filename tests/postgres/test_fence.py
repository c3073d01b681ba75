"""Each promise of the fence on its own, on PostgreSQL 15, 16 and 18."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.errors import FenceFailed, PostgresError, Unreachable
from switchover.postgres.fence import Fence, Raised
from switchover.postgres.fence_before import FenceBefore
from switchover.postgres.fence_proof import Proof, prove
from switchover.postgres.sessions import came_back, clients
from tests.postgres.conftest import APP, PREFIX, Pair, Side, clean

SERVERS = {15: "oldest_server", 16: "old_server", 18: "new_server"}


every_server = pytest.mark.parametrize("side", SERVERS, indirect=True)
"""For what depends on the version: 15 refuses no large object by the setting, 17 knows MAINTAIN."""


@pytest.fixture(params=[16, 18])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """A source on one of the servers, with one table."""
    tag = uuid.uuid4().hex[:10]
    side = Side(request.getfixturevalue(SERVERS[request.param]), f"side_{tag}")
    side.run("CREATE TABLE log (n int)")
    yield side
    clean(Pair(side, side, tag))


def raw(side: Side) -> list[tuple[object, ...]]:
    """What the fence changes, as the catalogs hold it."""
    return side.cluster.run(
        "SELECT datconnlimit, setrole, setconfig FROM pg_database d LEFT JOIN pg_db_role_setting s "
        f"ON s.setdatabase = d.oid WHERE datname = '{side.name}' ORDER BY 2"
    )


async def raised(fence: Fence, side: Side, db: Database | None = None) -> Raised:
    return await fence.raise_(db or side.db, APP, PREFIX, deadline_s=10, say=lambda _: None)


async def proved(db: Database, *, catalogs: bool = True) -> Proof:
    """The proof with an old session of our own, which the fence has never told anything."""
    async with await connect(db, APP) as old:
        return await prove(db, APP, old, catalogs=catalogs)


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


@every_server
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
    assert (await proved(side.db)).not_tried == ()
    for writer in writers:
        writer.stop.set()
    await fence.release()
    for writer in writers:
        writer.join()
    assert set[int]().union(*(writer.acknowledged for writer in writers)) <= there
    assert {row[0] for row in side.run("SELECT n FROM log")} == there
    await fence.lower(side.db, APP, before)
    assert raw(side) == settings


@every_server
async def test_each_layer_is_said_and_each_attempt_is_refused_by_its_own(side: Side) -> None:
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    session = side.cluster.connect(side.name, application_name="shop")
    found = await raised(fence, side)
    assert found.layers == (
        "default_transaction_read_only = on",
        "connection limit 0",
        "SHARE locks on 1 table",
        "SHARE locks against new tables and large objects",
    )
    assert (found.ended, found.not_in_force, found.locks, found.catalogs) == (("postgres shop",), (), 1, True)
    session.close()
    locked = 'could not obtain lock on relation "public.log"'
    assert dict(line.split(": refused as postgres ") for line in (await proved(side.db)).refused) == {
        "a new session": "(cannot execute CREATE TABLE in a read-only transaction)",
        "a session opened before": f"({locked})",
        "SET default_transaction_read_only = off": f"({locked})",
        "BEGIN READ WRITE": f"({locked})",
        "CREATE TABLE": "(canceling statement due to lock timeout)",
        "lo_create": "(canceling statement due to lock timeout)",
    }
    seen = await fence.observe(side.db, APP)
    assert (seen.read_only, seen.limit, seen.held) == (True, 0, True)
    assert side.run("SELECT count(*) FROM log") == [(0,)]
    await fence.lower(side.db, APP, before)
    assert not fence.held
    side.run("INSERT INTO log VALUES (1)")


async def test_a_write_that_gets_through_is_an_error(side: Side) -> None:
    """Without the locks a client overrides the setting; without the setting a plain client writes."""
    with pytest.raises(FenceFailed, match="accepted through a new session as postgres"):
        await proved(side.db)
    side.cluster.run(f"ALTER DATABASE {side.name} SET default_transaction_read_only = on")
    with pytest.raises(FenceFailed, match=r"accepted through (SET|a session opened before)"):
        await proved(side.db)
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
    assert before.settings is not None
    side.cluster.run(f"ALTER DATABASE {side.name} SET app.second = 'canary'")
    (first, second) = (await fence.read_before(side.db, APP)).settings or ()
    assert before.settings == (first,)
    assert first.partition("=#")[2] != second.partition("=#")[2], "equal values are not seen to be equal"
    side.cluster.run(f"ALTER DATABASE {side.name} RESET app.second")
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
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND relation >= 16384 ORDER BY 1"
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
    assert (await proved(side.db)).not_covered == ("no role that may log in could write to a table: none was tried",)
    await fence.lower(side.db, APP, before)


def owned(side: Side) -> tuple[str, Database]:
    """Give the database and its table to a role of their own, which is no superuser."""
    owner = side.role(f"owner_{side.name}")
    side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
    side.run(f"ALTER TABLE log OWNER TO {owner}; ALTER SCHEMA public OWNER TO {owner}")
    return owner, Database.parse(side.cluster.conninfo(side.name, owner))


@every_server
async def test_a_role_that_is_no_superuser_says_what_does_not_hold(side: Side) -> None:
    owner, db = owned(side)
    app = side.role(f"app_{side.name}")
    side.cluster.run(f"ALTER ROLE {app} SET default_transaction_read_only = off")
    was = raw(side)
    with side.cluster.connect(side.name) as admin, side.cluster.connect(side.name, owner) as session:
        fence = Fence()
        before = await fence.read_before(db, APP)
        found = await raised(fence, side, db)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        admin.execute("SELECT 1")
        said = "; ".join(found.not_in_force)
        assert found.layers == ("default_transaction_read_only = on", "SHARE locks on 1 table")
        assert not found.catalogs
        assert found.left == {admin.info.backend_pid}
        assert f"pid {admin.info.backend_pid} postgres could not be ended" in said
        assert f"role {app} overrides it: default_transaction_read_only=off" in said
        assert "no connection limit" in said
        assert "no lock against new tables" in said
        assert "not tried as postgres: permission denied" in "; ".join((await proved(db, catalogs=False)).not_tried)
    await fence.lower(db, APP, before)
    assert raw(side) == was


@every_server
async def test_an_owners_fence_ends_other_roles_only_with_the_signal_role(side: Side) -> None:
    """Without it a writer's open session stays, and its write waits for the locks."""
    owner, db = owned(side)
    app = side.role(f"app_{side.name}")
    side.run(f"GRANT INSERT ON log TO {app}")
    was = raw(side)
    fence = Fence()
    before = await fence.read_before(db, APP)
    with side.cluster.connect(side.name, app, application_name="shop") as writer:
        found = await raised(fence, side, db)
        assert found.ended == ()
        assert f"pid {writer.info.backend_pid} {app} shop could not be ended" in "; ".join(found.not_in_force)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            writer.execute("SET lock_timeout = '20ms'; INSERT INTO log VALUES (1)")
        side.cluster.run(f"GRANT pg_signal_backend TO {owner}")
        assert (await raised(fence, side, db)).ended == (f"{app} shop",)
        with pytest.raises(psycopg.OperationalError):
            writer.execute("SELECT 1")
    await fence.lower(db, APP, before)
    assert raw(side) == was
    assert side.run("SELECT * FROM log") == []


@every_server
async def test_who_comes_back_to_an_owners_fence_is_seen_and_cannot_write(side: Side) -> None:
    owner, db = owned(side)
    app = side.role(f"app_{side.name}")
    side.run(f"GRANT INSERT ON log TO {app}")
    side.cluster.run(f"GRANT pg_read_all_stats, pg_signal_backend TO {owner}")
    fence = Fence()
    before = await fence.read_before(db, APP)
    with side.cluster.connect(side.name) as stayed, side.cluster.connect(side.name, app, application_name="pool"):
        found = await raised(fence, side, db)
        with side.cluster.connect(side.name, app, application_name="pool") as again:
            (back,) = came_back(await clients(db, APP, PREFIX), found.stood_at, found.left)
            assert (back.pid, back.user, back.application_name) == (again.info.backend_pid, app, "pool")
            assert back.address == "127.0.0.1"
            with pytest.raises(psycopg.errors.LockNotAvailable):
                again.execute("SET lock_timeout = '20ms'; INSERT INTO log VALUES (1)")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                again.execute("CREATE TEMP TABLE mine ()")
        assert found.left == {stayed.info.backend_pid}
    await fence.lower(db, APP, before)


async def test_a_lock_that_is_never_granted_names_who_holds_it_and_the_way_back_is_exact(side: Side) -> None:
    """An owner may not end a superuser, so nobody can make the lock free."""
    _, db = owned(side)
    was = raw(side)
    said: list[str] = []
    fence = Fence()
    before = await fence.read_before(db, APP)
    with side.cluster.connect(side.name) as holder:
        holder.execute("BEGIN; LOCK TABLE log IN ACCESS EXCLUSIVE MODE")
        blocker = f"held up by pid {holder.info.backend_pid} postgres since a time we are not told"
        with pytest.raises(FenceFailed, match=blocker):
            await fence.raise_(db, APP, PREFIX, deadline_s=0.1, say=said.append)
        assert blocker in said[0]
        assert not fence.held
        await fence.lower(db, APP, before)
        assert raw(side) == was
        holder.execute("INSERT INTO log VALUES (1); COMMIT")


async def test_a_server_that_is_restarted_keeps_the_settings_and_loses_the_locks(side: Side) -> None:
    side.cluster.run(f"ALTER DATABASE {side.name} CONNECTION LIMIT 7")
    was = raw(side)
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    await raised(fence, side)
    side.cluster.stop()
    with pytest.raises(Unreachable):
        await fence.observe(side.db, APP)
    side.cluster.start()
    seen = await fence.observe(side.db, APP)
    assert (seen.read_only, seen.limit, seen.held) == (True, 0, False)
    await raised(fence, side)
    side.cluster.restart()
    await fence.lower(side.db, APP, before)
    assert raw(side) == was


async def test_a_transaction_prepared_while_locks_are_awaited_is_refused(side: Side) -> None:
    """It made a table that nobody sees yet, so that no lock could wait for it."""
    side.cluster.run(f"ALTER DATABASE {side.name} SET work_mem = '9MB'")
    was = raw(side)
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    holder, maker = side.cluster.connect(side.name), side.cluster.connect(side.name)
    holder.execute("BEGIN; INSERT INTO log VALUES (1)")
    maker.execute("BEGIN; CREATE TABLE late (); SET LOCAL lock_timeout = 0")
    with pytest.raises(FenceFailed, match=r"prepared transactions wait in .*: hidden; commit or roll back"):
        await fence.raise_(
            side.db, APP, PREFIX, deadline_s=10, say=lambda _: maker.execute("PREPARE TRANSACTION 'hidden'") and None
        )
    await fence.lower(side.db, APP, before)
    assert raw(side) == was
    side.run("ROLLBACK PREPARED 'hidden'")
    holder.close()
    maker.close()


async def test_a_waiter_whom_we_may_not_end_does_not_save_the_others(side: Side) -> None:
    owner, db = owned(side)
    fence = Fence()
    before = await fence.read_before(db, APP)
    await raised(fence, side, db)
    outcome: dict[str, str] = {}

    def write(user: str, number: int) -> None:
        try:
            with side.cluster.connect(side.name, user) as session:
                session.execute(f"BEGIN READ WRITE; INSERT INTO log VALUES ({number}); COMMIT".encode())
                outcome[user] = "written"
        except psycopg.OperationalError:
            outcome[user] = "ended"

    writers = [threading.Thread(target=write, args=who) for who in (("postgres", 1), (owner, 2))]
    for writer in writers:
        writer.start()
    while side.cluster.run("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'") != [(2,)]:
        time.sleep(0.005)
    await fence.release()
    for writer in writers:
        writer.join()
    assert outcome == {"postgres": "written", owner: "ended"}
    await fence.lower(db, APP, before)


@every_server
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


@every_server
async def test_replication_goes_on_behind_the_fence(side: Side) -> None:
    """Whatever follows the source by WAL is no writer, and a copy that drains must not be cut."""
    with psycopg.connect(side.cluster.conninfo(side.name) + " replication=database", autocommit=True) as walsender:
        fence = Fence()
        before = await fence.read_before(side.db, APP)
        await raised(fence, side)
        assert walsender.execute("IDENTIFY_SYSTEM").fetchall()
        await fence.lower(side.db, APP, before)
