"""The proof that the fence holds: writes are tried as each role that could, and each must be refused.

An attempt changes nothing, not even the server's write mark: it takes a lock that a write would take, or makes
what a refusal stops beforehand; what is let in is rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from switchover.postgres.carry import READ_ONLY
from switchover.postgres.connect import connect_anew, told
from switchover.postgres.errors import FenceFailed
from switchover.postgres.fence_layers import read_overrides
from switchover.postgres.together import all_of, both
from switchover.postgres.writers import Writer, read_writers
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

AT_ONCE = 4
"""Roles tried at the same time, each in a session of its own."""

PATIENCE = "5ms"
"""How long an attempt waits for a lock before it counts as refused."""

LARGE_OBJECTS_HELD = 160000
"""From this server on a read-only transaction makes no large object (release notes of PostgreSQL 16)."""

_OVERRIDE = "SET default_transaction_read_only = off"
_RESET = "RESET default_transaction_read_only"
_REFUSALS = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.LockNotAvailable)
_TEMPORARY = sql.SQL("CREATE TEMPORARY TABLE switchover_attempt ()")
_ANY_LARGE_OBJECT = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
_NEXTVAL = "SELECT CASE WHEN current_setting('transaction_read_only')::bool THEN nextval({}::regclass) END"
"""Taken only where it is certain to be refused: what nextval gives out is not rolled back."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried; each a line of words."""

    refused: tuple[str, ...]
    """A line for each way to write: as which roles it was refused."""
    not_covered: tuple[str, ...]
    """What no layer refuses here."""
    not_tried: tuple[str, ...]
    """The roles and ways that could not be tried, and why."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to write: its name in the proof, what the session is told first, and the attempt."""

    name: str
    before: str
    begin: str
    attempt: sql.SQL | sql.Composed


@dataclass(slots=True)
class _Trial:
    """One proof as it grows."""

    where: str
    superuser: bool
    read_only: bool
    """Whether our own new sessions are read-only unless they override it."""
    catalogs: bool
    large_objects: bool
    """Whether something refuses a new large object."""
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    not_covered: dict[str, None] = field(default_factory=dict)
    not_tried: list[str] = field(default_factory=list)

    async def make(self, session: AsyncConnection, role: str, way: _Way) -> None:
        """One attempt. Raises FenceFailed when it was let in."""
        try:
            says = await _attempt(session, way)
        except psycopg.Error as error:
            self.skip(session, role, f"{way.name}: ", error)
            return
        if says is None:
            raise FenceFailed(
                f"{self.where}: a write was accepted through {way.name} as {plain(role, 100)}; "
                "a role's own setting may win over the database's"
            )
        self.refused.setdefault(way.name, {})[plain(role, 100)] = says

    def skip(self, session: AsyncConnection, role: str, way: str, error: psycopg.Error) -> None:
        """Another refusal than the fence's proves nothing, and is said; a lost session is an error."""
        if session.closed:
            raise error
        self.not_tried.append(f"not tried as {plain(role, 100)}: {way}{plain(error.diag.message_primary or '', 150)}")

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(
            f"{way}: refused as {', '.join(sorted(roles))} ({next(iter(roles.values()))})"
            for way, roles in self.refused.items()
        )


async def prove(db: Database, app: str, old: AsyncConnection, *, catalogs: bool) -> Proof:
    """Try to write as every role that could, in new sessions and in ``old``, which was opened before the fence.

    ``catalogs``: whether new tables and large objects are locked out too; without it what makes them is tried
    without an override only. Raises FenceFailed when a write to a table is accepted. A setting of a role's own
    takes effect only when it logs in itself, so each role is tried with the override that such a setting is.
    """
    with told(db):
        async with await connect_anew(db, app) as session:
            trial = await _begin(db, session, catalogs)
            writers, columns = await read_writers(session)
        trial.not_tried += [f"not tried as {plain(each, 100)}: it may write single columns only" for each in columns]
        if not writers:
            trial.not_covered["no role that may log in could write to a table: none was tried"] = None
        if any(each.sequence is not None for each in writers):
            trial.not_covered["nextval: a client that overrides the setting can use numbers up"] = None
        waiting = list(reversed(writers))

        async def work() -> None:
            while waiting:
                writer = waiting.pop()
                async with await connect_anew(db, app) as session:
                    await _try(trial, session, writer, _ways(trial, writer))

        async def look_back() -> None:
            for writer in writers:
                await _try(trial, old, writer, (_Way("a session opened before", "", "BEGIN", _lock(writer)),))

        await both(look_back(), all_of(work() for _ in range(AT_ONCE)))
    return Proof(trial.words, tuple(trial.not_covered), tuple(trial.not_tried))


