"""What a database and its server are: asked, never tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from switchover.postgres.connect import connect, told

if TYPE_CHECKING:
    from datetime import datetime

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
    """The cluster's own number, which a physical clone shares; None where we may not read it."""
    started: datetime | None
    """When the running server was started, to the microsecond; None where we may not read it."""

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def minor(self) -> int:
        return self.version_num % 10000


_FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       d.datname, d.oid::int8, pg_database_size(d.oid), pg_encoding_to_char(d.encoding), pg_is_in_recovery(),
       r.rolsuper, r.rolcreatedb OR r.rolsuper, r.rolname, pg_has_role(d.datdba, 'USAGE')
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
_STARTED = "SELECT pg_postmaster_start_time()"


async def server_facts(db: Database, app: str) -> ServerFacts:
    """Ask one database about itself and its server."""
    with told(db):
        async with await connect(db, app) as session:
            return await read_facts(session)


async def read_facts(session: AsyncConnection) -> ServerFacts:
    """The same, by a session there is."""
    row = await (await session.execute(_FACTS)).fetchone()
    assert row is not None  # one database, one role
    return ServerFacts(*(*row, await _permitted(session, _SYSTEM), await _permitted(session, _STARTED)))


async def _permitted(session: AsyncConnection, query: str) -> Any:
    """Its one value; None where we may not ask."""
    try:
        row = await (await session.execute(query.encode())).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return row[0] if row is not None else None


async def write_mark(session: AsyncConnection) -> str:
    """The next transaction id the server will give out: as long as it stands still, nothing was written."""
    row = await (await session.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")).fetchone()
    assert row is not None  # always one row
    return str(row[0])
