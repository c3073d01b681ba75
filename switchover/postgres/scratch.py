"""Databases of our own on the target server, and the exchange of names that opens the copy to its users.

A copy is restored under a name nobody knows, so it is closed by nature; it takes the target's name, and gives
it back, in one transaction. ALTER DATABASE … RENAME is transactional; it locks the database against newcomers
and waits up to 5 s until nobody is connected (RenameDatabase in dbcommands.c), so that no state between the
two names is ever committed.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg import sql

from switchover.postgres.carry import Access, alter, carry_over, read_access, set_access
from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import Refused
from switchover.postgres.guard import drop_fact, read_fact, write_fact
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

Place = Literal["copy", "swapped", "none", "mixed"]
TRIES = 4
PATIENCE_S = 20.0
LOOK_EVERY_S = 0.05
EMPTY_LOOKS, EMPTY_LOOK_EVERY_S = 50, 0.002
CLOSED = "closed"
"""The fact, in a closed database itself, that holds what closing it has changed."""

_USER_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' ORDER BY 1
"""

_LIKE = """
SELECT to_jsonb(d), pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), t.spcname
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s
"""

_END = """
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND NOT starts_with(application_name, %s)
"""

_SWEEP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


async def database_exists(target: Database, name: str, app: str) -> bool:
    """Whether the server has a database of that name."""
    async with _maintaining(target, app) as session:
        return await _comment(session, name) is not None


async def user_tables(target: Database, name: str, app: str) -> tuple[str, ...]:
    """The tables in a database of the server, qualified, without those of schema switchover; also when it is closed."""
    async with _maintaining(target, app) as session:
        found = await session.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", (name,))
        closed = await found.fetchone() == (False,)
        if closed:
            await alter(session, name, "ALLOW_CONNECTIONS true")
        try:
            async with await connect(target.named(name), app) as inside:
                return tuple(row[0] for row in await (await inside.execute(_USER_TABLES)).fetchall())
        finally:
            if closed:
                await alter(session, name, "ALLOW_CONNECTIONS false")


async def create_copy(target: Database, name: str, plan_id: str, app: str) -> None:
    """Make an empty database with owner, encoding and locale of the target, marked as this plan's.

    It takes no connection until it is marked, so that one made half is known by that. Raises Refused when the
    name is taken.
    """
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        row = await (await session.execute(_LIKE, (base,))).fetchone()
        if row is None:
            raise Refused(f"{target.where}: there is no database {plain(base, 100)}")
        like, owner, encoding, tablespace = row
        await session.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {} "
                "ALLOW_CONNECTIONS false"
            ).format(
                sql.Identifier(name),
                sql.Identifier(owner),
                sql.Literal(encoding),
                sql.Literal(like["datcollate"]),
                sql.Literal(like["datctype"]),
            )
            + _provider(like)
            + _tablespace(tablespace)
        )
        async with session.transaction():
            await _set_comment(session, name, _ours(plan_id))
            await alter(session, name, "ALLOW_CONNECTIONS true")


async def drop_copy(target: Database, name: str, plan_id: str, app: str) -> None:
    """Drop a database of this plan's; another's of the same name is refused, an absent one is no error."""
    async with _maintaining(target, app) as session:
        said = await _comment(session, name)
        if said is None:
            return
        if said != _ours(plan_id) and not await _is_half_made(session, name, plan_id):
            raise Refused(
                f"{target.where}: database {plain(name, 100)} does not carry this plan's mark; nothing was dropped"
            )
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
    """Give the copy the target's name, and the target the name ``aside``; once done, a repeat changes nothing.

    With ``settings`` the new one takes over settings, privileges, limit and owner of the former target, as they
    were before ``close_database``. The former's comment stays with the name; the copy's mark goes to the one
    set aside, which takes no connections from now on. Raises Refused, and then nothing has changed.
    """
    base = await database_name(target, app)
    place = await which(target, copy, aside, app)
    if place == "swapped":
        return
    if place != "copy":
        raise Refused(f"{target.where}: the names {copy} and {aside} do not fit together; nothing was renamed")
    before = _access(await read_fact(target, app, CLOSED)) if settings else None

    async def change(session: AsyncConnection) -> None:
        await _exchange(session, base, copy, aside)
        if settings:
            if before is not None and (await read_access(session, aside)).closed:
                await set_access(session, aside, before)
            await carry_over(session, aside, base)
        await alter(session, aside, "ALLOW_CONNECTIONS false")
        await alter(session, base, "ALLOW_CONNECTIONS true")

    await _change_emptied(target, app, (base, copy), change)


async def swap_back(target: Database, copy: str, aside: str, app: str) -> None:
    """The exact inverse: the target's database of before has its name again, and is open; so has the copy its own."""
    base = await database_name(target, app)
    place = await which(target, copy, aside, app)
    if place == "mixed":
        raise Refused(f"{target.where}: the names {copy} and {aside} do not fit together; nothing was renamed")
    if place != "swapped":
        return

    async def change(session: AsyncConnection) -> None:
        await _exchange(session, base, aside, copy)
        await alter(session, base, "ALLOW_CONNECTIONS true")

    await _change_emptied(target, app, (base, aside), change)


