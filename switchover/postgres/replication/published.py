"""Which tables go, as what, and how each row of them is known: an explicit list, so that a change of it is seen.

Every table that holds rows of its own is listed: partitions rather than their root, for through the root a TRUNCATE
of a single partition is lost, and a partition made later would go unseen where it could not be applied
(https://www.postgresql.org/docs/current/sql-createpublication.html). Generated columns are left to the subscriber.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.guard import read_fact, write_fact
from switchover.postgres.replication.identity import widen
from switchover.postgres.replication.marker import SCHEMA, TABLE, make_marker_table
from switchover.postgres.replication.slot import read_slot
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.replication.link import Link

_TABLES = """
SELECT n.nspname, c.relname, c.relreplident::text,
  CASE WHEN i.indexrelid IS NULL THEN NULL ELSE ARRAY(
    SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
    WHERE k.place <= i.indnkeyatts ORDER BY k.place) END,
  EXISTS (SELECT FROM pg_index p, unnest(p.indkey) k JOIN pg_attribute a ON a.attnum = k
    WHERE p.indrelid = c.oid AND (p.indisprimary OR p.indexrelid = i.indexrelid)
    AND a.attrelid = c.oid AND a.attgenerated <> ''),
  EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped),
  ARRAY(SELECT concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      CASE WHEN a.attgenerated <> '' THEN 'generated' END)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname COLLATE "C")
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'
AND (NOT EXISTS (SELECT FROM pg_depend x WHERE x.objid = c.oid AND x.classid = 'pg_class'::regclass
  AND x.deptype = 'e') OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
"""A table of an extension goes if the extension says that its rows are the user's. A primary key that may be
deferred is no identity."""

_MEMBERS = """
SELECT n.nspname, c.relname FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid
LEFT JOIN pg_class c ON c.oid = r.prrelid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s
"""


STRICT_SINCE = 180000
"""The first publisher that refuses to change a row whose identity has a column that is not sent."""


class Identity(StrEnum):
    """How a row that is changed or deleted is known on the other side."""

    KEY = "primary key"
    INDEX = "index"
    FULL = "whole row"
    NONE = "none"
    """Such a table, once published, refuses every UPDATE and DELETE."""
    GENERATED = "generated"
    """It would take a generated column, which is not sent: changes are refused here, or not found there."""


@dataclass(frozen=True, slots=True, order=True)
class PublishedTable:
    """One table, and what of it the other side must know."""

    schema: str
    name: str
    identity: Identity
    key: tuple[str, ...]
    columns: tuple[str, ...]
    """Each with its type, sorted by name."""

    @property
    def shown(self) -> str:
        return plain(f"{self.schema}.{self.name}", 200)

    @property
    def key_name(self) -> str:
        """Its name as SQL has it, under which it is noted."""
        return sql.Identifier(self.schema, self.name).as_string(None)

    @property
    def line(self) -> str:
        """Everything that replication depends on."""
        return f"{self.identity} ({', '.join(self.key)}): {', '.join(self.columns)}"


@dataclass(frozen=True, slots=True)
class Published:
    """What goes, as the publisher's catalogs have it at one moment."""

    tables: tuple[PublishedTable, ...]
    members: frozenset[tuple[str, str]] | None
    """The tables that the publication lists; None while there is no publication."""

    @property
    def fingerprint(self) -> str:
        """A hash of all tables, their columns and identities."""
        lines = "\n".join(f"{table.key_name} {table.line}" for table in self.tables)
        return hashlib.sha256(lines.encode()).hexdigest()

    def lines(self) -> dict[str, str]:
        return {table.key_name: table.line for table in self.tables}

    def unlisted(self) -> tuple[PublishedTable, ...]:
        """Tables whose rows do not go, though they should."""
        return tuple(each for each in self.tables if (each.schema, each.name) not in (self.members or ()))


async def read_published(session: AsyncConnection, name: str, *, version_num: int = 0) -> Published:
    """What there is to publish, and what the publication of that name lists.

    ``version_num`` is that of a newer server which will publish the same tables one day.
    """
    strict = max(version_num, session.info.server_version) >= STRICT_SINCE
    rows = await (await session.execute(_TABLES)).fetchall()
    tables = tuple(
        PublishedTable(schema, table, _identity(kind, key, in_key, some and strict), tuple(key or ()), tuple(columns))
        for schema, table, kind, key, in_key, some, columns in rows
    )
    members = await (await session.execute(_MEMBERS, (name,))).fetchall()
    listed = frozenset((schema, table) for schema, table in members if table is not None)
    return Published(tables, listed if members else None)


async def publish(link: Link, app: str) -> Published:
    """Make the publication, before its slot; tables without an identity are first given the whole row.

    A slot made before its publication could not be read. Raises ReplicationFailed when the slot is there and the
    list is another one: rows written meanwhile would be missing, so the copy must begin anew. Refuses, as well, to
    publish a table that could not be updated then.
    """
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            await make_marker_table(session)
            before = await read_published(session, link.name)
            if stuck := [each.shown for each in before.tables if each.identity is Identity.GENERATED]:
                names = ", ".join(stuck[:10])
                raise ReplicationFailed(
                    f"{link.publisher.where}: no row of {names} could be changed any more, for want of a primary key "
                    "without generated columns; add one, or move by dump"
                )
            lacking = [(each.schema, each.name) for each in before.tables if each.identity is Identity.NONE]
            await widen(link.publisher, app, lacking)
            now = await _list(session, link)
    await write_fact(link.publisher, app, _fact(link), dict[str, "Json"](now.lines()))
    return now


async def drift(link: Link, app: str) -> tuple[str, ...]:
    """What has changed since it was published, a line each: while there is one, the copy is not what it seems."""
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            now = await read_published(session, link.name)
    noted = await read_fact(link.publisher, app, _fact(link))
    if not isinstance(noted, dict) or now.members is None:
        return ("the publication is not there",)
    return drifted({name: str(line) for name, line in noted.items()}, now)


def drifted(noted: Mapping[str, str], now: Published) -> tuple[str, ...]:
    """The differences between what was published and what there is; a table dropped and made again is a new one."""
    found = []
    unlisted = set(now.unlisted())
    for table in now.tables:
        was = noted.get(table.key_name)
        if was is None:
            found.append(f"table {table.shown} is new: its rows do not go")
        elif table in unlisted:
            found.append(f"table {table.shown} was made anew or taken from the publication: its rows do not go")
        elif was != table.line:
            found.append(f"table {table.shown} is now {plain(table.line, 300)}, and was {plain(was, 300)}")
    there = {table.key_name for table in now.tables}
    found += [f"table {plain(name, 200)} is gone" for name in noted if name not in there]
    return tuple(found)


async def _list(session: AsyncConnection, link: Link) -> Published:
    """Let the publication list exactly the tables there are; it locks them against change, so they are read again."""
    while True:
        async with session.transaction():
            now = await read_published(session, link.name)
            wanted = {*((each.schema, each.name) for each in now.tables), (SCHEMA, TABLE)}
            if now.members is not None and now.members == wanted:
                return now
            if now.members is not None and await read_slot(session, link.name) is not None:
                says = ", ".join(sorted(plain(".".join(each), 200) for each in now.members ^ wanted)[:10])
                raise ReplicationFailed(f"tables have come or gone since the copy began: {says}; begin it anew")
            await session.execute(_statement(link.name, wanted, made=now.members is not None))
            after = await read_published(session, link.name)
        if after.tables == now.tables:
            return after


def _statement(name: str, tables: set[tuple[str, str]], *, made: bool) -> sql.Composed:
    listed = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*each)) for each in sorted(tables))
    if made:
        return sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(sql.Identifier(name), listed)
    return sql.SQL(
        "CREATE PUBLICATION {} FOR TABLE {} "
        "WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)"
    ).format(sql.Identifier(name), listed)


def _identity(kind: str, key: list[str] | None, generated_key: bool, generated: bool) -> Identity:
    """The subscriber looks a row up by its primary key, whatever came, so that one with a generated column is no use.

    From PostgreSQL 18 on a whole row that has a generated column is refused as well.
    """
    if generated_key or (generated and (key is None or kind == "f")):
        return Identity.GENERATED
    if kind == "f":
        return Identity.FULL
    if key is None:
        return Identity.NONE
    return Identity.INDEX if kind == "i" else Identity.KEY


def _fact(link: Link) -> str:
    return f"published {link.name}"
