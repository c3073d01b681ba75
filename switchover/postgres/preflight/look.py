"""What one look at one side tells: facts to be held against the other side's, and its own findings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.postgres.catalog import LOCALE
from switchover.postgres.connect import MAINTENANCE, connect, told
from switchover.postgres.errors import PostgresError
from switchover.postgres.facts import ServerFacts, read_facts
from switchover.postgres.finding import Finding
from switchover.postgres.globals.catalog import OWNERS
from switchover.postgres.globals.roles import SINCE_ADMIN
from switchover.postgres.preflight.attached import jobs_in
from switchover.postgres.preflight.catalog import RELATION
from switchover.postgres.preflight.check import Check, Side, ask, unseen
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

TRIES = 3

_LOCALE = f"SELECT {LOCALE} FROM pg_database d WHERE d.datname = current_database()"
_SORTED_BY = "SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()"

_SETTINGS = """
SELECT s.name, s.reset_val FROM pg_settings s WHERE s.name = ANY(%s) AND NOT EXISTS (
  SELECT FROM pg_db_role_setting r, unnest(r.setconfig) e WHERE split_part(e, '=', 1) = s.name
  AND (r.setrole = 0 OR r.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user))
  AND (r.setdatabase = 0 OR r.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""
"""The server's own: what is set for a database or a role is carried over with it. Our sessions pin many of them, so
it is the value a RESET would give that counts."""

_INSTALLED = "SELECT extname, extversion FROM pg_extension"
_OFFERED = """
SELECT a.name, a.default_version, coalesce(bool_or(v.superuser AND NOT v.trusted), true),
  a.installed_version IS NOT NULL
FROM pg_available_extensions a
LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version GROUP BY 1, 2, 4
"""
_CONNECTIONS = """
SELECT current_setting('max_connections')::int, (SELECT count(*)::int FROM pg_stat_activity
  WHERE usesysid IS NOT NULL AND NOT starts_with(application_name, 'switchover'))
"""
_ROLES = "SELECT rolname, rolsuper, pg_has_role(oid, 'USAGE') AND pg_has_role(oid, {can_set}) FROM pg_roles"
_SELF = """
SELECT r.rolcreaterole, coalesce(string_to_array(replace(current_setting('createrole_self_grant', true), ' ', ''), ',')
  @> '{set,inherit}', false) FROM pg_roles r WHERE r.rolname = current_user
"""
_LOCKS = f"""
SELECT ARRAY[count(*) FILTER (WHERE c.relkind IN ('r', 'p')), count(*) FILTER (WHERE c.relkind IN ('i', 'I'))],
  current_setting('max_locks_per_transaction')::int8
    * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8)
FROM {RELATION}
"""
_COLLATIONS = """
SELECT DISTINCT ON (name) * FROM (SELECT c.oid::regcollation::text AS name, c.collprovider::text,
  coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate),
  pg_collation_actual_version(c.oid) AS version
FROM pg_collation c WHERE c.collprovider IN ('c', 'i') {used}) AS v WHERE version IS NOT NULL ORDER BY name
"""
_USED = "AND EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid AND a.attrelid >= 16384)"
_STANDBYS = "SELECT count(*)::int FROM pg_stat_replication WHERE state = 'streaming'"

APPLICATION = (
    *("TimeZone", "DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits", "xmlbinary", "xmloption"),
    *("lc_messages", "lc_monetary", "lc_numeric", "lc_time", "search_path", "default_text_search_config"),
    *(
        "standard_conforming_strings",
        "backslash_quote",
        "array_nulls",
        "transform_null_equals",
        "quote_all_identifiers",
    ),
    *("default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"),
    *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "row_security", "synchronous_commit"),
    *("default_table_access_method", "default_tablespace", "session_replication_role", "password_encryption"),
)
"""Settings that change what an application sees, or how long it may take."""

SERVER = ("data_checksums", "archive_mode", "shared_preload_libraries", "server_encoding", "max_wal_size")


@dataclass(frozen=True, slots=True)
class Extension:
    """One that a server offers."""

    version: str
    superuser_only: bool
    installed: bool


@dataclass(frozen=True, slots=True)
class Collation:
    """One that is not the database's own."""

    name: str
    provider: str
    locale: str
    version: str
    """That of the library which sorts now."""


@dataclass(frozen=True, slots=True)
class Other:
    """A role of a server, as ours there stands to it."""

    superuser: bool
    ours: bool
    """Whether our role may do what it may, and give things to it."""


@dataclass(frozen=True, slots=True)
class Look:
    """One side as a connection shows it."""

    side: Side
    facts: ServerFacts
    locale: tuple[str | None, ...]
    """collate, ctype, provider, ICU's or the provider's own name, rules of ICU."""
    sorted_by: str | None
    """The version of the library that sorts; None where it has none, or cannot be asked."""
    settings: dict[str, str]
    installed: dict[str, str]
    offered: dict[str, Extension] = field(repr=False)
    connections: int
    in_use: int
    relations: tuple[int, int]
    """Tables and indexes of users."""
    locks: int
    """How many the server has room for."""
    collations: tuple[Collation, ...] = field(repr=False)
    """Of the source those that columns and indexes name; of the target all."""
    standbys: int
    skew_s: float
    """How far its clock is ahead of ours, less what the round trip leaves open."""
    owners: frozenset[str]
    """Whose objects and default privileges a restore makes anew."""
    roles: dict[str, Other] = field(repr=False)
    creates_roles: bool
    grants_itself: bool
    """Whether a role that ours makes is ours to act as from the start (createrole_self_grant, PostgreSQL 16)."""
    findings: tuple[Finding, ...]


