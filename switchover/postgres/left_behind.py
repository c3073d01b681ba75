"""What a dump does not carry, or carries to its operator's surprise: said before anyone relies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.connect import MAINTENANCE, connect, told
from switchover.postgres.finding import Finding
from switchover.postgres.together import both
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.postgres.connect import Database


_LOOKS = {
    "name": "SELECT current_database(), datcollate, datctype FROM pg_database WHERE datname = current_database()",
    "setting": "SELECT split_part(e, '=', 1), substr(e, strpos(e, '=') + 1) FROM pg_db_role_setting s "
    "JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) e "
    "WHERE d.datname = current_database() AND s.setrole = 0 "
    "AND split_part(e, '=', 1) <> 'default_transaction_read_only' ORDER BY 1",
    "subscription": "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
    "WHERE d.datname = current_database() ORDER BY 1",
    "foreign table": "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' ORDER BY 1",
    "extension": "SELECT extname, extversion FROM pg_extension ORDER BY 1",
    "offer": "SELECT name, default_version FROM pg_available_extensions",
}

_Rows = list[tuple[str, ...]]


async def left_behind(source: Database, target: Database, app: str) -> tuple[Finding, ...]:
    """Settings, subscriptions, foreign rows, older extensions, another sort order, a name that cannot be changed."""
    ours, theirs = await both(_look(source, app), _look(target, app))
    return tuple(_found(ours, theirs))


def _found(ours: dict[str, _Rows], theirs: dict[str, _Rows]) -> Iterator[Finding]:
    name, *locale = theirs["name"][0]
    if name in (MAINTENANCE, "template1"):
        says = f"the target database is {name}, from which others are renamed; it cannot be renamed itself"
        yield Finding("target-name", "block", says, "make a database of another name for the application")
    if list(ours["name"][0][1:]) != locale:
        says = f"the source sorts as {', '.join(ours['name'][0][1:])}, the target as {', '.join(locale)}"
        yield Finding("locale", "warn", says, "make the target with the source's locale, or accept its order")
    has = {row[0]: row[1] for row in theirs["setting"]}
    # By name only: applications keep keys in settings of their own.
    if apart := [row[0] for row in ours["setting"] if has.get(row[0]) != row[1]]:
        says = f"settings of the source database that the target does not have: {', '.join(apart)}"
        yield Finding("settings", "warn", says, "ALTER DATABASE … SET on the target what the application needs")
    if names := ", ".join(row[0] for row in ours["subscription"]):
        yield Finding("subscriptions", "warn", f"subscriptions are not copied: {names}", "make them on the target")
    if names := ", ".join(row[0] for row in ours["foreign table"]):
        says = f"rows of foreign tables are neither copied nor compared: {names}"
        yield Finding("foreign-tables", "warn", says, "see that the target reaches the same foreign servers")
    offered = {row[0]: row[1] for row in theirs["offer"]}
    for extension, version in ours["extension"]:
        if extension in offered and _number(offered[extension]) < _number(version):
            says = f"extension {extension} is {version} on the source, the target offers {offered[extension]}"
            yield Finding("older-extension", "warn", says, "install the newer version on the target's host")


async def _look(db: Database, app: str) -> dict[str, _Rows]:
    found: dict[str, _Rows] = {}
    with told(db):
        async with await connect(db, app) as session:
            for kind, query in _LOOKS.items():
                rows = await (await session.execute(query.encode())).fetchall()
                found[kind] = [tuple(plain(str(value), 200) for value in row) for row in rows]
    return found


def _number(version: str) -> tuple[int, ...]:
    """A version as numbers; a part that is none counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.replace("-", ".").split("."))
