"""What a schema is, as sorted catalog facts that two major versions word alike."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from switchover.postgres.catalog import BEYOND, LARGE_OBJECT_BYTES, LARGE_OBJECTS, LATER, QUERIES
from switchover.postgres.connect import connect, told
from switchover.postgres.together import both
from switchover.postgres.viewdef import UNQUALIFIED_SINCE, unqualified
from switchover.postgres.wording import folded, pushed
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

SHOWN = 160
"""Characters of a definition that a difference shows of each side."""

MAINTAIN_SINCE = 170000
"""The first server that knows the privilege MAINTAIN; on older ones it is part of nothing."""

INDENTED_SINCE = 160000
"""The first server that says of XMLSERIALIZE that it does not indent."""

_KEY = secrets.token_hex(16)
"""A short password in an option could be guessed by a hash that is the same in every run."""

Facts = dict[tuple[str, str], tuple[str, ...]]


async def read_fingerprint(
    session: AsyncConnection,
    floor: int,
    *,
    partitions: bool = True,
    large_objects: bool = True,
    beyond: bool = False,
) -> Facts:
    """Every fact of the schema by kind and name; ``floor`` is the older server's version number.

    Without ``partitions`` a partitioned table is a table, and its partitions are nothing of their own. To hash
    ``large_objects`` means to read them all. ``beyond`` adds what a copy leaves to the target. Two objects of one
    name keep a fact each.
    """
    given = {"%(partitions)s": "true" if partitions else "false", "%(key)s": f"'{_KEY}'"}
    facts = await _read(session, floor, given, BEYOND if beyond else {})
    if large_objects:
        facts["large objects", "all"] = (await _large_objects(session),)
    return facts


async def _read(session: AsyncConnection, floor: int, given: Mapping[str, str], beyond: Mapping[str, str]) -> Facts:
    """The facts of every query, in which ``given`` stands for what varies."""
    facts: Facts = {}
    values = {"%(ignored)s": "'MAINTAIN'" if floor < MAINTAIN_SINCE else "''", "%(floor)s": str(floor), **given}
    later = {kind: query for kind, (since, query) in LATER.items() if floor >= since}
    for kind, query in {**QUERIES, **later, **beyond}.items():
        for name, value in values.items():
            query = query.replace(name, value)
        found = await session.execute(query.encode())
        for name, fact in await found.fetchall():
            key = (kind, str(name))
            facts[key] = tuple(sorted((*facts.get(key, ()), _worded(kind, str(fact), floor))))
    return facts


def _worded(kind: str, fact: str, floor: int) -> str:
    """A fact in the words of all versions, and of a restore; nothing within quotes is touched."""
    if kind == "view" and floor < UNQUALIFIED_SINCE:
        fact = unqualified(fact)
    if kind in ("view", "rule"):
        fact = folded(fact)
    return pushed(fact.replace(" NO INDENT)", ")") if floor < INDENTED_SINCE else fact)


async def schemas_apart(source: Database, target: Database, app: str) -> list[str]:
    """Where the schemas of two databases differ at this moment, a line each; large objects are left out."""
    with told(source):
        ours = await connect(source, app)
    async with ours:
        with told(target):
            theirs = await connect(target, app)
        async with theirs:
            floor = min(ours.info.server_version, theirs.info.server_version)

            async def read(session: AsyncConnection, db: Database) -> Facts:
                with told(db):
                    await session.execute("SET search_path = pg_catalog")
                    return await read_fingerprint(session, floor, large_objects=False)

            return schema_differences(*await both(read(ours, source), read(theirs, target)))


async def _large_objects(session: AsyncConnection) -> str:
    """Count, owners and digest of all large objects."""
    found = await session.execute(LARGE_OBJECTS.encode())
    digest = await session.execute(LARGE_OBJECT_BYTES.encode())
    return f"{await found.fetchone()} {await digest.fetchone()}"


async def read_schema(db: Database, app: str) -> list[list[str]]:
    """The schema as rows of kind, name and facts, sorted: for a file, and to be compared with later.

    No value of an option is in it, not even as a hash: a key would have to lie beside the file.
    """
    with told(db):
        async with await connect(db, app) as session:
            await session.execute("SET search_path = pg_catalog")
            given = {"%(partitions)s": "true", "%(key)s": "''"}
            facts = await _read(session, session.info.server_version, given, {})
    return [[kind, name, *each] for (kind, name), each in sorted(facts.items())]


def schema_changes(before: list[list[str]], now: list[list[str]]) -> list[str]:
    """What is new, gone or different since, a line each."""
    then, today = ({(kind, name): facts for kind, name, *facts in rows} for rows in (before, now))
    new = [f"new {kind} {plain(name, 200)}" for kind, name in today if (kind, name) not in then]
    gone = [f"{kind} {plain(name, 200)} is gone" for kind, name in then if (kind, name) not in today]
    other = [
        f"{kind} {plain(name, 200)} differs"
        for kind, name in today
        if then.get((kind, name), today[kind, name]) != today[kind, name]
    ]
    return [*new, *gone, *other]


def schema_differences(ours: Facts, theirs: Facts) -> list[str]:
    """Where two schemas differ, a line each."""
    lines = []
    for key in sorted(ours.keys() | theirs.keys()):
        source, target = "; ".join(ours.get(key, ())), "; ".join(theirs.get(key, ()))
        name = f"{key[0]} {plain(key[1], 200)}"
        if key not in theirs:
            lines.append(f"{name} is missing on the target")
        elif key not in ours:
            lines.append(f"{name} is only on the target")
        elif source != target:
            lines.append(f"{name} is {_shown(target, source)} on the target, {_shown(source, target)} on the source")
    return lines


def _shown(text: str, other: str) -> str:
    """The part of a definition from shortly before the first character in which it differs from the other one."""
    shorter = min(len(text), len(other))
    apart = next((at for at in range(shorter) if text[at] != other[at]), shorter)
    start = max(0, apart - SHOWN // 4) if len(text) > SHOWN else 0
    return plain(("…" if start else "") + text[start : start + SHOWN] + ("…" if len(text) > start + SHOWN else ""))
