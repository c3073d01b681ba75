"""Which layers of the fence we may raise: asked of the catalogs, never tried, and told before anyone relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.finding import Finding
from switchover.postgres.locks import CATALOGS, TABLES, share_privileges
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

NAMED = 8
"""Tables and roles named in a finding; of the others the number."""

_ME = """
SELECT r.rolname, d.datname, r.rolsuper, pg_has_role(d.datdba, 'USAGE'), o.rolname, o.rolsuper
FROM pg_roles r, pg_database d JOIN pg_roles o ON o.oid = d.datdba
WHERE r.rolname = current_user AND d.datname = current_database()
"""

_UNLOCKABLE = """
SELECT t.nspname, t.relname FROM ({tables}) AS t
JOIN pg_namespace n ON n.nspname = t.nspname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.relname
WHERE NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, '{share}'))
"""

_UNENDABLE = """
SELECT r.rolname FROM pg_roles r, pg_roles me WHERE me.rolname = current_user AND NOT me.rolsuper AND r.rolcanlogin
AND has_database_privilege(r.oid, current_database(), 'CONNECT')
AND (r.rolsuper OR NOT (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))) ORDER BY 1
"""
"""A superuser's sessions are ended by superusers alone (pg_signal_backend in signalfuncs.c)."""

_OVERRIDES = """
SELECT r.rolname, e.value, r.rolsuper, s.setdatabase <> 0 FROM pg_db_role_setting s
JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS e(value)
WHERE starts_with(e.value, 'default_transaction_read_only=') AND (s.setdatabase = 0 OR d.datname = %s)
AND lower(split_part(e.value, '=', 2)) NOT IN ('on', 'true', 'yes', '1') ORDER BY 1, 4
"""


@dataclass(frozen=True, slots=True)
class Override:
    """A role whose own setting wins over the database's."""

    role: str
    setting: str
    superuser: bool
    here_only: bool
    """Whether it is set for this database, or for the role wherever it connects."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What our role may do on the source, and what is left to others."""

    role: str
    database: str
    owner: str
    superusers: bool
    """Whether the owner is a superuser, as whom nobody should act for this."""
    alter: bool
    """ALTER DATABASE: make new sessions read-only."""
    superuser: bool
    """The connection limit holds off everybody but superusers: us as well, when we are none."""
    catalogs: bool
    """Lock out new tables and large objects."""
    unlockable: tuple[tuple[str, str], ...]
    """Tables that we may not lock."""
    unendable: tuple[str, ...]
    """Roles that may connect and whose sessions we may not end."""
    overrides: tuple[Override, ...]

    @property
    def uncovered(self) -> tuple[Override, ...]:
        """The overrides that no connection limit makes harmless."""
        return tuple(each for each in self.overrides if each.superuser or not self.superuser)


async def fence_layers(db: Database, app: str) -> Layers:
    """Which layers we may raise around this database, by its catalogs alone."""
    with told(db):
        async with await connect(db, app) as session:
            row = await (await session.execute(_ME)).fetchone()
            assert row is not None  # one database, one role
            role, name, superuser, owner, owned_by, superusers = row
            share = share_privileges(session.info.server_version)
            catalogs = await _rows(session, CATALOGS.format(share=share))
            unlockable = await _rows(session, _UNLOCKABLE.format(tables=TABLES, share=share))
            unendable = await _rows(session, _UNENDABLE)
            overrides = await read_overrides(session, name)
    return Layers(
        role,
        name,
        owned_by,
        superusers,
        superuser or owner,
        superuser,
        len(catalogs) > 0,
        tuple((schema, table) for schema, table in unlockable),
        tuple(row[0] for row in unendable),
        overrides,
    )


async def read_overrides(session: AsyncConnection, name: str) -> tuple[Override, ...]:
    """Roles whose own default_transaction_read_only wins over the database's and is not on."""
    rows = await (await session.execute(_OVERRIDES, (name,))).fetchall()
    return tuple(Override(plain(role, 100), plain(setting, 100), *more) for role, setting, *more in rows)