async def close_database(target: Database, app: str, app_prefix: str) -> None:
    """Stop every write of others on the target: read-only, connection limit 0, their sessions ended and gone.

    What was set before is noted in the database itself, once, for ``open_database``. A superuser is held off
    neither by the limit nor, if it overrides it, by the setting; without one we set no limit, which would bind us.
    """
    base = await database_name(target, app)
    async with _maintaining(target, app) as session:
        now = await read_access(session, base)
        if not now.closed or await read_fact(target, app, CLOSED) is None:
            await write_fact(target, app, CLOSED, {"limit": now.limit, "read_only": now.read_only})
        limit = 0 if session.info.parameter_status("is_superuser") == "on" else now.limit
        await set_access(session, base, Access(limit, "on"))
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while left := await (await session.execute(_END, (base, app_prefix))).fetchall():
            if asyncio.get_running_loop().time() > deadline:
                pids = ", ".join(str(pid) for pid, _ in left)
                raise Refused(f"{target.where}: it is closed, but sessions do not end: pid {pids}")
            await asyncio.sleep(LOOK_EVERY_S)


async def open_database(target: Database, app: str) -> None:
    """Undo ``close_database``; a database that was not closed stays as it is."""
    base = await database_name(target, app)
    before = _access(await read_fact(target, app, CLOSED))
    if before is None:
        return
    async with _maintaining(target, app) as session:
        await set_access(session, base, before)
    await drop_fact(target, app, CLOSED)


@asynccontextmanager
async def _maintaining(target: Database, app: str) -> AsyncIterator[AsyncConnection]:
    """A session in the maintenance database of the target's server."""
    ours = target.named(MAINTENANCE)
    with told(ours):
        async with await connect(ours, app) as session:
            yield session


async def _change_emptied(
    target: Database, app: str, names: tuple[str, ...], change: Callable[[AsyncConnection], Awaitable[None]]
) -> None:
    """Do ``change`` in a transaction in which nobody is connected to the databases, and nobody can be."""
    async with _maintaining(target, app) as session, _maintaining(target, app) as sweeper:
        for left in reversed(range(TRIES)):
            try:
                async with session.transaction():
                    for name in names:
                        await _empty(session, sweeper, name)
                    await change(session)
            except psycopg.errors.ObjectInUse as error:
                if not left:
                    why = plain(error.diag.message_detail or "", 200)
                    raise Refused(f"{target.where}: sessions do not end: {why}; nothing was renamed") from None
            else:
                return


async def _empty(session: AsyncConnection, sweeper: AsyncConnection, name: str) -> None:
    """Lock a database against newcomers by giving it its own name anew, while its sessions are ended.

    They are ended once before as well: who renames looks only ten times a second whether anybody is left.
    """
    done = asyncio.Event()

    async def sweep() -> int:
        return len(await (await sweeper.execute(_SWEEP, (name,))).fetchall())

    async def go_on() -> None:
        while not done.is_set():
            await sweep()
            try:
                await asyncio.wait_for(done.wait(), LOOK_EVERY_S)
            except TimeoutError:
                continue

    for _ in range(EMPTY_LOOKS):
        if not await sweep():
            break
        await asyncio.sleep(EMPTY_LOOK_EVERY_S)
    sweeping = asyncio.create_task(go_on())
    try:
        await _rename(session, name, f"{name[:50]}_moving")
        await _rename(session, f"{name[:50]}_moving", name)
    finally:
        done.set()
        await sweeping


async def _exchange(session: AsyncConnection, base: str, incoming: str, outgoing: str) -> None:
    """The three names and the two comments: the base's comment stays with the name."""
    mark, said = await _comment(session, incoming), await _comment(session, base)
    await _rename(session, base, outgoing)
    await _rename(session, incoming, base)
    await _set_comment(session, outgoing, mark or "")
    await _set_comment(session, base, said or "")


def _ours(plan_id: str) -> str:
    return f"switchover {plan_id}"


def _access(fact: Json) -> Access | None:
    """What a closed database's note says of the time before."""
    if not isinstance(fact, dict):
        return None
    read_only = fact.get("read_only")
    return Access(int(str(fact["limit"])), str(read_only) if read_only is not None else None)


async def _is_half_made(session: AsyncConnection, name: str, plan_id: str) -> bool:
    """Whether it is a copy of this plan whose making was cut off: never open, without a mark, named by the plan."""
    found = await session.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", (name,))
    return await found.fetchone() == (False,) and await _comment(session, name) == "" and plan_id[:12] in name


def _provider(like: dict[str, str]) -> sql.Composable:
    """The locale provider, known from PostgreSQL 15 on; the column with its locale has another name before 17."""
    locale = sql.Literal(like.get("datlocale") or like.get("daticulocale") or "")
    match like.get("datlocprovider"):
        case "i":
            rules = like.get("daticurules")
            more = sql.SQL(" ICU_RULES {}").format(sql.Literal(rules)) if rules else sql.SQL("")
            return sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(locale) + more
        case "b":
            return sql.SQL(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(locale)
        case "c":
            return sql.SQL(" LOCALE_PROVIDER libc")
        case _:
            return sql.SQL("")


def _tablespace(name: str) -> sql.Composable:
    """Naming the default one would need a privilege on it that its use does not."""
    return sql.SQL("") if name == "pg_default" else sql.SQL(" TABLESPACE {}").format(sql.Identifier(name))


async def _comment(session: AsyncConnection, name: str) -> str | None:
    """The comment of a database, empty without one; None when there is no such database."""
    found = await session.execute(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s", (name,)
    )
    row = await found.fetchone()
    return str(row[0]) if row is not None else None


async def _set_comment(session: AsyncConnection, name: str, text: str) -> None:
    comment = sql.Literal(text) if text else sql.SQL("NULL")
    await session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), comment))


async def _rename(session: AsyncConnection, old: str, new: str) -> None:
    await session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
