"""The fence: settings that refuse writes, locks that nobody can override, and the exact way back.

Layers, in order: the database's default_transaction_read_only, its connection limit (when we are superuser),
SHARE locks on every table, and on the catalogs where we may, held by one session, and the end of every other
client. A client may override the first, a superuser the second; the locks nobody can
(https://www.postgresql.org/docs/current/explicit-locking.html). ``fence_layers`` says beforehand which of them
we may raise, ``fence_proof`` tries afterwards whether they hold.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from switchover.postgres.carry import READ_ONLY, Access, is_on, set_access
from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import FenceFailed
from switchover.postgres.facts import write_mark
from switchover.postgres.fence_before import FenceBefore, read_fence_before
from switchover.postgres.fence_layers import read_overrides
from switchover.postgres.locks import Patience, end_waiters, hold_all
from switchover.postgres.sessions import end_and_wait, end_clients
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.locks import Name


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
    not_in_force: tuple[str, ...]
    """What does not hold, in words."""
    locks: int
    catalogs: bool
    """Whether new tables and large objects are locked out as well."""
    stood_at: datetime
    """When the locks stood, by the server's clock."""
    left: frozenset[int] = frozenset()
    """The pids of clients whom we may not end."""


@dataclass(slots=True)
class Fence:
    """One fence around one database; the locks live as long as this object's session."""

    mark: str = ""
    """The server's write mark right after the locks were held."""
    _session: AsyncConnection | None = field(default=None, init=False)
    _database: Database | None = field(default=None, init=False)
    _app: str = field(default="", init=False)
    _locked: frozenset[Name] = field(default=frozenset(), init=False)

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
                return await read_fence_before(session, name)

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
        FenceFailed naming who blocks when a lock is not granted within ``deadline_s`` seconds, or which prepared
        transaction could still be committed; the settings stay then, for ``lower`` to take back.
        """
        name = await database_name(db, app)
        ours = db.named(MAINTENANCE)
        with told(ours):
            async with await connect(ours, app) as session:
                await _refuse_prepared(session, name)
                limited = await _set_settings(session, name)
                ended: dict[str, None] = {}

                async def end() -> None:
                    ended.update(dict.fromkeys(who for _, who in (await end_clients(session, name, app_prefix))[0]))

                if not await self._still_held():
                    deadline = asyncio.get_running_loop().time() + deadline_s
                    await self._hold(db, app, session, Patience(deadline, say, end))
                stood_at = await _clock(session)
                last = await end_and_wait(session, name, app_prefix)
                ended.update(dict.fromkeys(last.who))
                # One that was prepared between the first look and the locks, on a table that was not there yet.
                await _refuse_prepared(session, name)
                self.mark = await write_mark(session)
                missing = (*last.stubborn, *await self._missing(session, name, limited))
        tables, catalogs = self._counted()
        return Raised(
            self._layers(limited), tuple(ended), missing, tables, catalogs > 0, stood_at=stood_at, left=last.left
        )

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
                after = await read_fence_before(session, name)
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
            self._locked = await hold_all(session, watcher, patience)
        except BaseException:
            await session.close()
            raise
        self._session, self._database, self._app = session, db, app

    def _counted(self) -> tuple[int, int]:
        """How many tables, and how many catalogs are locked."""
        catalogs = sum(schema == "pg_catalog" for schema, _ in self._locked)
        return len(self._locked) - catalogs, catalogs

    def _layers(self, limited: bool) -> tuple[str, ...]:
        tables, catalogs = self._counted()
        return (
            f"{READ_ONLY} = on",
            *(["connection limit 0"] if limited else []),
            f"SHARE locks on {count(tables, 'table')}",
            *(["SHARE locks against new tables and large objects"] if catalogs else []),
        )

    async def _missing(self, session: AsyncConnection, name: str, limited: bool) -> list[str]:
        """The layers that are absent, and who gets around those that are there."""
        missing = [
            f"role {each.role} overrides it: {each.setting}"
            for each in await read_overrides(session, name)
            if each.superuser or not limited
        ]
        if not limited:
            missing.append("no connection limit: it would bind this role too, which is no superuser")
        if not self._counted()[1]:
            missing.append("no lock against new tables and large objects: this role may not lock the catalogs")
        return missing


async def _set_settings(session: AsyncConnection, name: str) -> bool:
    """The settings' part of the fence; whether the limit is one of them."""
    superuser = session.info.parameter_status("is_superuser") == "on"
    now = await read_fence_before(session, name)
    wanted = now.read_only if is_on(now.read_only) else "on"
    await set_access(session, name, Access(0 if superuser else now.limit, wanted))
    return superuser


async def _clock(session: AsyncConnection) -> datetime:
    row = await (await session.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None  # always one row
    assert isinstance(row[0], datetime)
    return row[0]


async def _refuse_prepared(session: AsyncConnection, name: str) -> None:
    """Raise FenceFailed while a prepared transaction waits: nothing refuses its COMMIT PREPARED."""
    found = await session.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY prepared", (name,))
    gids = ", ".join(plain(row[0], 60) for row in (await found.fetchall())[:5])
    if gids:
        raise FenceFailed(f"prepared transactions wait in {plain(name, 100)}: {gids}; commit or roll back each first")