async def fence_findings(db: Database, app: str) -> tuple[Finding, ...]:
    """What the fence will consist of on this source, and what a missing layer means."""
    return tuple(judged(await fence_layers(db, app)))


def judged(layers: Layers) -> Iterator[Finding]:
    """The findings for these layers: what makes a fence impossible, and what is missing of a whole one."""
    weak = list(_weak(layers))
    if weak:
        says, mends = (tuple(dict.fromkeys(each)) for each in zip(*weak, strict=True))
        yield Finding("fence-weak", "block", "; ".join(says), "; ".join(mends), "the source could not be fenced")
    gaps = list(_gaps(layers))
    if gaps:
        says, whys, mends = (tuple(dict.fromkeys(each)) for each in zip(*gaps, strict=True))
        yield Finding("fence-layers", "warn", "; ".join(says), "; ".join(mends), "; ".join(whys))
    elif not weak:
        holds = "read-only setting, connection limit, locks on every table and against new ones, end of every client"
        why = "only a superuser that overrides the setting could still write into an existing large object"
        yield Finding("fence-layers", "info", f"every layer of the fence can be raised: {holds}", why=why)


def _weak(layers: Layers) -> Iterator[tuple[str, str]]:
    """What no other layer makes up for, with what mends it."""
    me, base = _quoted(layers.role), _quoted(layers.database)
    if not layers.alter:
        says = f"{layers.role} does not own {layers.database}: it may not make it read-only, and locks end with the run"
        grant = "" if layers.superusers else f"GRANT {_quoted(layers.owner)} TO {me}, or "
        yield plain(says, 500), f"{grant}ALTER DATABASE {base} OWNER TO {me}"
    if layers.unlockable:
        names = _some([_quoted(*table) for table in layers.unlockable])
        says = f"{layers.role} may not lock {count(len(layers.unlockable), 'table')}: {names}"
        yield plain(says, 500), f"GRANT pg_write_all_data TO {me}, or GRANT TRUNCATE ON {names} TO {me}"


def _gaps(layers: Layers) -> Iterator[tuple[str, str, str]]:
    """What is missing, what that means, and what mends it."""
    superuser = "let the plan connect to the source as a superuser"
    if not layers.superuser:
        says = f"no connection limit: {layers.role} is no superuser, and the limit would bind it too"
        why = "a client of any role that reconnects is let in, read-only, and its writes to tables wait for the locks"
        yield plain(says, 300), why, superuser
    if not layers.catalogs:
        says = f"no lock against new tables and large objects: {layers.role} may not lock the catalogs"
        why = "a client that sets BEGIN READ WRITE can still make a table or write a large object, which stays behind"
        yield plain(says, 300), why, superuser
    if layers.unendable:
        names = _some([plain(each, 100) for each in layers.unendable])
        why = (
            f"a session of {names} that was open before the fence is not read-only, and a write of it that waits for "
            "a lock is done on the old database when the locks go"
        )
        grants = f"GRANT pg_signal_backend TO {_quoted(layers.role)} (not enough for superusers: end theirs yourself)"
        yield f"sessions that cannot be ended: those of {names}", why, grants
    for each in layers.uncovered:
        why = f"a client of role {each.role} that reconnects is not read-only: the locks alone hold it off"
        where = f" IN DATABASE {_quoted(layers.database)}" if each.here_only else ""
        mend = f"ALTER ROLE {_quoted(each.role)}{where} RESET default_transaction_read_only"
        yield f"role {each.role} overrides it: {each.setting}", why, mend


async def _rows(session: AsyncConnection, query: str) -> list[tuple[str, ...]]:
    return await (await session.execute(query.encode())).fetchall()


def _quoted(*names: str) -> str:
    return plain(sql.Identifier(*names).as_string(None), 150)


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