async def look(side: Side, db: Database, app: str, checks: Iterable[Check]) -> Look:
    """Look at one side in one session. Raises Unreachable and Refused."""
    with told(db):
        async with await connect(db, app) as session:
            await session.execute("SET search_path = pg_catalog")
            pooled = await _is_pooled(session, db, app)
            facts = await read_facts(session)
            can_set = "'SET'" if facts.version_num >= SINCE_ADMIN else "'MEMBER'"
            roles = await (await session.execute(_ROLES.format(can_set=can_set).encode())).fetchall()
            creates_roles, grants_itself = (await (await session.execute(_SELF)).fetchall())[0]
            connections, in_use = (await (await session.execute(_CONNECTIONS)).fetchall())[0]
            relations, locks = (await (await session.execute(_LOCKS.encode())).fetchall())[0]
            jobs = [jobs_in(facts.name)] if side == "source" else []
            found, hidden = await ask(session, [*checks, *jobs])
            elsewhere = jobs if facts.name != MAINTENANCE else []
            beside, more = await _maintenance(side, db.named(MAINTENANCE), app, elsewhere)
            return Look(
                side,
                facts,
                (await (await session.execute(_LOCALE.encode())).fetchall())[0],
                await _sorted_by(session),
                dict(await (await session.execute(_SETTINGS, ([*APPLICATION, *SERVER],))).fetchall()),
                dict(await (await session.execute(_INSTALLED)).fetchall()),
                {name: Extension(*rest) for name, *rest in await (await session.execute(_OFFERED)).fetchall()},
                connections,
                in_use,
                relations,
                locks,
                await _collations(session, side),
                (await (await session.execute(_STANDBYS)).fetchall())[0][0],
                await _skew(session),
                frozenset(row[0] for row in await (await session.execute(OWNERS.encode())).fetchall()),
                {name: Other(*rest) for name, *rest in roles},
                creates_roles,
                grants_itself,
                (
                    *_path(side, db, session, pooled),
                    *beside,
                    *found,
                    *unseen(side, [*hidden, *more], session.info.user),
                ),
            )


async def _maintenance(side: Side, db: Database, app: str, checks: list[Check]) -> tuple[list[Finding], list[str]]:
    """Whether we get into the database from which others are made, renamed and closed; asked there what is given."""
    try:
        async with await connect(db, app) as session:
            await session.execute("SET search_path = pg_catalog")
            return await ask(session, checks)
    except PostgresError as error:
        says = f"database {MAINTENANCE} of the {side} cannot be entered: {error}"
        fix = f"let our role in: pg_hba.conf, GRANT CONNECT ON DATABASE {MAINTENANCE}; or CREATE DATABASE {MAINTENANCE}"
        why = "from there databases are made, renamed and closed, and sessions of others ended"
        return [Finding(f"{side}-no-postgres", "block", says, fix, why)], []


async def _sorted_by(session: AsyncConnection) -> str | None:
    if session.info.server_version < 150000:
        return None
    row = await (await session.execute(_SORTED_BY)).fetchone()
    return row[0] if row is not None else None


async def _collations(session: AsyncConnection, side: Side) -> tuple[Collation, ...]:
    query = _COLLATIONS.format(used=_USED if side == "source" else "")
    return tuple(Collation(*row) for row in await (await session.execute(query.encode())).fetchall())


async def _skew(session: AsyncConnection) -> float:
    """By the quickest of a few round trips: its clock was read somewhere within."""
    best: tuple[float, float] | None = None
    for _ in range(TRIES):
        before, started = datetime.now(UTC), time.monotonic()
        row = await (await session.execute("SELECT clock_timestamp()")).fetchone()
        took = time.monotonic() - started
        assert row is not None  # always one row
        ahead = (row[0] - before).total_seconds() - took / 2
        best = min(best or (took, ahead), (took, ahead))
    assert best is not None  # at least one try
    took, ahead = best
    return max(abs(ahead) - took / 2, 0.0) * (1 if ahead > 0 else -1)


async def _is_pooled(session: AsyncConnection, db: Database, app: str) -> bool:
    """Whether sessions share backends: while another holds one, ours would get a second one, or had it before."""
    async with await connect(db, app) as other:
        first = await _backend(session)
        async with other.transaction():
            return await _backend(other) in (first, await _backend(session)) or await _backend(session) != first


async def _backend(session: AsyncConnection) -> int:
    row = await (await session.execute("SELECT pg_catalog.pg_backend_pid()")).fetchone()
    assert row is not None  # always one row
    return int(row[0])


def _path(side: Side, db: Database, session: AsyncConnection, pooled: bool) -> Iterable[Finding]:
    """How the session reaches the server."""
    if pooled:
        says = f"the {side} is reached through a transaction pooler: sessions are not ours alone"
        why = "snapshots, locks and settings would get lost between two statements"
        yield Finding(f"{side}-pooler", "block", says, "give the server's own address", why)
    host = session.info.host
    if host.startswith(("/", "@")) or host in ("localhost", "127.0.0.1", "::1", ""):
        return
    if not session.pgconn.ssl_in_use:
        says = f"the way to the {side}, {plain(host, 100)}, is not encrypted"
        why = "passwords' hashes and every row go over it in the clear"
        yield Finding(f"{side}-plaintext", "warn", says, "sslmode=verify-full in the plan's conninfo", why)
    elif dict(db.params).get("sslmode") not in ("verify-ca", "verify-full"):
        says = f"who answers as the {side}, {plain(host, 100)}, is not verified"
        why = "whoever sits on the way can read and change every row"
        yield Finding(f"{side}-unverified", "info", says, "sslmode=verify-full with sslrootcert in the conninfo", why)
