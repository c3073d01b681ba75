"""The fence: settings that refuse writes, locks that nobody can override, and the exact way back.

Layers, in order: the database's default_transaction_read_only, its connection limit (when we are superuser),
SHARE locks on every table held by one session, and the end of every other client. A client may override the
first, a superuser the second; the locks nobody can
(https://www.postgresql.org/docs/current/explicit-locking.html).
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from switchover.postgres.carry import READ_ONLY, Access, entry, is_on, set_access
from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import FenceFailed, Refused
from switchover.postgres.facts import write_mark
from switchover.postgres.locks import TABLES, Patience, end_waiters, hold_all
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

GONE_PATIENCE_S = 15.0
LOOK_EVERY_S = 0.02

_BEFORE = """
SELECT d.datconnlimit, s.setconfig FROM pg_database d
LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 WHERE d.datname = %s
"""

_END = """
SELECT pid, coalesce(backend_start::text, ''), who, CASE WHEN may THEN pg_terminate_backend(pid) END FROM (
  SELECT a.pid, a.backend_start, trim(coalesce(a.usename, '') || ' ' || a.application_name) AS who,
         me.rolsuper OR (NOT coalesce(r.rolsuper, true) AND (pg_has_role(a.usesysid, 'USAGE')
                         OR pg_has_role('pg_signal_backend', 'USAGE'))) AS may
  FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid, pg_roles me
  WHERE me.rolname = current_user AND a.datname = %s AND a.usesysid IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.pid NOT IN (SELECT pid FROM pg_stat_replication)
  AND a.pid <> pg_backend_pid() AND NOT starts_with(a.application_name, %s)
) AS c
"""
"""Ends every client whom we may end: replication and autovacuum stay, and so do sessions of ours.

A role without pg_read_all_stats is not told the backend_type of others' sessions."""

