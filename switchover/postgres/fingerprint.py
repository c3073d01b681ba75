"""What a schema is, as sorted catalog facts that two major versions word alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.catalog import LARGE_OBJECT_BYTES, LARGE_OBJECTS, QUERIES
from switchover.postgres.connect import connect, told
from switchover.postgres.viewdef import UNQUALIFIED_SINCE, unqualified
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

SHOWN = 160
"""Characters of a definition that a difference shows of each side."""

MAINTAIN_SINCE = 170000
"""The first server that knows the privilege MAINTAIN; on older ones it is part of nothing."""

Facts = dict[tuple[str, str], tuple[str, ...]]


async def read_fingerprint(session: AsyncConnection, floor: int, *, partitions: bool = True) -> Facts:
    """Every fact of the schema by kind and name; ``floor`` is the older server's version number.

    Without ``partitions`` a partitioned table is a table, and its partitions are nothing of their own.

    White space is folded, since versions differ in it. Two objects of one name keep a fact each.
    """
    facts: Facts = {}
    given = {"%(ignored)s": "'MAINTAIN'" if floor < MAINTAIN_SINCE else "''", "%(floor)s": str(floor)}
    given["%(partitions)s"] = "true" if partitions else "false"
    for kind, query in QUERIES.items():
        for name, value in given.items():
            query = query.replace(name, value)
        found = await session.execute(query.encode())
        for name, fact in await found.fetchall():
            key = (kind, str(name))
            says = unqualified(str(fact)) if kind == "view" and floor < UNQUALIFIED_SINCE else str(fact)
            facts[key] = tuple(sorted((*facts.get(key, ()), " ".join(says.split()))))
    facts["large objects", "all"] = (await _large_objects(session),)
    return facts


async def _large_objects(session: AsyncConnection) -> str:
    """Count, owners and digest of all large objects."""
    found = await session.execute(LARGE_OBJECTS.encode())
    digest = await session.execute(LARGE_OBJECT_BYTES.encode())
    return f"{await found.fetchone()} {await digest.fetchone()}"


async def read_schema(db: Database, app: str) -> list[list[str]]:
    """The schema as rows of kind, name and facts, sorted: for a file, and to be compared with later."""
    with told(db):
        async with await connect(db, app) as session:
            await session.execute("SET search_path = pg_catalog")
            facts = await read_fingerprint(session, session.info.server_version)
    return [[kind, name, *each] for (kind, name), each in sorted(facts.items()) if kind != "large objects"]


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
