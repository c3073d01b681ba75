"""One role, membership, setting or privilege to make on the target: its statements, its words, its inverse."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from switchover.postgres.errors import Refused
from switchover.postgres.globals.roles import PUBLIC, Membership, Privilege, Role, Setting
from switchover.postgres.globals.statements import (
    drop_role,
    end_membership,
    give_privilege,
    reset_setting,
    take_privilege,
)
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import sql

    from switchover.plan.journal import Json

Kind: TypeAlias = Literal["role", "membership", "setting", "privilege", "withheld"]
"""The last is a privilege that PUBLIC has on every new database, and that is taken from it."""

Subject: TypeAlias = Role | Membership | Setting | Privilege


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to make on the target."""

    kind: Kind
    subject: Subject
    statements: tuple[sql.Composed, ...] = field(repr=False)
    says: str
    """In words, without a value."""
    database: str

    @property
    def name(self) -> str:
        """What it is about, for people."""
        return name_of(self.subject)

    @property
    def undo(self) -> sql.Composed:
        """The statement that takes it away."""
        return undoing(self.kind, self.subject, self.database)

    def to_json(self) -> Json:
        """What an undo needs, to be noted: kind and names, no value; in ASCII, so that no name is cleaned."""
        return json.dumps([self.kind, *_key(self.subject)])


def from_json(data: Json) -> tuple[Kind, Subject]:
    """What was made, by its names only. Raises Refused when it is not what ``Change.to_json`` gave."""
    try:
        found = json.loads(str(data))
    except ValueError:
        found = None
    match found:
        case ["role", str(name)]:
            return "role", Role(name, frozenset())
        case ["membership", str(group), str(member)]:
            return "membership", Membership(group, member)
        case ["setting", str(role), "here" | "everywhere" as where, str(name)]:
            return "setting", Setting(name, "", role or None, where == "here")
        case ["privilege" | "withheld" as kind, str(grantee), str(privilege), str(parameter)]:
            return kind, Privilege(grantee, privilege, parameter=parameter)
        case _:
            raise Refused(f"this names no role, membership, setting or privilege: {plain(str(data), 100)}")


def undoing(kind: Kind, subject: Subject, database: str) -> sql.Composed:
    """The inverse of one change; run again, it changes nothing."""
    match subject:
        case Role():
            return drop_role(subject.name)
        case Membership():
            return end_membership(subject.group, subject.member)
        case Setting():
            return reset_setting(subject, database)
        case Privilege() if kind == "withheld":
            return give_privilege(subject, database)
        case Privilege():
            return take_privilege(subject, database)


def roles_of(subject: Subject) -> frozenset[str]:
    """The roles it is about."""
    match subject:
        case Role():
            return frozenset({subject.name})
        case Membership():
            return frozenset(subject.roles)
        case Setting():
            return frozenset({subject.role} if subject.role is not None else ())
        case Privilege():
            return frozenset({subject.grantee} - {PUBLIC})


def name_of(subject: Subject) -> str:
    """What it is about, for people."""
    return plain(" ".join(each for each in _key(subject) if each), 300)


def _key(subject: Subject) -> tuple[str, ...]:
    match subject:
        case Role():
            return (subject.name,)
        case Membership():
            return subject.roles
        case Setting():
            return subject.role or "", "here" if subject.here else "everywhere", subject.name
        case Privilege():
            return subject.grantee, subject.privilege, subject.parameter