_OVERRIDES = """
SELECT r.rolname, e.value FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS e(value)
WHERE starts_with(e.value, 'default_transaction_read_only=') AND (s.setdatabase = 0 OR d.datname = %s) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class FenceBefore:
    """The settings that the fence changes, as they were: what the way back restores, byte for byte."""

    limit: int
    settings: tuple[str, ...] | None
    """The database-wide row of pg_db_role_setting; None when there is none. Of every value but ours a hash only:
    applications keep keys in settings of their own, and this goes into the journal."""

    @classmethod
    def from_json(cls, data: dict[str, Json]) -> FenceBefore:
        settings = data.get("settings")
        return cls(
            int(str(data["limit"])),
            tuple(str(each) for each in settings) if isinstance(settings, list) else None,
        )

    def to_json(self) -> dict[str, Json]:
        saved: dict[str, Json] = {"limit": self.limit}
        return saved if self.settings is None else {**saved, "settings": list(self.settings)}

    @property
    def read_only(self) -> str | None:
        """The value of default_transaction_read_only as it is stored, if the database sets one."""
        return entry(self.settings, READ_ONLY)


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
    not_in_force: tuple[str, ...] = ()
    """What does not hold once the locks are gone, in words."""
    locks: int = 0


@dataclass(slots=True)
class Fence:
    """One fence around one database; the locks live as long as this object's session."""

    mark: str = ""
    """The server's write mark right after the locks were held."""
    _session: AsyncConnection | None = field(default=None, init=False)
    _database: Database | None = field(default=None, init=False)
    _app: str = field(default="", init=False)
    _locks: int = field(default=0, init=False)

    @property
    def held(self) -> bool:
        """Whether this object's session holds the locks, as far as is known without asking; ``observe`` asks."""
        return self._session is not None and not self._session.closed

    async def read_before(self, db: Database, app: str) -> FenceBefore:
        """The settings as they are now."""
        name = await database_name(db, app)
        ours = db.named(MAINTENANCE)
        with told(ours):
            async with await connect(ours, app) as session:
                return await _read(session, name)

    async def observe(self, db: Database, app: str) -> FenceSeen:
        """How the fence stands now; a lock session that the server has ended is no longer held."""
        now = await self.read_before(db, app)
        await self._still_held()
        return FenceSeen(is_on(now.read_only), now.limit, self.held)

    async def raise_(
        self, db: Database, app: str, app_prefix: str, *, deadline_s: float, say: Callable[[str], None]
    ) -> Raised:
        """Stop every write. Settings already in place are left alone, so that a repeat writes nothing.

        Short transactions may end by themselves; whoever stands in the way of a lock longer is ended. Raises
        FenceFailed naming who blocks when a lock is not granted within ``deadline_s`` seconds; the settings
        stay then, for ``lower`` to take back.
        """
        name = await database_name(db, app)
        ours = db.named(MAINTENANCE)
        with told(ours):
            async with await connect(ours, app) as session:
                await _refuse_prepared(session, name)
                superuser = session.info.parameter_status("is_superuser") == "on"
                now = await _read(session, name)
                limit = 0 if superuser else now.limit
                wanted = now.read_only if is_on(now.read_only) else "on"
                await set_access(session, name, Access(limit, wanted))
                ended: dict[str, None] = {}

                async def end() -> None:
                    ended.update(dict.fromkeys(who for _, who in (await _end_clients(session, name, app_prefix))[0]))

                if not await self._still_held():
                    deadline = asyncio.get_running_loop().time() + deadline_s
                    await self._hold(db, app, session, Patience(deadline, say, end))
                gone, stubborn = await _end_and_wait(session, name, app_prefix)
                ended.update(dict.fromkeys(gone))
                self.mark = await write_mark(session)
                missing = [*stubborn, *await _overrides(session, name)]
        layers = [f"{READ_ONLY} = on"]
        if superuser:
            layers.append("connection limit 0")
        else:
            missing.append("no connection limit: it would bind this role too, which is no superuser")
        layers.append(f"SHARE locks on {self._locks} tables")
        return Raised(tuple(layers), tuple(ended), tuple(missing), self._locks)

    async def prove(self, db: Database, app: str) -> tuple[str, ...]:
        """Try to write in the ways a client could; each must be refused, or FenceFailed is raised.

        An attempt that is let in writes nothing: it takes a lock or makes a temporary table, and is rolled back.
        """
        with told(db):
            async with await connect(db, app) as session:
                tables = await (await session.execute(f"{TABLES} LIMIT 1")).fetchall()
        words = [await _refused(db, app, "a new session", ("RESET default_transaction_read_only", "BEGIN"), _MAKE)]
        if not tables:
            return (*words, "there is no table to write to")
        insert = sql.SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE NOWAIT").format(sql.Identifier(*tables[0]))
        for how, before in (
            ("SET default_transaction_read_only = off", ("SET default_transaction_read_only = off", "BEGIN")),
            ("BEGIN READ WRITE", ("RESET default_transaction_read_only", "BEGIN READ WRITE")),
        ):
            words.append(await _refused(db, app, how, before, insert))
        return tuple(words)

    async def release(self) -> None:
        """Let the locks go, after ending whoever waits for them: a blocked writer must not write now."""
        if self._session is None:
            return
        session, self._session = self._session, None
        try:
            if self._database is not None and not session.closed:
                ours = self._database.named(MAINTENANCE)
                with told(ours):
                    async with await connect(ours, self._app) as other:
                        await end_waiters(other, session.info.backend_pid)
        finally:
            await session.close()

    async def lower(self, db: Database, app: str, before: FenceBefore) -> None:
        """Put the settings back exactly as they were, and verify it. Raises FenceFailed when they are not."""
        name = await database_name(db, app)
        await self.release()
        ours = db.named(MAINTENANCE)
        with told(ours):
            async with await connect(ours, app) as session:
                await set_access(session, name, Access(before.limit, before.read_only))
                after = await _read(session, name)
        if after != before:
            raise FenceFailed(
                f"{db.where}: the database's settings are {after.to_json()}, but were {before.to_json()} before the "
                "fence; put them back by hand, then run again"
            )

    async def _still_held(self) -> bool:
        """Ask the lock session whether it lives."""
        if self._session is None:
            return False
        try:
            await self._session.execute("SELECT 1")
        except psycopg.Error:
            session, self._session = self._session, None
            await session.close()
        return self.held

    async def _hold(self, db: Database, app: str, watcher: AsyncConnection, patience: Patience) -> None:
        session = await connect(db, app)
        try:
            self._locks = await hold_all(session, watcher, patience)
        except BaseException:
            await session.close()
            raise
        self._session, self._database, self._app = session, db, app


