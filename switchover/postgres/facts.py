"""What the two servers are, and what would stop a copy: asked, never tried."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from switchover.postgres.connect import connect, told
from switchover.postgres.finding import Finding
from switchover.postgres.left_behind import left_behind
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One database and its server."""

    version_num: int
    version: str
    name: str
    oid: int
    size_bytes: int
    encoding: str
    recovering: bool
    superuser: bool
    create_db: bool
    role: str
    owner: bool
    """Whether our role is, or belongs to, the database's owner: only such a one may rename it."""
    system: str | None
    """The cluster's own number; None where we may not read it."""

    @property
    def major(self) -> int:
        return self.version_num // 10000


_FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       d.datname, d.oid::int8, pg_database_size(d.oid), pg_encoding_to_char(d.encoding), pg_is_in_recovery(),
       r.rolsuper, r.rolcreatedb OR r.rolsuper, r.rolname, pg_has_role(d.datdba, 'USAGE')
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""

_ROLES = """
WITH named(class, object, role) AS (
  SELECT s.classid, s.objid, s.refobjid FROM pg_shdepend s
  JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
  WHERE s.refclassid = 'pg_authid'::regclass AND s.classid <> 'pg_extension'::regclass
  UNION SELECT 'pg_class'::regclass, oid, relowner FROM pg_class WHERE relkind NOT IN ('i', 'I', 't')
  UNION SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace WHERE nspname !~ '^pg_'
  UNION SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
  UNION SELECT 'pg_type'::regclass, oid, typowner FROM pg_type WHERE typrelid = 0 AND typelem = 0
)
SELECT DISTINCT r.rolname FROM named n JOIN pg_roles r ON r.oid = n.role
WHERE (n.object >= 16384 OR n.class = 'pg_default_acl'::regclass) AND NOT EXISTS (
  SELECT FROM pg_depend e WHERE e.classid = n.class AND e.objid = n.object AND e.deptype = 'e')
"""
"""Owners and grantees of this database's own objects; an extension's belong to whoever creates it again.

pg_shdepend leaves out the first superuser, whose objects are pinned, so owners are asked for once more. Objects
of users have an oid from 16384 on (FirstNormalObjectId in transam.h).
"""

