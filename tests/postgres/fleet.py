"""A fleet of writers that remembers what was acknowledged, and whole cutovers under it.

The oracle: each acknowledged write is there exactly once on the side that is live in the end, and the old side
has acknowledged nothing after the fence stood.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg

from switchover.children import Children
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database, connect
from switchover.postgres.copy import dump, restore
from switchover.postgres.errors import FenceFailed
from switchover.postgres.fence import Fence, Raised
from switchover.postgres.fence_before import FenceBefore
from switchover.postgres.fence_layers import fence_findings
from switchover.postgres.fence_proof import prove
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy, swap_in
from switchover.postgres.stream import stream
from tests.postgres.conftest import APP, PREFIX, Pair, Side, silent

OVERRIDE = "SET default_transaction_read_only = off"
INSERT = "INSERT INTO log VALUES ({n})"
PAUSE_S = 0.004
TRIES = 40


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write: as whom, with which words, and in which sessions."""

    name: str
    user: str
    write: str
    prelude: str = ""
    options: str = ""
    pooled: bool = False
    """A new session for each write."""
    after: str = ""
    """What acknowledges the write, when it is not the write itself: COMMIT PREPARED."""


def ways(owner: str, app: str, *, superuser: bool) -> tuple[Way, ...]:
    """The fleet; with a plan role that is no superuser there is none in it that such a role cannot hold off.

    Its preflight says so: sessions of superusers, and whoever makes large objects with an override.
    """
    prepare = "BEGIN READ WRITE; INSERT INTO log VALUES ({n}); PREPARE TRANSACTION '{gid}'"
    common = (
        Way("owner", owner, INSERT),
        Way("owner, read write", owner, "BEGIN READ WRITE; " + INSERT + "; COMMIT"),
        Way("role setting", app, INSERT),
        Way("PGOPTIONS", owner, INSERT, options="-c default_transaction_read_only=off"),
        Way("pool", app, INSERT, pooled=True),
        Way("pool, override", owner, INSERT, prelude=OVERRIDE, pooled=True),
        Way("function", app, "SELECT write_log({n})"),
    )
    if not superuser:
        return (
            *common,
            Way("prepared", owner, prepare, after="COMMIT PREPARED '{gid}'"),
            Way("large object", owner, "SELECT lo_from_bytea({n}, 'x')"),
        )
    return (
        *common,
        Way("superuser", "postgres", INSERT, prelude=OVERRIDE),
        Way("superuser, read write", "postgres", "BEGIN READ WRITE; " + INSERT + "; COMMIT", pooled=True),
        Way("prepared", "postgres", prepare, after="COMMIT PREPARED '{gid}'"),
        Way("large object", "postgres", "SELECT lo_put(lo_create({n}), 0, 'x')", prelude=OVERRIDE),
    )


class Writer(threading.Thread):
    """Writes in one way to whichever side is live, connecting again when it is cut."""

    def __init__(self, fleet: Fleet, way: Way, start: int) -> None:
        super().__init__(daemon=True)
        self.fleet, self.way, self.number = fleet, way, start
        self.acknowledged: dict[str, list[int]] = {}
        """By the name of the side that acknowledged it."""
        self.pending: int | None = None

    def run(self) -> None:
        while not self.fleet.stop.is_set():
            try:
                self._session(self.fleet.live)
            except psycopg.Error:
                self.fleet.stop.wait(PAUSE_S)

    def _session(self, side: Side) -> None:
        with side.cluster.connect(side.name, self.way.user, options=self.way.options) as session:
            if self.way.prelude:
                session.execute(self.way.prelude.encode())
            while not self.fleet.stop.is_set() and side is self.fleet.live:
                if self.pending is None:
                    self._write(session, side)
                if self.way.after:
                    self._confirm(session, side)
                self.fleet.stop.wait(PAUSE_S)
                if self.way.pooled:
                    return

    def _write(self, session: psycopg.Connection[tuple[object, ...]], side: Side) -> None:
        self.number += 1
        if self.way.after:
            self.pending = self.number
        session.execute(self.way.write.format(n=self.number, gid=f"{side.name} {self.number}").encode())
        if not self.way.after:
            self.acknowledged.setdefault(side.name, []).append(self.number)

    def _confirm(self, session: psycopg.Connection[tuple[object, ...]], side: Side) -> None:
        """Commit what was prepared, perhaps by a session that was cut; if it never was, it is no longer awaited."""
        number = self.pending
        assert number is not None
        self.fleet.stop.wait(PAUSE_S)
        try:
            session.execute(self.way.after.format(gid=f"{side.name} {number}").encode())
        except psycopg.errors.UndefinedObject:
            self.pending = None
            return
        self.pending = None
        self.acknowledged.setdefault(side.name, []).append(number)
        self.fleet.stop.wait(10 * PAUSE_S)