async def _begin(db: Database, session: AsyncConnection, catalogs: bool) -> _Trial:
    """A session like any client's, which the setting must hold; what it shows decides what can be tried further."""
    await session.execute(_RESET)
    row = await (await session.execute(f"SELECT current_setting('{READ_ONLY}'), current_user".encode())).fetchone()
    assert row is not None  # always one row
    superuser = session.info.parameter_status("is_superuser") == "on"
    large_objects = catalogs or session.info.server_version >= LARGE_OBJECTS_HELD
    trial = _Trial(db.where, superuser, row[0] == "on", catalogs, large_objects)
    overriding = {each.role for each in await read_overrides(session, session.info.dbname)}
    if trial.read_only or row[1] not in overriding:
        await trial.make(session, row[1], _Way("a new session", _RESET, "BEGIN", _TEMPORARY))
    else:
        trial.not_covered[f"a new session as {plain(row[1], 100)} is not read-only, by its own setting"] = None
    if not catalogs:
        trial.not_covered["a client that overrides the setting can make a new table or write a large object"] = None
    elif (await (await session.execute(_ANY_LARGE_OBJECT)).fetchone()) == (True,):
        trial.not_covered["a superuser that overrides the setting can write into an existing large object"] = None
    return trial


async def _try(trial: _Trial, session: AsyncConnection, writer: Writer, ways: Iterable[_Way]) -> None:
    """Become the role, try its ways, be ourselves again. A superuser becomes anybody, others what they belong to."""
    try:
        if trial.superuser:
            await session.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(writer.role)))
        if not trial.superuser or writer.acts_as != writer.role:
            await session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(writer.acts_as)))
    except psycopg.Error as error:
        trial.skip(session, writer.role, "", error)
        return
    for way in ways:
        if way.before:
            await session.execute(way.before.encode())
        await trial.make(session, writer.role, way)
    await session.execute("RESET SESSION AUTHORIZATION" if trial.superuser else "RESET ROLE")


def _ways(trial: _Trial, writer: Writer) -> Iterator[_Way]:
    """What a role tries in a new session: only what is refused before it begins may be more than a lock."""
    yield _Way("SET default_transaction_read_only = off", _OVERRIDE, "BEGIN", _lock(writer))
    yield _Way("BEGIN READ WRITE", _RESET, "BEGIN READ WRITE", _lock(writer))
    if writer.sequence is not None and trial.read_only:
        attempt = sql.SQL(_NEXTVAL).format(sql.Literal(writer.sequence))
        yield _Way("nextval without an override", _RESET, "BEGIN", attempt)
    if not (trial.catalogs or trial.read_only):
        return
    begin = "BEGIN READ WRITE" if trial.catalogs else "BEGIN"
    suffix = "" if trial.catalogs else " without an override"
    if writer.schema is not None:
        name = sql.Identifier(writer.schema, "switchover_attempt")
        yield _Way(f"CREATE TABLE{suffix}", _RESET, begin, sql.SQL("CREATE TABLE {} ()").format(name))
    if trial.large_objects:
        yield _Way(f"lo_create{suffix}", _RESET, begin, sql.SQL("SELECT lo_create(0)"))


def _lock(writer: Writer) -> sql.Composed:
    """What any INSERT, UPDATE or DELETE takes first."""
    return sql.SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE NOWAIT").format(sql.Identifier(*writer.table))


async def _attempt(session: AsyncConnection, way: _Way) -> str | None:
    """The server's words of refusal; None when it was let in. Rolled back in any case."""
    await session.execute(f"{way.begin}; SET LOCAL lock_timeout = '{PATIENCE}'".encode())
    try:
        await session.execute(way.attempt)
    except _REFUSALS as error:
        return plain(error.diag.message_primary or "", 100)
    finally:
        if not session.closed:
            await session.execute("ROLLBACK")
    return None
