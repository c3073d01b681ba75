"""The fence: settings that refuse writes, locks that nobody can override, and the exact way back.

Layers, in order: the database's default_transaction_read_only, its connection limit (when we are superuser),
SHARE locks on every table held by one session, and the end of every other client. A client may override the
first two; the locks it cannot (https://www.postgresql.org/docs/current/explicit-locking.html).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import FenceFailed, PostgresError
from switchover.postgres.facts import write_mark
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

READ_ONLY = "default_transaction_read_only"
LOCK_PATIENCE = "2s"
PAUSE_S = 0.5

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class FenceBefore:
    """The settings that the fence changes, as they were: what the way back restores, byte for byte."""

    limit: int
    settings: tuple[str, ...] | None
    """The database-wide row of pg_db_role_setting; None when there is none."""

    @classmethod
    def from_json(cls, data: dict[str, Json]) -> FenceBefore:
        settings = data.get("settings")
        return cls(
            int(str(data["limit"])),
            tuple(str(each) for each in settings) if isinstance(settings, list) else None,
        )

    def to_json(self) -> dict[str, Json]:
        saved = asdict(self)
        return (
            {"limit": saved["limit"], "settings": list(self.settings)}
            if self.settings is not None
            else {"limit": self.limit}
        )

    @property
    def read_only(self) -> str | None:
        """The value of default_transaction_read_only, if the database sets one."""
        for each in self.settings or ():
            name, _, value = each.partition("=")
            if name == READ_ONLY:
                return value
        return None


@dataclass(frozen=True, slots=True)
class FenceSeen:
    """How the fence stands."""

    read_only: bool
    limit: int
    held: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """What the fence consists of now."""

    layers: tuple[str, ...]
    ended: tuple[str, ...]


@dataclass(slots=True)
class Fence:
    """One fence around one database; the locks live as long as this object's session."""

    mark: str = ""
    """The server's write mark right after the locks were held."""
    _session: AsyncConnection | None = field(default=None, init=False)
    _database: Database | None = field(default=None, init=False)
    _app: str = field(default="", init=False)

    @property
    def held(self) -> bool:
        """Whether this object's session holds the locks."""
        return self._session is not None and not self._session.closed

    async def read_before(self, db: Database, app: str) -> FenceBefore:
        """The settings as they are now."""
        name = await database_name(db, app)
        with told(db):
            async with await connect(db.named(MAINTENANCE), app) as session:
                return await _read(session, name)

    async def observe(self, db: Database, app: str) -> FenceSeen:
        """How the fence stands now; a lock session that the server has ended is no longer held."""
        now = await self.read_before(db, app)
        if self._session is not None:
            try:
                await self._session.execute("SELECT 1")
            except psycopg.OperationalError:
                self._session = None
        return FenceSeen(now.read_only == "on", now.limit, self.held)

    async def raise_(
        self, db: Database, app: str, app_prefix: str, *, deadline_s: float, say: Callable[[str], None]
    ) -> Raised:
        """Stop every write. Settings already in place are left alone, so that a repeat writes nothing.

        Raises FenceFailed naming who blocks when a lock is not granted within ``deadline_s`` seconds.
        """
        name = await database_name(db, app)
        layers = [f"{READ_ONLY} = on"]
        with told(db):
            async with await connect(db.named(MAINTENANCE), app) as session:
                now = await _read(session, name)
                if now.read_only != "on":
                    await session.execute(
                        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name))
                    )
                if session.info.parameter_status("is_superuser") == "on":
                    layers.append("connection limit 0")
                    if now.limit != 0:
                        await session.execute(
                            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(name))
                        )
                ended = await _end_clients(session, name, app_prefix)
                locked = await self._lock(db, app, session, deadline_s, say)
                ended += await _end_clients(session, name, app_prefix)
                assert self._session is not None  # noqa: S101  the locks were just taken
                self.mark = await write_mark(session)
        layers.append(f"SHARE locks on {locked} tables")
        return Raised(tuple(layers), tuple(ended))

    async def _lock(
        self, db: Database, app: str, watcher: AsyncConnection, deadline_s: float, say: Callable[[str], None]
    ) -> int:
        await self.release()
        session = await connect(db, app)
        deadline = asyncio.get_running_loop().time() + deadline_s
        tables = await (await session.execute(_TABLES)).fetchall()
        while True:
            try:
                await session.execute("BEGIN READ WRITE")
                await session.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_PATIENCE)))
                for schema, table in tables:
                    await session.execute(
                        sql.SQL("LOCK TABLE ONLY {} IN SHARE MODE").format(sql.Identifier(schema, table))
                    )
                break
            except psycopg.errors.LockNotAvailable:
                await session.execute("ROLLBACK")
                blockers = await _writers(watcher, db, app)
                say(f"waiting for a lock: {blockers}")
                if asyncio.get_running_loop().time() > deadline:
                    await session.close()
                    raise FenceFailed(f"{db.where}: no lock within {deadline_s:g} s; held up by {blockers}") from None
                await asyncio.sleep(PAUSE_S)
            except psycopg.errors.OutOfMemory:
                await session.close()
                raise FenceFailed(
                    f"{db.where}: {len(tables)} tables do not fit the lock table: raise max_locks_per_transaction"
                ) from None
        self._session, self._database, self._app = session, db, app
        return len(tables)

    async def prove(self, db: Database, app: str) -> tuple[str, ...]:
        """Try to write in the ways a client could; each must be refused, or FenceFailed is raised."""
        tables = []
        with told(db):
            async with await connect(db, app) as session:
                tables = await (await session.execute(f"{_TABLES} LIMIT 1")).fetchall()
        if not tables:
            return ("no table to write to",)
        table = sql.Identifier(*tables[0])
        insert = sql.SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE NOWAIT").format(table)
        attempts = (
            ("a new session", ("RESET default_transaction_read_only", "BEGIN")),
            ("SET default_transaction_read_only = off", ("SET default_transaction_read_only = off", "BEGIN")),
            ("BEGIN READ WRITE", ("RESET default_transaction_read_only", "BEGIN READ WRITE")),
        )
        return tuple([await _refused(db, app, how, before, insert) for how, before in attempts])

    async def release(self) -> None:
        """Let the locks go, after ending whoever waits for them: a blocked writer must not write now."""
        if self._session is None:
            return
        session, self._session = self._session, None
        if self._database is not None and not session.closed:
            with told(self._database):
                async with await connect(self._database.named(MAINTENANCE), self._app) as other:
                    await other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
                        (session.info.backend_pid,),
                    )
        await session.close()

    async def lower(self, db: Database, app: str, before: FenceBefore) -> None:
        """Put the settings back exactly as they were, and verify it. Raises FenceFailed when they are not."""
        name = await database_name(db, app)
        await self.release()
        with told(db):
            async with await connect(db.named(MAINTENANCE), app) as session:
                now = await _read(session, name)
                base = sql.Identifier(name)
                if now.read_only != before.read_only:
                    if before.read_only is None:
                        await session.execute(
                            sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(base)
                        )
                    else:
                        await session.execute(
                            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                                base, sql.Literal(before.read_only)
                            )
                        )
                if now.limit != before.limit:
                    await session.execute(
                        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(base, sql.Literal(before.limit))
                    )
                after = await _read(session, name)
        if after != before:
            raise FenceFailed(
                f"{db.where}: settings are {after.to_json()}, were {before.to_json()}; put them back by hand"
            )


