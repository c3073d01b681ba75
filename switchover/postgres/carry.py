"""What belongs to a database but lies outside it: settings, limit, owner and privileges, carried to another exactly.

pg_dump without --create leaves all of it behind (pg_dump manual, "Notes").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.errors import Refused
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

READ_ONLY = "default_transaction_read_only"

_QUOTED_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
"""Settings that are stored as a list of quoted names (GUC_LIST_QUOTE; pg_dump's variable_is_guc_list_quote)."""

_ENTRY = re.compile(r'"((?:[^"]|"")*)"|([^,\s"]+)')

_SETTINGS = """
SELECT r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = %s ORDER BY 1 NULLS FIRST
"""

_PRIVILEGES = """
SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.datname = %s ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may write to a database by its own settings: what closing it changes, and opening it restores."""

    limit: int
    read_only: str | None
    """The database's default_transaction_read_only, as it is stored; None when it sets none."""

    @property
    def closed(self) -> bool:
        return is_on(self.read_only)


def is_on(value: str | None) -> bool:
    """Whether PostgreSQL reads a stored boolean as true."""
    return value is not None and value.lower() in ("on", "true", "yes", "1")


def entry(settings: list[str] | tuple[str, ...] | None, name: str) -> str | None:
    """The value of one setting in a setconfig list."""
    for each in settings or ():
        key, _, value = each.partition("=")
        if key == name:
            return value
    return None


async def read_access(session: AsyncConnection, name: str) -> Access:
    """How open the database is. Raises Refused when there is none of that name."""
    found = await session.execute(
        "SELECT d.datconnlimit, s.setconfig FROM pg_database d "
        "LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 WHERE d.datname = %s",
        (name,),
    )
    row = await found.fetchone()
    if row is None:
        raise Refused(f"there is no database {plain(name, 100)} on the server")
    return Access(row[0], entry(row[1], READ_ONLY))


async def set_access(session: AsyncConnection, name: str, wanted: Access) -> None:
    """Make the database exactly so open; what is so already is left alone, so that a repeat writes nothing."""
    now = await read_access(session, name)
    base = sql.Identifier(name)
    if now.read_only != wanted.read_only:
        change = (
            sql.SQL("RESET {}").format(sql.Identifier(READ_ONLY))
            if wanted.read_only is None
            else sql.SQL("SET {} = {}").format(sql.Identifier(READ_ONLY), sql.Literal(wanted.read_only))
        )
        await session.execute(sql.SQL("ALTER DATABASE {} {}").format(base, change))
    if now.limit != wanted.limit:
        await alter(session, name, f"CONNECTION LIMIT {wanted.limit}")


async def alter(session: AsyncConnection, name: str, what: str) -> None:
    """ALTER DATABASE with a clause of our own."""
    await session.execute(sql.SQL("ALTER DATABASE {} " + what).format(sql.Identifier(name)))


async def carry_over(session: AsyncConnection, former: str, new: str) -> None:
    """Give ``new`` the settings (also per role), limit, owner and privileges of ``former``, and nothing else."""
    owner = await _owner(session, former)
    if await _owner(session, new) != owner:
        await session.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(new), sql.Identifier(owner))
        )
    await _carry_settings(session, former, new)
    await alter(session, new, f"CONNECTION LIMIT {(await read_access(session, former)).limit}")
    await _carry_privileges(session, former, new, owner)


async def _owner(session: AsyncConnection, name: str) -> str:
    found = await session.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (name,))
    row = await found.fetchone()
    if row is None:
        raise Refused(f"there is no database {plain(name, 100)} on the server")
    return str(row[0])


async def _carry_settings(session: AsyncConnection, former: str, new: str) -> None:
    wanted = await (await session.execute(_SETTINGS, (former,))).fetchall()
    for role, _ in await (await session.execute(_SETTINGS, (new,))).fetchall():
        await session.execute(sql.SQL("ALTER {} RESET ALL").format(whose(role, new)))
    for role, settings in wanted:
        for each in settings:
            name, _, value = each.partition("=")
            await session.execute(
                sql.SQL("ALTER {} SET {} = {}").format(
                    whose(role, new), sql.Identifier(*name.split(".")), setting_value(name, value)
                )
            )
    if await (await session.execute(_SETTINGS, (new,))).fetchall() != wanted:
        raise Refused(f"the settings of {plain(former, 100)} could not be carried over exactly; nothing was renamed")


def whose(role: str | None, database: str | None) -> sql.Composable:
    """Whose settings ALTER changes: a database's, a role's in one database, a role's in all, or everybody's."""
    if database is None:
        return sql.SQL("ROLE ALL") if role is None else sql.SQL("ROLE {}").format(sql.Identifier(role))
    if role is None:
        return sql.SQL("DATABASE {}").format(sql.Identifier(database))
    return sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(database))


def setting_value(name: str, value: str) -> sql.Composable:
    """A stored value as ALTER … SET wants it: a list of names is given name by name, anything else as it is."""
    if name not in _QUOTED_LISTS:
        return sql.Literal(value)
    names = [bare if bare else quoted.replace('""', '"') for quoted, bare in _ENTRY.findall(value)]
    return sql.SQL(", ").join(sql.Literal(each) for each in names or [""])


async def _carry_privileges(session: AsyncConnection, former: str, new: str, owner: str) -> None:
    wanted = await (await session.execute(_PRIVILEGES, (former,))).fetchall()
    has = await (await session.execute(_PRIVILEGES, (new,))).fetchall()
    if wanted == has:
        return
    base = sql.Identifier(new)
    for grantee in dict.fromkeys([*(row[0] for row in has), owner]):
        await session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(base, to_whom(grantee)))
    for grantee, privilege, grantable in wanted:
        given = sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), base, to_whom(grantee))
        await session.execute(given + sql.SQL(" WITH GRANT OPTION" if grantable and grantee != owner else ""))


def to_whom(name: str | None) -> sql.Composable:
    """A grantee; None is everybody."""
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)