_MAKE = sql.SQL("CREATE TEMPORARY TABLE switchover_attempt ()")


async def _read(session: AsyncConnection, name: str) -> FenceBefore:
    row = await (await session.execute(_BEFORE, (name,))).fetchone()
    if row is None:
        raise Refused(f"there is no database {plain(name, 100)} on the server any more")
    return FenceBefore(row[0], tuple(_veiled(each) for each in row[1]) if row[1] is not None else None)


def _veiled(setting: str) -> str:
    name, _, value = setting.partition("=")
    return setting if name == READ_ONLY else f"{name}=#{hashlib.sha256(value.encode()).hexdigest()[:16]}"


async def _refuse_prepared(session: AsyncConnection, name: str) -> None:
    """A prepared transaction outlives every session and would write behind the fence."""
    found = await session.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY prepared", (name,))
    gids = ", ".join(plain(row[0], 60) for row in (await found.fetchall())[:5])
    if gids:
        raise FenceFailed(f"prepared transactions wait in {plain(name, 100)}: {gids}; commit or roll back each first")


async def _overrides(session: AsyncConnection, name: str) -> list[str]:
    """Roles whose own setting wins over the database's."""
    rows = await (await session.execute(_OVERRIDES, (name,))).fetchall()
    return [f"role {plain(role, 100)} overrides it: {plain(value, 100)}" for role, value in rows if value[-3:] != "=on"]


async def _end_clients(
    session: AsyncConnection, name: str, app_prefix: str
) -> tuple[set[tuple[tuple[int, str], str]], list[str]]:
    """End every client but ours; who was ended, by process, and in words who may not be."""
    ended, stubborn = set(), []
    for pid, since, who, done in await (await session.execute(_END, (name, app_prefix))).fetchall():
        if done is None:
            stubborn.append(f"pid {pid} {plain(who, 100)} could not be ended: only a superuser may")
        else:
            ended.add(((pid, since), plain(who, 100)))
    return ended, stubborn


async def _end_and_wait(session: AsyncConnection, name: str, app_prefix: str) -> tuple[list[str], list[str]]:
    """End who is connected at this moment and wait until they are gone; newcomers meet every layer at once."""
    first, stubborn = await _end_clients(session, name, app_prefix)
    deadline = asyncio.get_running_loop().time() + GONE_PATIENCE_S
    left = first
    while left:
        left = first & (await _end_clients(session, name, app_prefix))[0]
        if left and asyncio.get_running_loop().time() > deadline:
            pids = ", ".join(str(pid) for (pid, _), _ in sorted(left))
            raise FenceFailed(f"sessions of {plain(name, 100)} do not end: pid {pids}")
        await asyncio.sleep(LOOK_EVERY_S if left else 0)
    return [who for _, who in sorted(first)], stubborn


async def _refused(db: Database, app: str, how: str, before: tuple[str, ...], attempt: sql.SQL | sql.Composed) -> str:
    with told(db):
        async with await connect(db, app) as session:
            for statement in before:
                await session.execute(statement.encode())
            try:
                await session.execute(attempt)
            except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.LockNotAvailable) as error:
                return f"{how}: {plain(error.diag.message_primary or '', 100)}"
            await session.execute("ROLLBACK")
    raise FenceFailed(
        f"{db.where}: a write was accepted through {how}; a role's own setting may win over the database's"
    )
