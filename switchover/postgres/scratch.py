"""Databases of our own on the target server, and the exchange of names that opens the copy to its users.

A copy is restored under a name nobody knows, so it is closed by nature; it takes the target's name, and gives
it back, in one transaction (ALTER DATABASE … RENAME is transactional; it needs that nobody is connected).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import Refused
from switchover.postgres.guard import read_fact, write_fact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

Place = Literal["copy", "swapped", "none", "mixed"]
TRIES = 50
PAUSE_S = 0.1

_USER_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' ORDER BY 1
"""


async def database_exists(target: Database, name: str, app: str) -> bool:
    """Whether the server has a database of that name."""
    async with _maintaining(target, app) as session:
        return await _comment(session, name) is not None


async def user_tables(target: Database, name: str, app: str) -> tuple[str, ...]:
    """The tables in a database of the server, also when it is closed."""
    async with _maintaining(target, app) as session:
        found = await session.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", (name,))
        row = await found.fetchone()
        closed = row is not None and not row[0]
        if closed:
            await _alter(session, name, "ALLOW_CONNECTIONS true")
        try:
            async with await connect(target.named(name), app) as inside:
                return tuple(row[0] for row in await (await inside.execute(_USER_TABLES)).fetchall())
        finally:
            if closed:
                await _alter(session, name, "ALLOW_CONNECTIONS false")


async def create_copy(target: Database, name: str, plan_id: str, app: str) -> None:
    """Make an empty database with owner, encoding and locale of the target, marked as this plan's."""
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        found = await session.execute(
            "SELECT to_jsonb(d), pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding) FROM pg_database d "
            "WHERE d.datname = %s",
            (base,),
        )
        row = await found.fetchone()
        if row is None:
            raise Refused(f"{target.where}: there is no database {base}")
        settings, owner, encoding = row
        parts = [
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
                sql.Identifier(name),
                sql.Identifier(owner),
                sql.Literal(encoding),
                sql.Literal(settings["datcollate"]),
                sql.Literal(settings["datctype"]),
            ),
            _provider(settings),
        ]
        await session.execute(sql.Composed(parts))
        await _set_comment(session, name, _ours(plan_id))


async def drop_copy(target: Database, name: str, plan_id: str, app: str) -> None:
    """Drop a database of this plan's; another's of the same name is refused, an absent one is no error."""
    async with _maintaining(target, app) as session:
        said = await _comment(session, name)
        if said is None:
            return
        if said != _ours(plan_id):
            raise Refused(f"{target.where}: database {name} does not carry this plan's mark; nothing was dropped")
        await session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def which(target: Database, copy: str, aside: str, app: str) -> Place:
    """Which names there are: "copy" (made, not yet open), "swapped" (it bears the target's name), "none", "mixed"."""
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        there = [await _comment(session, name) is not None for name in (base, copy, aside)]
    match there:
        case [True, True, False]:
            return "copy"
        case [True, False, True]:
            return "swapped"
        case [True, False, False]:
            return "none"
        case _:
            return "mixed"


async def swap_in(target: Database, copy: str, aside: str, app: str, *, settings: bool = True) -> None:
    """Give the copy the target's name, and the target the name ``aside``, in one transaction.

    With ``settings`` the new one takes over the former target's own settings, privileges, limit and comment.
    The one set aside stays closed.
    """
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        for name in (base, copy):
            await _alter(session, name, "ALLOW_CONNECTIONS false")
        await _empty(session, base, copy)
        async with session.transaction():
            mine, theirs = await _comment(session, copy), await _comment(session, base)
            await _rename(session, base, aside)
            await _rename(session, copy, base)
            if settings:
                await _take_over(session, aside, base)
            await _set_comment(session, aside, mine or "")
            await _set_comment(session, base, theirs or "")
            await _alter(session, base, "ALLOW_CONNECTIONS true")


async def swap_back(target: Database, copy: str, aside: str, app: str) -> None:
    """The exact inverse: the target's database of before has its name again, and is open; the copy is closed."""
    base = await database_name(target, app)
    place = await which(target, copy, aside, app)
    async with _maintaining(target, app) as session:
        if place == "swapped":
            for name in (base, aside):
                await _alter(session, name, "ALLOW_CONNECTIONS false")
            await _empty(session, base, aside)
            async with session.transaction():
                mine, theirs = await _comment(session, aside), await _comment(session, base)
                await _rename(session, base, copy)
                await _rename(session, aside, base)
                await _set_comment(session, copy, mine or "")
                await _set_comment(session, base, theirs or "")
                await _alter(session, base, "ALLOW_CONNECTIONS true")
                await _alter(session, copy, "ALLOW_CONNECTIONS true")
        else:
            await _alter(session, base, "ALLOW_CONNECTIONS true")