class Fleet:
    """The writers, and the side that is live."""

    def __init__(self, side: Side, ways: tuple[Way, ...]) -> None:
        self.live = side
        self.stop = threading.Event()
        self.writers = [Writer(self, way, 1_000_000 * number) for number, way in enumerate(ways, 1)]

    def __enter__(self) -> Fleet:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        cut(self.live)
        for writer in self.writers:
            writer.join(20)
            assert not writer.is_alive(), writer.way.name

    def acknowledged(self, side: Side) -> set[int]:
        return {number for writer in self.writers for number in list(writer.acknowledged.get(side.name, ()))}

    async def all_write(self, side: Side) -> None:
        """Wait until each writer has had one more write acknowledged by this side."""
        before = {writer: len(writer.acknowledged.get(side.name, ())) for writer in self.writers}
        async with asyncio.timeout(60):
            for writer in self.writers:
                while len(writer.acknowledged.get(side.name, ())) == before[writer]:
                    await asyncio.sleep(0.01)


def cut(side: Side) -> None:
    """End what clients have open there, as the end of the old host would."""
    side.cluster.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{side.name}' "
        f"AND NOT starts_with(application_name, '{PREFIX}')"
    )


def there(side: Side) -> Counter[int]:
    """Every row and large object of a side."""
    rows = side.run("SELECT n FROM log UNION ALL SELECT oid::int8 FROM pg_largeobject_metadata")
    return Counter(int(str(row[0])) for row in rows)


def settings(side: Side) -> list[tuple[object, ...]]:
    """What a fence could change for good, as the catalogs hold it."""
    queries = (
        "SELECT datname, datconnlimit, datallowconn, datacl::text, datdba FROM pg_database "
        f"WHERE datname = '{side.name}'",
        "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2",
        "SELECT rolname, rolconfig, rolcanlogin, rolconnlimit, rolsuper FROM pg_roles ORDER BY 1",
        "SELECT roleid, member, grantor, admin_option FROM pg_auth_members ORDER BY 1, 2, 3",
        "SELECT 1 FROM pg_class WHERE relname = 'switchover_attempt'",
    )
    return [row for query in queries for row in side.run(query)]


