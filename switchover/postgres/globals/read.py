"""What one side has: the roles that matter to the database, and all that is said of them on its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.connect import connect, told
from switchover.postgres.globals import catalog
from switchover.postgres.globals.roles import Globals, Membership, Powers, Privilege, Role, Setting

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

PARAMETER_ACL_SINCE = 150000
"""The first server with privileges on parameters."""


async def read_globals(db: Database, app: str, also: Collection[str] = ()) -> Globals:
    """What surrounds the database: of the roles those that matter to it, and those named in ``also``."""
    with told(db):
        async with await connect(db, app) as session:
            return await read_side(session, also)


async def read_side(session: AsyncConnection, also: Collection[str]) -> Globals:
    """The same in a session of one's own, which is left with ``search_path = pg_catalog``; who is connected matters."""
    await _pin(session)
    names = {name for name, _ in await _rows(session, catalog.MATTERING_NOW)}
    [[may_read]] = await _rows(session, catalog.MAY_READ_HASHES)
    return await _read(session, names | set(also), (), hashes=may_read)


async def mattering(session: AsyncConnection) -> dict[str, bool]:
    """The roles that matter, whoever is connected; each with whether its members act by it on something here."""
    await _pin(session)
    return dict(await _rows(session, catalog.MATTERING))


async def read_named(session: AsyncConnection, roles: dict[str, bool]) -> Globals:
    """What is said of these roles here, without passwords, and who else can act by them."""
    await _pin(session)
    return await _read(session, roles.keys(), [name for name, acts in roles.items() if acts], hashes=False)


async def _read(session: AsyncConnection, roles: Collection[str], groups: Collection[str], *, hashes: bool) -> Globals:
    version, names = session.info.server_version, sorted(roles)
    passwords = dict(await _rows(session, catalog.HASHES, names)) if hashes else {}
    [[database, owner, limit, comment, tablespace, encryption, *who]] = await _rows(session, catalog.SIDE)
    privileges = await _rows(session, catalog.DATABASE_PRIVILEGES)
    if version >= PARAMETER_ACL_SINCE:
        privileges += await _rows(session, catalog.PARAMETER_PRIVILEGES, names)
    return Globals(
        version_num=version,
        database=database,
        owner=owner,
        limit=limit,
        comment=comment,
        tablespace=tablespace,
        encryption=encryption,
        hashes=hashes,
        powers=await _powers(session, who),
        roles=tuple(
            Role(name, frozenset(words), limit, until, comment, passwords.get(name), first)
            for name, words, limit, until, comment, first in await _rows(session, catalog.ROLES, names)
        ),
        memberships=frozenset(
            Membership(*row) for row in await _rows(session, catalog.MEMBERSHIPS, names, sorted(groups))
        ),
        settings=frozenset(Setting(*row) for row in await _rows(session, catalog.SETTINGS, names)),
        privileges=frozenset(Privilege(*row) for row in privileges),
        tablespaces_used=frozenset(row[0] for row in await _rows(session, catalog.TABLESPACES_USED)),
        tablespaces=frozenset(row[0] for row in await _rows(session, catalog.TABLESPACES)),
    )


async def _powers(session: AsyncConnection, who: list[Any]) -> Powers:
    role, words, owns = who
    settable = catalog.SETTABLE if session.info.server_version >= PARAMETER_ACL_SINCE else catalog.SETTABLE_14
    admin_on = [] if "SUPERUSER" in words else await _rows(session, catalog.ADMIN_ON)
    return Powers(
        role,
        frozenset(words),
        owns,
        frozenset(row[0] for row in admin_on),
        frozenset(row[0] for row in await _rows(session, settable)),
    )


async def _pin(session: AsyncConnection) -> None:
    await session.execute("SELECT set_config('search_path', 'pg_catalog', false)")


async def _rows(session: AsyncConnection, query: str, *names: list[str]) -> list[tuple[Any, ...]]:
    found = await session.execute(query.encode(), names or None)
    return await found.fetchall()