_EXTENSIONS = "SELECT extname FROM pg_extension"
_AVAILABLE = "SELECT name FROM pg_available_extensions"
_TABLESPACES = """
SELECT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
WHERE t.spcname NOT IN ('pg_default', 'pg_global')
"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"

_MISSING = (
    ("role", _ROLES, "SELECT rolname FROM pg_roles", "create them on the target, with the same attributes"),
    ("extension", _EXTENSIONS, _AVAILABLE, "install them on the target's host"),
    ("tablespace", _TABLESPACES, "SELECT spcname FROM pg_tablespace", "create them on the target"),
)


async def server_facts(db: Database, app: str) -> ServerFacts:
    """Ask one database about itself and its server."""
    with told(db):
        async with await connect(db, app) as session:
            row = await (await session.execute(_FACTS)).fetchone()
            assert row is not None  # noqa: S101  one database, one role
            return ServerFacts(*(*row, await _system(session)))


async def _system(session: AsyncConnection) -> str | None:
    try:
        row = await (await session.execute("SELECT system_identifier::text FROM pg_control_system()")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row[0]) if row is not None else None


async def write_mark(session: AsyncConnection) -> str:
    """The next transaction id the server will give out: as long as it stands still, nothing was written."""
    row = await (await session.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")).fetchone()
    assert row is not None  # noqa: S101  always one row
    return str(row[0])


async def rows_of(db: Database, app: str, query: str) -> set[str]:
    """The first column of a query."""
    with told(db):
        async with await connect(db, app) as session:
            return {str(row[0]) for row in await (await session.execute(query)).fetchall()}


async def preflight(source: Database, target: Database, app: str, *, bin: str | None) -> tuple[Finding, ...]:
    """What a connection can tell of both sides before anything is copied."""
    ours, theirs = await asyncio.gather(server_facts(source, app), server_facts(target, app))
    found = [
        *_versions(ours, theirs),
        *_places(ours, theirs),
        *_clients(ours, theirs, await client_major(bin)),
        *_permissions(ours, theirs),
    ]
    for kind, has, offers, mend in _MISSING:
        wanted, there = await asyncio.gather(rows_of(source, app, has), rows_of(target, app, offers))
        if wanted - there:
            names = plain(", ".join(sorted(wanted - there)), 500)
            found.append(Finding(f"missing-{kind}", "block", f"the target lacks {kind} {names}", mend))
    for side, db in (("source", source), ("target", target)):
        prepared = await rows_of(db, app, _PREPARED)
        if prepared:
            says = f"prepared transactions wait on the {side}: {plain(', '.join(sorted(prepared)), 300)}"
            found.append(Finding(f"{side}-prepared", "block", says, "COMMIT PREPARED or ROLLBACK PREPARED each"))
        if await _is_pooled(db, app):
            says = f"the {side} is reached through a transaction pooler: sessions are not ours alone"
            found.append(Finding(f"{side}-pooler", "block", says, "give the server's own address"))
    return (*found, *await left_behind(source, target, app))


def _versions(ours: ServerFacts, theirs: ServerFacts) -> list[Finding]:
    found = [Finding("versions", "info", f"{ours.version} to {theirs.version}")]
    if theirs.major < ours.major:
        says = f"the target is {theirs.version}, older than the source's {ours.version}"
        found.append(Finding("older-target", "block", says, "a dump cannot go to an older major version"))
    for side, facts in (("source", ours), ("target", theirs)):
        if facts.recovering:
            found.append(Finding(f"{side}-standby", "block", f"the {side} is a standby", "name the primary"))
    return found


def _places(ours: ServerFacts, theirs: ServerFacts) -> list[Finding]:
    found = []
    if ours.system is not None and (ours.system, ours.oid) == (theirs.system, theirs.oid):
        says = f"source and target are the same database, {plain(ours.name, 100)}"
        found.append(Finding("same-database", "block", says, "name two"))
    if ours.encoding != theirs.encoding:
        says = f"the source is {ours.encoding}, the target {theirs.encoding}"
        found.append(Finding("encoding", "block", says, f"make the target database with ENCODING '{ours.encoding}'"))
    return found


def _clients(ours: ServerFacts, theirs: ServerFacts, client: int | None) -> list[Finding]:
    """pg_dump must know the source, and what pg_restore sends must be known to the target."""
    if client is None:
        return [Finding("no-client", "block", "no pg_dump found", "install the client tools, or set database.bin")]
    if client < ours.major:
        says = f"pg_dump {client} cannot dump a server {ours.major}"
        return [Finding("old-client", "block", says, "set database.bin to the target's tools")]
    if client > theirs.major:
        says = f"pg_restore {client} may send settings that a server {theirs.major} does not know"
        return [Finding("new-client", "block", says, "set database.bin to the target's tools")]
    return []


def _permissions(ours: ServerFacts, theirs: ServerFacts) -> list[Finding]:
    found = []
    if not theirs.create_db:
        says = f"{plain(theirs.role, 100)} may not create databases on the target"
        found.append(Finding("no-createdb", "block", says, f"ALTER ROLE {plain(theirs.role, 100)} CREATEDB"))
    if not theirs.owner:
        says = f"{plain(theirs.role, 100)} does not own {plain(theirs.name, 100)} on the target: it may not be renamed"
        found.append(Finding("not-owner", "block", says, "use the owner's role, or one that belongs to it"))
    if not ours.superuser:
        says = f"{plain(ours.role, 100)} is no superuser on the source: the fence sets no connection limit"
        found.append(Finding("fence-layers", "info", says, "a superuser's fence has one layer more"))
    return found


async def client_major(bin: str | None) -> int | None:
    """The major version of pg_dump; None when there is none."""
    program = client_program("pg_dump", bin)
    if shutil.which(program) is None:
        return None
    said = await asyncio.to_thread(
        subprocess.run, [program, "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    number = re.search(r"(\d+)(?:\.\d+)*", said.stdout)
    return int(number[1]) if number else None


def client_program(name: str, bin: str | None) -> str:
    """The path of a client program: in the plan's folder, else on the PATH."""
    return str(Path(bin).expanduser() / name) if bin else name


async def _is_pooled(db: Database, app: str) -> bool:
    with told(db):
        async with await connect(db, app) as session:
            pids = {(await (await session.execute("SELECT pg_backend_pid()")).fetchone() or (0,))[0] for _ in range(3)}
    return len(pids) > 1