async def _read(session: AsyncConnection, name: str) -> FenceBefore:
    found = await session.execute(
        "SELECT d.datconnlimit, s.setconfig FROM pg_database d "
        "LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 WHERE d.datname = %s",
        (name,),
    )
    row = await found.fetchone()
    if row is None:
        raise PostgresError(f"there is no database {plain(name, 100)} on the server any more")
    return FenceBefore(row[0], tuple(row[1]) if row[1] is not None else None)


async def _end_clients(session: AsyncConnection, name: str, app_prefix: str) -> list[str]:
    """End every client of the database but ours; replication and autovacuum stay."""
    found = await session.execute(
        "SELECT usename || ' ' || application_name, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND backend_type = 'client backend' AND NOT starts_with(application_name, %s)",
        (name, app_prefix),
    )
    return [plain(who or "", 100) for who, _ in await found.fetchall()]


async def _writers(session: AsyncConnection, db: Database, app: str) -> str:
    """Who has an open transaction in the database, oldest first."""
    name = await database_name(db, app)
    found = await session.execute(
        "SELECT pid, usename, extract(epoch FROM now() - xact_start)::int, query FROM pg_stat_activity "
        "WHERE datname = %s AND xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL "
        "ORDER BY xact_start LIMIT 5",
        (name,),
    )
    rows = await found.fetchall()
    return (
        "; ".join(f"pid {pid} {user} since {age} s: {plain(query, 80)}" for pid, user, age, query in rows)
        or "nobody now"
    )


async def _refused(db: Database, app: str, how: str, before: tuple[str, ...], attempt: sql.Composed) -> str:
    with told(db):
        async with await connect(db, app) as session:
            for statement in before:
                await session.execute(statement)
            try:
                await session.execute(attempt)
            except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.LockNotAvailable) as error:
                return f"{how}: {plain(error.diag.message_primary or '', 100)}"
    raise FenceFailed(f"{db.where}: a write was accepted through {how}")
