"""What the target lacks of the source's roles, settings and privileges, in the order in which it can be made.

A role that the target already has is touched inside this database only: whatever else differs about it may serve
other databases there, and is for a person to decide (``global_findings``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from switchover.postgres.globals.change import Change, roles_of
from switchover.postgres.globals.roles import PUBLIC, SINCE_ADMIN, Globals, Privilege, Role
from switchover.postgres.globals.statements import (
    comment_role,
    create_role,
    give_membership,
    give_privilege,
    set_setting,
    take_privilege,
)
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import sql

    from switchover.postgres.globals.change import Kind, Subject

_Changes: TypeAlias = "Iterator[tuple[Change, bool]]"
"""Each with whether our role on the target may make it."""


def lacking(ours: Globals, theirs: Globals) -> tuple[Change, ...]:
    """What to make on the target, as far as our role there may: in the order in which it can be run."""
    return tuple(change for change, allowed in _wanted(_Sides(ours, theirs)) if allowed)


def beyond_us(ours: Globals, theirs: Globals) -> tuple[Change, ...]:
    """What the target lacks too, but our role there may not make."""
    return tuple(change for change, allowed in _wanted(_Sides(ours, theirs)) if not allowed)


def givable(role: Role, theirs: Globals) -> Role:
    """The role with those attributes that ours may give it (CREATE ROLE manual; from 16 on only what ours has)."""
    powers = theirs.powers
    if powers.superuser:
        return role
    own = powers.attributes & {"CREATEDB", "REPLICATION", "BYPASSRLS"}
    may = {"INHERIT", "LOGIN", "CREATEROLE", *(own if theirs.version_num >= SINCE_ADMIN else {"CREATEDB"})}
    return replace(role, attributes=role.attributes & may)


@dataclass(frozen=True, slots=True)
class _Sides:
    ours: Globals
    theirs: Globals

    @property
    def new(self) -> frozenset[str]:
        return self.ours.names - self.theirs.names

    def may_administer(self, name: str) -> bool:
        """Whether our role may change a role of the target, or give it to others; a new one it has made itself."""
        powers, there = self.theirs.powers, self.theirs.role(name)
        if powers.superuser:
            return True
        if not powers.makes_roles or (there is not None and "SUPERUSER" in there.attributes):
            return False
        return name in self.new or self.theirs.version_num < SINCE_ADMIN or name in powers.admin_on

    def change(self, kind: Kind, subject: Subject, says: str, *statements: sql.Composed) -> Change:
        return Change(kind, subject, statements, says, self.theirs.database)

    def absent(self, subject: Subject) -> bool:
        """Whether it is about a role that will not be there."""
        return not self.theirs.powers.makes_roles and bool(roles_of(subject) & self.new)


def _wanted(sides: _Sides) -> _Changes:
    for each in (_roles, _role_settings, _memberships, _database_settings, _privileges, _withheld):
        yield from each(sides)


def _roles(sides: _Sides) -> _Changes:
    for role in sides.ours.roles:
        if role.name in sides.new:
            made = givable(role, sides.theirs)
            statements = [create_role(made, password=True)]
            if role.comment is not None:
                statements.append(comment_role(role.name, role.comment))
            yield sides.change("role", made, f"make role {_shown(role.name)}", *statements), not sides.absent(role)


def _role_settings(sides: _Sides) -> _Changes:
    """Of new roles all, of others those in this database that the target does not set."""
    has = {each.scope for each in sides.theirs.settings}
    for each in sorted(sides.ours.settings, key=lambda one: (one.here, one.role or "", one.name)):
        role = each.role
        if role is not None and (role in sides.new or (each.here and each.scope not in has)):
            says = f"set {_shown(each.name)} for {_shown(role)}" + (" in this database" if each.here else "")
            made = sides.change("setting", each, says, set_setting(each, sides.theirs.database))
            yield made, sides.may_administer(role) and sides.theirs.powers.may_set(each.name)


def _memberships(sides: _Sides) -> _Changes:
    """Those of which at least one side is new. Who makes a role has ADMIN on it, and may not give it to itself."""
    powers = sides.theirs.powers
    for each in sorted(sides.ours.memberships, key=lambda one: one.roles):
        if sides.new & set(each.roles):
            has_admin = not powers.superuser and each.member == powers.role
            given = replace(each, admin=each.admin and not has_admin)
            says = f"let {_shown(each.member)} belong to {_shown(each.group)}"
            made = sides.change("membership", given, says, give_membership(given, sides.theirs.version_num))
            yield made, sides.may_administer(each.group) and not sides.absent(each)


def _database_settings(sides: _Sides) -> _Changes:
    has = {each.scope for each in sides.theirs.settings}
    powers = sides.theirs.powers
    for each in sorted(sides.ours.settings, key=lambda one: one.name):
        if each.role is None and each.here and each.scope not in has:
            says = f"set {_shown(each.name)} for the database"
            made = sides.change("setting", each, says, set_setting(each, sides.theirs.database))
            yield made, powers.owns and powers.may_set(each.name)


def _privileges(sides: _Sides) -> _Changes:
    """On the database what nobody there has decided otherwise; on parameters only for new roles."""
    theirs = sides.theirs
    has = {each.scope for each in theirs.privileges}
    for each in sorted(sides.ours.privileges, key=lambda one: one.scope):
        if each.scope in has:
            continue
        made = sides.change("privilege", each, f"grant {_of(each)}", give_privilege(each, theirs.database))
        if each.parameter:
            if each.grantee in sides.new:
                yield made, theirs.powers.superuser
        elif each.grantee != theirs.owner and (each.grantee != PUBLIC or theirs.untouched):
            there = each.grantee == PUBLIC or each.grantee in theirs.names | sides.new
            yield made, theirs.powers.owns and there and not sides.absent(each)


def _withheld(sides: _Sides) -> _Changes:
    """What the source has taken from PUBLIC; last, when those who keep it have it by name."""
    theirs = sides.theirs
    if theirs.untouched:
        for each in sorted(theirs.privileges - sides.ours.privileges, key=lambda one: one.scope):
            if not each.parameter and each.scope not in {one.scope for one in sides.ours.privileges}:
                taken = take_privilege(each, theirs.database)
                yield sides.change("withheld", each, f"revoke {_of(each)}", taken), theirs.powers.owns


def _of(privilege: Privilege) -> str:
    on = f"parameter {_shown(privilege.parameter)}" if privilege.parameter else "the database"
    return f"{privilege.privilege} on {on}, {_shown(privilege.grantee) if privilege.grantee else 'PUBLIC'}"


def _shown(name: str) -> str:
    return plain(name, 100)
