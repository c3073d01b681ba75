"""What the two servers are, and what would stop a copy: asked, never tried."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from switchover.postgres.connect import connect, told

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One database and its server."""

    version_num: int
    version: str
    system: str
    name: str
    oid: int
    size_bytes: int
    encoding: str
    recovering: bool
    superuser: bool
    create_db: bool
    role: str

    @property
    def major(self) -> int:
        return self.version_num // 10000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, what shows it, and what mends it."""

    id: str
    severity: Literal["block", "warn", "info"]
    evidence: str
    fix: str = ""


_FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       (SELECT system_identifier::text FROM pg_control_system()),
       d.datname, d.oid::int8, pg_database_size(d.oid), pg_encoding_to_char(d.encoding), pg_is_in_recovery(),
       r.rolsuper, r.rolcreatedb OR r.rolsuper, r.rolname
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""

_ROLES = """
SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
WHERE s.refclassid = 'pg_authid'::regclass
AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


async def server_facts(db: Database, app: str) -> ServerFacts:
    """Ask one database about itself and its server."""
    with told(db):
        async with await connect(db, app) as session:
            row = await (await session.execute(_FACTS)).fetchone()
            assert row is not None  # noqa: S101  one database, one role
            return ServerFacts(*row)


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
    found = [*_versions(ours, theirs, await client_major(bin)), *_permissions(ours, theirs)]
    missing = await asyncio.gather(
        _missing(source, target, app, _ROLES, "SELECT rolname FROM pg_roles"),
        _missing(
            source,
            target,
            app,
            "SELECT extname FROM pg_extension",
            "SELECT name FROM pg_available_extensions",
        ),
        _missing(
            source,
            target,
            app,
            "SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace "
            "WHERE t.spcname NOT IN ('pg_default', 'pg_global')",
            "SELECT spcname FROM pg_tablespace",
        ),
    )
    for kind, names, mend in zip(
        ("role", "extension", "tablespace"),
        missing,
        (
            "create them on the target, with the same attributes",
            "install them on the target's host",
            "create them on the target",
        ),
        strict=True,
    ):
        if names:
            found.append(Finding(f"missing-{kind}", "block", f"the target lacks {', '.join(sorted(names))}", mend))
    prepared = await rows_of(source, app, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
    if prepared:
        says = f"prepared transactions wait on the source: {', '.join(sorted(prepared))}"
        found.append(Finding("prepared-transactions", "block", says, "COMMIT PREPARED or ROLLBACK PREPARED each"))
    if await _is_pooled(source, app):
        says = "the source is reached through a transaction pooler: sessions are not ours alone"
        found.append(Finding("pooler", "block", says, "give the server's own address"))
    return tuple(found)


def _versions(ours: ServerFacts, theirs: ServerFacts, client: int | None) -> list[Finding]:
    found = [Finding("versions", "info", f"{ours.version} to {theirs.version}")]
    if theirs.major < ours.major:
        says = f"the target is {theirs.version}, older than the source's {ours.version}"
        found.append(Finding("older-target", "block", says, "a dump cannot go to an older major version"))
    for side, facts in (("source", ours), ("target", theirs)):
        if facts.recovering:
            found.append(Finding(f"{side}-standby", "block", f"the {side} is a standby", "name the primary"))
    if (ours.system, ours.oid) == (theirs.system, theirs.oid):
        says = f"source and target are the same database, {ours.name}"
        found.append(Finding("same-database", "block", says, "name two"))
    if ours.encoding != theirs.encoding:
        says = f"the source is {ours.encoding}, the target {theirs.encoding}"
        found.append(Finding("encoding", "block", says, f"make the target database with ENCODING '{ours.encoding}'"))
    if client is None:
        found.append(Finding("no-client", "block", "no pg_dump found", "install the client tools, or set database.bin"))
    elif client < ours.major:
        says = f"pg_dump {client} cannot dump a server {ours.major}"
        found.append(Finding("old-client", "block", says, "set database.bin to the newer tools"))
    return found


def _permissions(ours: ServerFacts, theirs: ServerFacts) -> list[Finding]:
    found = []
    if not theirs.create_db:
        says = f"{theirs.role} may not create databases on the target"
        found.append(Finding("no-createdb", "block", says, f"ALTER ROLE {theirs.role} CREATEDB"))
    if not ours.superuser:
        says = f"{ours.role} is no superuser on the source: the connection limit is not a layer of the fence"
        found.append(Finding("fence-layers", "warn", says, "a superuser's fence has one layer more"))
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


async def _missing(source: Database, target: Database, app: str, has: str, offers: str) -> set[str]:
    wanted, there = await asyncio.gather(rows_of(source, app, has), rows_of(target, app, offers))
    return wanted - there


async def _is_pooled(db: Database, app: str) -> bool:
    with told(db):
        async with await connect(db, app) as session:
            pids = {(await (await session.execute("SELECT pg_backend_pid()")).fetchone() or (0,))[0] for _ in range(3)}
    return len(pids) > 1
