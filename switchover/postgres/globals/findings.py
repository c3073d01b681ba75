"""What two servers' roles, settings and privileges mean for a copy, graded; no value and no hash is ever shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.finding import Finding
from switchover.postgres.globals.change import Change, roles_of
from switchover.postgres.globals.lacking import beyond_us, givable, lacking
from switchover.postgres.globals.roles import PUBLIC, Globals, Privilege, Role, Setting
from switchover.postgres.globals.statements import (
    alter_role,
    create_role,
    end_membership,
    give_membership,
    give_privilege,
    reset_setting,
    show_setting,
    take_privilege,
)
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Difference = tuple[str, sql.Composable | str]
"""What differs, in words, and the statement that mends it."""


def judge(ours: Globals, theirs: Globals) -> tuple[Finding, ...]:
    """Everything about roles, settings and privileges that an operator must know before the copy."""
    new = [role for role in ours.roles if role.name not in theirs.names]
    beyond = [each for each in beyond_us(ours, theirs) if not _needs(each, new, theirs)]
    return (
        *_made(ours, theirs),
        *_roles(new, theirs),
        *_passwords(ours, theirs, new),
        *_differing(ours, theirs),
        *_settings(ours, theirs, [each for each in beyond if each.kind == "setting"]),
        *_privileges(ours, theirs, [each for each in beyond if each.kind not in ("setting", "role")]),
        *_places(ours, theirs),
    )


def _needs(change: Change, new: list[Role], theirs: Globals) -> bool:
    """Whether it only waits for a role that we may not make, which is told by itself."""
    return not theirs.powers.makes_roles and bool({role.name for role in new} & roles_of(change.subject))


def _made(ours: Globals, theirs: Globals) -> Iterator[Finding]:
    changes = lacking(ours, theirs)
    roles = [each.name for each in changes if each.kind == "role"]
    if roles:
        says = f"{count(len(roles), 'role')} will be made on the target: {_names(roles)}"
        others = len(changes) - len(roles)
        also = f"; with them {count(others, 'setting, membership or privilege')}" if others == 1 else ""
        also = f"; with them {others:,} settings, memberships and privileges" if others > 1 else also
        yield Finding("roles-copied", "info", says + also)


def _roles(new: list[Role], theirs: Globals) -> Iterator[Finding]:
    who = plain(theirs.powers.role, 100)
    if new and not theirs.powers.makes_roles:
        says = f"the target lacks role {_names(role.name for role in new)}, and {who} may not make roles there"
        why = "objects would lose their owners and grants, and the application could not log in"
        yield Finding("missing-role", "block", says, _text(create_role(role) for role in new), why)
        return
    less = [(role, role.attributes - givable(role, theirs).attributes) for role in new]
    less = [(role, words) for role, words in less if words]
    if less:
        says = f"{who} may not give on the target: " + "; ".join(
            f"{', '.join(sorted(words))} to {plain(role.name, 100)}" for role, words in less
        )
        why = "these roles will be made without it: what they do by it fails after the switchover"
        fix = _text(alter_role(role.name, sorted(words)) for role, words in less)
        yield Finding("role-attributes", "warn", plain(says), fix, why)


def _passwords(ours: Globals, theirs: Globals, new: list[Role]) -> Iterator[Finding]:
    logins = [role for role in ours.roles if "LOGIN" in role.attributes]
    made = [role for role in new if role in logins]
    if made and not ours.hashes:
        says = f"passwords cannot be read on the source, so the roles are made without: {_names(r.name for r in made)}"
        yield Finding(
            "passwords",
            "warn",
            says,
            "\\password ROLE in psql on the target, for each; or read the source as a superuser",
            "a role without a password cannot log in where one is asked for",
        )
    there = [role.name for role in logins if role not in made]
    if there and not (ours.hashes and theirs.hashes):
        yield Finding(
            "passwords-unknown",
            "warn",
            f"whether these roles have the same password on both sides cannot be read: {_names(there)}",
            "log in on the target as each of them, with the password that the application has",
            "an application with another password cannot log in after the switchover",
        )
    md5 = [role.name for role in made if (role.password or "").startswith("md5")]
    if md5 and theirs.encryption == "scram-sha-256":
        yield Finding(
            "md5-passwords",
            "info",
            f"passwords that are stored as md5, and stay so: {_names(md5)}",
            "\\password ROLE in psql stores the same password as scram-sha-256",
            "where the target's pg_hba.conf asks for scram-sha-256 they are refused; where it says md5 they work",
        )


def _differing(ours: Globals, theirs: Globals) -> Iterator[Finding]:
    found = []
    for role in ours.roles:
        there = theirs.role(role.name)
        if there is not None:
            apart = [*_attributes(role, there), *_memberships(role, ours, theirs), *_of_role(role, ours, theirs)]
            apart += _password(role, there) if theirs.hashes else []
            found += [(f"{plain(role.name, 100)}: {says}", fix) for says, fix in apart]
    if found:
        says = "roles that the target has differ, and are left as they are: " + "; ".join(says for says, _ in found)
        why = "the application may do more or less on the target than it does now, or find other defaults"
        yield Finding("role-differs", "warn", plain(says), _text(fix for _, fix in found), why)


def _attributes(mine: Role, there: Role) -> Iterator[_Difference]:
    if mine.first or there.first:
        return
    more, less = mine.attributes - there.attributes, there.attributes - mine.attributes
    if more or less:
        words = [f"{word} is missing" for word in sorted(more)] + [f"{word} is too much" for word in sorted(less)]
        yield ", ".join(words), alter_role(mine.name, [*sorted(more), *(f"NO{word}" for word in sorted(less))])
    if mine.limit != there.limit:
        says = f"connection limit {there.limit}, not {mine.limit}"
        yield says, alter_role(mine.name, [f"CONNECTION LIMIT {mine.limit:d}"])
    if mine.valid_until != there.valid_until:
        until = sql.SQL(" VALID UNTIL {}").format(sql.Literal(mine.valid_until or "infinity"))
        says = f"valid until {there.valid_until or 'for ever'}, not {mine.valid_until or 'for ever'}"
        yield says, alter_role(mine.name, []) + until


def _password(mine: Role, there: Role) -> Iterator[_Difference]:
    """Where both sides can be read; of one password with two salts nobody can tell that it is one."""
    if "LOGIN" in mine.attributes and mine.password is not None and mine.password != there.password:
        says = "has no password" if there.password is None else "another password, or the same with another salt"
        yield says, f"\\password {sql.Identifier(mine.name).as_string(None)}"


def _memberships(role: Role, ours: Globals, theirs: Globals) -> Iterator[_Difference]:
    for each in sorted(ours.memberships - theirs.memberships, key=lambda one: one.roles):
        if each.member == role.name and (each.group in theirs.names or each.group not in ours.names):
            says = f"does not belong to {plain(each.group, 100)} in the same way"
            yield says, give_membership(each, theirs.version_num)
    pairs = {each.roles for each in ours.memberships}
    for each in sorted(theirs.memberships, key=lambda one: one.roles):
        if each.member == role.name and each.roles not in pairs and each.member != theirs.powers.role:
            yield f"belongs to {plain(each.group, 100)} on the target only", end_membership(*each.roles)


def _of_role(role: Role, ours: Globals, theirs: Globals) -> Iterator[_Difference]:
    has = {each.scope: each for each in theirs.settings if each.role == role.name}
    mine = {each.scope: each for each in ours.settings if each.role == role.name}
    for scope, each in sorted(mine.items()):
        if each.here and scope not in has:
            continue  # it will be set
        if has.get(scope) != each:
            yield f"{plain(each.name, 100)} is set otherwise", show_setting(each, theirs.database)
    for scope, each in sorted(has.items()):
        if scope not in mine:
            yield f"{plain(each.name, 100)} is set on the target only", reset_setting(each, theirs.database)


def _settings(ours: Globals, theirs: Globals, beyond: list[Change]) -> Iterator[Finding]:
    has = {each.scope: each for each in theirs.settings if each.role is None}
    mine = {each.scope: each for each in ours.settings if each.role is None}
    apart = [each for scope, each in mine.items() if has.get(scope) != each and not (each.here and scope not in has)]
    extra = [each for scope, each in has.items() if scope not in mine]
    cannot = [each.subject for each in beyond if isinstance(each.subject, Setting)]
    parts = (
        ("the target sets otherwise", apart),
        ("only the target sets", extra),
        (f"{plain(theirs.powers.role, 100)} may not set, or the target does not know", cannot),
    )
    says = [f"{words}: {', '.join(_of(each) for each in sorted(some, key=_of))}" for words, some in parts if some]
    if says:
        fixes = [show_setting(each, theirs.database) for each in sorted([*apart, *cannot], key=_of)]
        fixes += [reset_setting(each, theirs.database) for each in sorted(extra, key=_of)]
        why = "the application finds other settings on the target than it has now"
        yield Finding("settings", "warn", plain("settings differ; " + "; ".join(says)), _text(fixes), why)


def _privileges(ours: Globals, theirs: Globals, beyond: list[Change]) -> Iterator[Finding]:
    says = [f"{plain(theirs.powers.role, 100)} may not {each.says}" for each in beyond]
    fixes = [one for each in beyond for one in each.statements]
    for each in sorted(_decided(ours, theirs), key=lambda one: one.scope):
        whom = plain(each.grantee, 100) or "PUBLIC"
        on = f"parameter {plain(each.parameter, 100)}" if each.parameter else "the database"
        says.append(f"the target grants {each.privilege} on {on} to {whom} otherwise")
        fixes.append(give_privilege(each, theirs.database))
    if not theirs.untouched:
        for each in sorted(theirs.privileges - ours.privileges, key=lambda one: one.scope):
            if each.grantee == PUBLIC and not each.parameter:
                says.append(f"only the target grants {each.privilege} on the database to PUBLIC")
                fixes.append(take_privilege(each, theirs.database))
    if says:
        why = "some users may do less, or more, on the target than they may now"
        yield Finding("privileges", "warn", plain("; ".join(says)), _text(fixes), why)


def _decided(ours: Globals, theirs: Globals) -> Iterator[Privilege]:
    """What the source grants and the target will not have by the copy, for somebody there has decided otherwise."""
    made = {each.subject for each in (*lacking(ours, theirs), *beyond_us(ours, theirs))}
    for each in ours.privileges - theirs.privileges:
        if each not in made and each.grantee != theirs.owner:
            yield each


def _places(ours: Globals, theirs: Globals) -> Iterator[Finding]:
    missing = sorted(ours.tablespaces_used - theirs.tablespaces)
    if missing:
        says = f"the target lacks tablespace {_names(missing)}"
        fix = "create them on the target: " + _text(
            sql.SQL("CREATE TABLESPACE {} LOCATION '…'").format(sql.Identifier(name)) for name in missing
        )
        yield Finding("missing-tablespace", "block", says, fix, "what lies in them could not be restored")
    if ours.owner != theirs.owner:
        says = f"the database belongs to {plain(ours.owner, 100)} on the source, to {plain(theirs.owner, 100)} there"
        names = sql.Identifier(theirs.database), sql.Identifier(ours.owner)
        owned = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names)
        why = "the owner may make schemas, and also tables in schema public (pg_database_owner)"
        yield Finding("database-owner", "warn", says, _text([owned]), why)
    if apart := list(_database(ours, theirs)):
        says = "the databases themselves differ: " + "; ".join(each for each, _ in apart)
        why = "a copy takes what the target's database has"
        yield Finding("database-differs", "warn", plain(says), _text(fix for _, fix in apart), why)


def _database(ours: Globals, theirs: Globals) -> Iterator[_Difference]:
    name = sql.Identifier(theirs.database)
    if None not in (ours.limit, theirs.limit) and ours.limit != theirs.limit:
        says = f"connection limit {theirs.limit} on the target, not {ours.limit}"
        yield says, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(ours.limit))
    if ours.comment != theirs.comment:
        comment = sql.Literal(ours.comment)
        yield "another comment on the target", sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, comment)
    if ours.tablespace != theirs.tablespace:
        says = f"default tablespace {plain(theirs.tablespace, 100)} on the target, not {plain(ours.tablespace, 100)}"
        moved = sql.SQL("ALTER DATABASE {} SET TABLESPACE {}").format(name, sql.Identifier(ours.tablespace))
        yield says, moved


def _of(setting: Setting) -> str:
    where = "" if setting.here or setting.role is None else " everywhere"
    who = f" of {plain(setting.role, 100)}" if setting.role is not None else ("" if setting.here else " of all roles")
    return plain(setting.name, 100) + who + where


def _names(names: Iterable[str]) -> str:
    return plain(", ".join(sorted(names)), 500)


def _text(statements: Iterable[sql.Composable | str]) -> str:
    """One a line, as psql takes them: a command of its own ends with the line, not with a semicolon."""
    lines = (each if isinstance(each, str) else f"{each.as_string(None)};" for each in statements)
    return plain("\n".join(lines), 4000)