@dataclass(slots=True)
class Cutover:
    """One cutover of a pair under a fleet; undone before the target opens, or carried through."""

    pair: Pair
    superuser: bool
    undone: bool
    streams: bool = False
    """By which of the two ways it copies."""
    refusals: int = 0
    writes: int = 0

    def prepare(self) -> tuple[tuple[Way, ...], Database]:
        """Roles, tables and settings on the source; the fleet's ways, and the source as the plan's role sees it."""
        pair, tag = self.pair, self.pair.tag
        owner, app = f"owner_{tag}", f"app_{tag}"
        for side in (pair.source, pair.target):
            side.role(owner)
            side.role(app)
            side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
            side.cluster.run(f"GRANT CONNECT ON DATABASE {side.name} TO {app}")
            side.cluster.run(f"ALTER ROLE {app} IN DATABASE {side.name} {OVERRIDE}")
        source = pair.source
        source.cluster.run(f"ALTER DATABASE {source.name} CONNECTION LIMIT 50")
        source.cluster.run(f"ALTER DATABASE {source.name} SET work_mem = '9MB'")
        source.cluster.run(f"GRANT pg_signal_backend TO {owner}")
        source.run(
            "CREATE TABLE log (n int8); CREATE TABLE other (k serial PRIMARY KEY, v text); "
            "INSERT INTO other (v) SELECT md5(g::text) FROM generate_series(1, 500) g; "
            "CREATE FUNCTION write_log(n int8) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public "
            "AS $$ BEGIN INSERT INTO log VALUES (n); END $$; "
            f"GRANT INSERT ON log TO {app}; ALTER TABLE log OWNER TO {owner}; ALTER TABLE other OWNER TO {owner}; "
            f"ALTER FUNCTION write_log OWNER TO {owner}"
        )
        role = "postgres" if self.superuser else owner
        return ways(owner, app, superuser=self.superuser), Database.parse(source.cluster.conninfo(source.name, role))

    async def run(self) -> None:
        """The whole of it, and the oracle."""
        fleet_ways, db = self.prepare()
        weak = [each.id for each in await fence_findings(db, APP) if each.severity == "block"]
        assert weak == []
        source = self.pair.source
        was = settings(source)
        with Fleet(source, fleet_ways) as fleet:
            await fleet.all_write(source)
            fence = Fence()
            before = await fence.read_before(db, APP)
            await self._fenced(fence, db, before)
            frozen = there(source)
            await (self._undo(fence, db, before, fleet) if self.undone else self._through(fence, db, fleet))
        live = source if self.undone else self.pair.target
        self._judge(fleet, live, frozen)
        if self.undone:
            assert settings(source) == was

    async def _fenced(self, fence: Fence, db: Database, before: FenceBefore) -> Raised:
        """Raise and prove; a prepared transaction makes it fail, and everything is as before then."""
        for _ in range(TRIES):
            async with await connect(db, APP) as old:
                try:
                    raised = await fence.raise_(db, APP, PREFIX, deadline_s=3, say=lambda _: None)
                except FenceFailed as error:
                    if "prepared transaction" not in str(error):
                        raise
                    await fence.lower(db, APP, before)
                    self.refusals += 1
                    continue
                proof = await prove(db, APP, old, catalogs=raised.catalogs)
                assert any(line.startswith("BEGIN READ WRITE: refused as ") for line in proof.refused)
                return raised
        raise AssertionError("the fence was never raised")

    async def _undo(self, fence: Fence, db: Database, before: FenceBefore, fleet: Fleet) -> None:
        await fence.lower(db, APP, before)
        await fleet.all_write(self.pair.source)

    async def _through(self, fence: Fence, db: Database, fleet: Fleet) -> None:
        """Copy, compare, open the target, repoint the fleet; the fence is held until nobody is left on the old side."""
        pair = self.pair
        name = f"copy_{pair.tag}"
        await create_copy(pair.target.db, name, pair.plan_id, APP)
        await self._copy(db, name)
        # As the same kind of role on both sides: large objects are hashed in another form for a superuser.
        copy = Database.parse(pair.target.cluster.conninfo(name, dict(db.params)["user"]))
        found = await compare(db, copy, APP, on_progress=silent)
        assert found.differences == (), found.differences
        assert found.verdict is Verdict.SAME
        await swap_in(pair.target.db, name, f"aside_{pair.tag}", APP)
        fleet.live = pair.target
        writing = asyncio.create_task(fleet.all_write(pair.target))
        while not writing.done():
            await asyncio.to_thread(cut, pair.source)
            await asyncio.wait({writing}, timeout=0.2)
        await writing
        await fence.release()

    async def _copy(self, db: Database, name: str) -> None:
        copy = self.pair.target.db.named(name)
        tools = Tools(2, str(self.pair.target.cluster.bin), APP, Children())
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "copy"
            if self.streams:
                await stream(db, copy, folder, tools, snapshot=None, stamp="s", on_progress=silent)
            else:
                await dump(db, folder, tools, snapshot=None, on_progress=silent)
                await restore(folder, copy, tools, on_progress=silent)

    def _judge(self, fleet: Fleet, live: Side, frozen: Counter[int]) -> None:
        """Each acknowledged write once on the live side; the old side took none after the fence stood."""
        found = there(live)
        acknowledged = fleet.acknowledged(self.pair.source) | fleet.acknowledged(self.pair.target)
        assert [number for number in acknowledged if found[number] != 1] == []
        assert [number for number, times in found.items() if times != 1] == []
        if not self.undone:
            assert fleet.acknowledged(self.pair.source) <= frozen.keys()
            assert there(self.pair.source) == frozen
        self.writes = len(acknowledged)
