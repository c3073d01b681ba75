"""What two sides' globals say, as facts to be held against each other like those of a schema.

Passwords are not among them: of one password with two salts nobody can tell that it is one. Neither are attributes of
the superuser that initdb made, nor who owns the target's database when that superuser owns the source's.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.globals.roles import PUBLIC, Globals, Membership, Privilege, Role, Setting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from switchover.postgres.fingerprint import Facts

_KEY = secrets.token_bytes(16)
"""An application's setting may be a short key, whose digest could be guessed if it were the same in every run."""

_Fact = tuple[tuple[str, str], str]


def global_facts(ours: Globals, theirs: Globals) -> tuple[Facts, Facts]:
    """Facts of both sides by kind and name; a value of an application's own setting is never shown."""
    firsts = {role.name for side in (ours, theirs) for role in side.roles if role.first}
    owners = {ours.owner, theirs.owner}
    owned = ours.owner in ours.names - firsts
    limited = None not in (ours.limit, theirs.limit)
    mine, other = (_grouped(side, firsts, owners, owned=owned) for side in (ours, theirs))
    return {**mine, **_database(ours, limited=limited)}, {**other, **_database(theirs, limited=limited)}


def _database(side: Globals, *, limited: bool) -> Facts:
    """What is said of the database itself; its limit only where both sides show it."""
    facts: Facts = {("database", "default tablespace"): (_quoted(side.tablespace),)}
    if limited:
        facts["database", "connection limit"] = (str(side.limit),)
    if side.comment is not None:
        facts["database", "comment"] = (side.comment,)
    return facts


def _grouped(side: Globals, firsts: Collection[str], owners: Collection[str], *, owned: bool) -> Facts:
    found = defaultdict(list)
    if owned:
        found["database", "owner"].append(_quoted(side.owner))
    for key, fact in _facts(side, firsts, owners):
        found[key].append(fact)
    return {key: tuple(sorted(facts)) for key, facts in found.items()}


def _facts(side: Globals, firsts: Collection[str], owners: Collection[str]) -> Iterator[_Fact]:
    for role in side.roles:
        if role.name not in firsts:
            yield ("role", _quoted(role.name)), _role(role)
    for membership in side.memberships:
        yield ("membership", f"{_quoted(membership.member)} in {_quoted(membership.group)}"), _options(membership)
    for setting in side.settings:
        yield _of(setting), _value(setting)
    for privilege in side.privileges:
        if privilege.parameter or privilege.grantee not in owners:
            yield _on(privilege), privilege.privilege + ("*" if privilege.grantable else "")


def _role(role: Role) -> str:
    words = " ".join(sorted(role.attributes)) or "no attribute"
    comment = f", comment {role.comment}" if role.comment is not None else ""
    return f"{words}, connection limit {role.limit}, valid until {role.valid_until or 'for ever'}{comment}"


def _options(membership: Membership) -> str:
    has = (("ADMIN", membership.admin), ("INHERIT", membership.inherit), ("SET", membership.set))
    return " ".join(word for word, on in has if on) or "no option"


def _of(setting: Setting) -> tuple[str, str]:
    if setting.role is None and setting.here:
        return "database setting", setting.name
    whose = "of all roles" if setting.role is None else _quoted(setting.role)
    return "role setting", f"{whose} {setting.name}" + (" here" if setting.here else "")


def _value(setting: Setting) -> str:
    if "." not in setting.name:
        return setting.value
    return hashlib.blake2b(setting.value.encode(), key=_KEY, digest_size=8).hexdigest()


def _on(privilege: Privilege) -> tuple[str, str]:
    whose = "PUBLIC" if privilege.grantee == PUBLIC else _quoted(privilege.grantee)
    if privilege.parameter:
        return "parameter privileges", f"{whose} on {privilege.parameter}"
    return "database privileges", whose


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