async def close_database(target: Database, app: str, app_prefix: str) -> None:
    """Stop every write of others on the target: read-only, connection limit 0, their sessions ended.

    What was set before is noted in the database itself, once, for ``open_database``.
    """
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        if await read_fact(target, app, "closed") is None:
            found = await session.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", (base,))
            row = await found.fetchone()
            before: dict[str, Json] = {"limit": row[0] if row is not None else -1}
            await write_fact(target, app, "closed", before)
        await session.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(base))
        )
        if session.info.parameter_status("is_superuser") == "on":
            await _alter(session, base, "CONNECTION LIMIT 0")
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
            "AND backend_type = 'client backend' AND NOT starts_with(application_name, %s)",
            (base, app_prefix),
        )


async def open_database(target: Database, app: str) -> None:
    """Undo ``close_database``."""
    base = await database_name(target, app)
    before = await read_fact(target, app, "closed")
    limit = int(str(before["limit"])) if isinstance(before, dict) else -1
    async with _maintaining(target, app) as session:
        await session.execute(
            sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(sql.Identifier(base))
        )
        await _alter(session, base, f"CONNECTION LIMIT {limit}")
    with told(target):
        async with await connect(target, app) as session:
            await session.execute("DELETE FROM switchover.fact WHERE key = 'closed'")


@asynccontextmanager
async def _maintaining(target: Database, app: str) -> AsyncIterator[AsyncConnection]:
    """A session in the maintenance database of the target's server."""
    with told(target):
        async with await connect(target.named(MAINTENANCE), app) as session:
            yield session


def _ours(plan_id: str) -> str:
    return f"switchover {plan_id}"


def _provider(settings: dict[str, str]) -> sql.Composable:
    """The locale provider; the column with its locale has another name before PostgreSQL 17."""
    locale = settings.get("datlocale") or settings.get("daticulocale")
    match settings.get("datlocprovider"):
        case "i" if locale:
            return sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale))
        case "b" if locale:
            return sql.SQL(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(locale))
        case _:
            return sql.SQL("")


async def _comment(session: AsyncConnection, name: str) -> str | None:
    """The comment of a database, empty without one; None when there is no such database."""
    found = await session.execute(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s",
        (name,),
    )
    row = await found.fetchone()
    return str(row[0]) if row is not None else None


async def _set_comment(session: AsyncConnection, name: str, text: str) -> None:
    comment = sql.Literal(text) if text else sql.SQL("NULL")
    await session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), comment))


async def _alter(session: AsyncConnection, name: str, what: str) -> None:
    await session.execute(sql.SQL("ALTER DATABASE {} " + what).format(sql.Identifier(name)))


async def _rename(session: AsyncConnection, old: str, new: str) -> None:
    await session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


async def _empty(session: AsyncConnection, *names: str) -> None:
    """End every session of the databases and wait until they are gone; no new one is let in."""
    for _ in range(TRIES):
        found = await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%s)", (list(names),)
        )
        if not await found.fetchall():
            return
        await asyncio.sleep(PAUSE_S)
    raise Refused(f"sessions of {', '.join(names)} do not end; nothing was renamed")


async def _take_over(session: AsyncConnection, former: str, new: str) -> None:
    """Settings (also per role), connection limit and privileges of the former database for the new one."""
    base = sql.Identifier(new)
    found = await session.execute(
        "SELECT r.rolname, c.name, c.value FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
        "LEFT JOIN pg_roles r ON r.oid = s.setrole, "
        "LATERAL (SELECT split_part(e, '=', 1), substr(e, strpos(e, '=') + 1) "
        "FROM unnest(s.setconfig) e) AS c(name, value) "
        "WHERE d.datname = %s",
        (former,),
    )
    for role, name, value in await found.fetchall():
        whom = (
            sql.SQL("DATABASE {}").format(base)
            if role is None
            else sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), base)
        )
        await session.execute(sql.SQL("ALTER {} SET {} TO {}").format(whom, sql.SQL(name), _setting(name, value)))
    found = await session.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", (former,))
    for (limit,) in await found.fetchall():
        await _alter(session, new, f"CONNECTION LIMIT {limit}")
    await _take_over_privileges(session, former, new)


_LISTS = {
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "DateStyle",
}


def _setting(name: str, value: str) -> sql.Composable:
    """A setting's value for ALTER … SET: a list is stored quoted as it must be written."""
    return sql.SQL(value) if name in _LISTS else sql.Literal(value)


async def _take_over_privileges(session: AsyncConnection, former: str, new: str) -> None:
    base = sql.Identifier(new)
    found = await session.execute(
        "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, "
        "a.privilege_type, a.is_grantable "
        "FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s",
        (former,),
    )
    rows = await found.fetchall()
    if not rows:
        return
    await session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(base))
    for grantee, privilege, grantable in rows:
        whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        more = sql.SQL(" WITH GRANT OPTION" if grantable and grantee is not None else "")
        await session.execute(sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), base, whom) + more)
