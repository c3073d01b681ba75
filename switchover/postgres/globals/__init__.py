"""Roles, settings and privileges of two servers: read, copied in one transaction, and taken away again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from switchover.postgres import guard
from switchover.postgres.connect import connect, told
from switchover.postgres.errors import Refused
from switchover.postgres.globals.change import from_json, name_of, roles_of, undoing
from switchover.postgres.globals.findings import judge
from switchover.postgres.globals.lacking import lacking
from switchover.postgres.globals.read import read_globals, read_side
from switchover.postgres.globals.roles import Membership, Privilege, Role, Setting
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection, sql

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database
    from switchover.postgres.finding import Finding
    from switchover.postgres.globals.change import Change, Kind, Subject
    from switchover.postgres.globals.roles import Globals

TRIES = 3
NOTE = "globals"
"""The fact, in the target's database itself, that lists what was made."""


async def global_findings(source: Database, target: Database, app: str) -> tuple[Finding, ...]:
    """What a copy will make on the target, what it may not make, and what it leaves because the target has another."""
    ours = await read_globals(source, app)
    return judge(ours, await read_globals(target, app, ours.names))


async def copy_globals(source: Database, target: Database, app: str, note: str = NOTE) -> tuple[Change, ...]:
    """Make on the target what it lacks, all or nothing, proved by reading it again; returns what was made.

    The fact ``note`` of the target's database lists it from the same moment on, so that exactly this can be taken
    away. A role that somebody makes meanwhile is theirs: it is looked at anew. Raises Refused.
    """
    ours = await read_globals(source, app)
    with told(target):
        for left in reversed(range(TRIES)):
            try:
                async with await connect(target, app) as session, session.transaction():
                    changes = await _make(session, ours)
                    if changes:
                        earlier = await _noted(session, note)
                        await guard.note(session, note, [*earlier, *(change.to_json() for change in changes)])
                    return changes
            except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                if not left:
                    raise
    raise AssertionError("the last try returns or raises")


async def drop_globals(target: Database, app: str, note: str = NOTE) -> tuple[str, ...]:
    """Take away exactly what the note lists, and the note with it; what is gone already is no error.

    A role that meanwhile owns something, or was granted something, stays with all that was made of it, and so does
    what others have meanwhile been given by way of it: the return value names each, with the server's reason. It is
    theirs from then on.
    """
    stays = []
    with told(target):
        async with await connect(target, app) as session, session.transaction():
            made = [from_json(each) for each in reversed(await _noted(session, note))]
            for about, together in _together(made):
                try:
                    async with session.transaction():
                        for kind, subject in together:
                            await _take(session, kind, subject)
                except psycopg.errors.DependentObjectsStillExist as error:
                    why = error.diag.message_detail or error.diag.message_primary or ""
                    stays.append(f"{plain(about, 200)} stays: {plain(why, 300)}")
            await guard.forget(session, note)
    return tuple(stays)


async def _noted(session: AsyncConnection, note: str) -> list[Json]:
    found = await guard.noted(session, note)
    return found if isinstance(found, list) else []


def _together(made: list[tuple[Kind, Subject]]) -> Iterator[tuple[str, list[tuple[Kind, Subject]]]]:
    """What goes as one, or not at all: a role last, after all that is about it."""
    roles = [subject.name for _, subject in made if isinstance(subject, Role)]
    for kind, subject in made:
        if not roles_of(subject) & set(roles):
            yield f"{kind} {name_of(subject)}", [(kind, subject)]
    for role in roles:
        its = [each for each in made if role in roles_of(each[1])]
        yield f"role {role}", sorted(its, key=lambda each: each[0] == "role")


async def _make(session: AsyncConnection, ours: Globals) -> tuple[Change, ...]:
    theirs = await read_side(session, ours.names)
    changes = lacking(ours, theirs)
    for change in changes:
        for statement in change.statements:
            await _run(session, change, statement)
    now = await read_side(session, ours.names)
    for change in changes:
        if not _is_there(change, now):
            raise Refused(f"it did not hold, and nothing was changed: {change.says}")
    return changes


async def _run(session: AsyncConnection, change: Change, statement: sql.Composed) -> None:
    """One statement; the server's words are kept back where they could repeat a setting's value or a hash."""
    try:
        await session.execute(statement)
    except psycopg.errors.Error as error:
        if error.sqlstate is None or isinstance(error, psycopg.errors.DuplicateObject | psycopg.errors.UniqueViolation):
            raise
        why = type(error).__name__ if isinstance(change.subject, Setting | Role) else plain(str(error), 300)
    else:
        return
    raise Refused(f"the target refused, and nothing was changed: {change.says}: {why}")


def _is_there(change: Change, now: Globals) -> bool:
    match change.subject:
        case Role() as role:
            return now.role(role.name) == (role if now.hashes else replace(role, password=None))
        case Membership() as membership:
            return membership in now.memberships
        case Setting() as setting:
            return setting in now.settings
        case Privilege() as privilege:
            return (privilege in now.privileges) is (change.kind != "withheld")


async def _take(session: AsyncConnection, kind: Kind, subject: Subject) -> None:
    try:
        async with session.transaction():
            await session.execute(undoing(kind, subject, session.info.dbname))
    except psycopg.errors.UndefinedObject:
        return  # a role that is gone took it along
