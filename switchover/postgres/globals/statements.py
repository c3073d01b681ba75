"""Roles, settings and privileges as statements; names and values are quoted by psycopg, nothing is run here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.carry import setting_value, to_whom, whose
from switchover.postgres.globals.roles import SINCE_ADMIN, Membership, Privilege, Role, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable


def create_role(role: Role, *, password: bool = False) -> sql.Composed:
    """CREATE ROLE with what differs from the default; the stored hash only where it is asked for."""
    words = [*sorted(role.attributes - {"INHERIT"}), *({"NOINHERIT"} if "INHERIT" not in role.attributes else ())]
    parts: list[sql.Composable] = [sql.SQL("CREATE ROLE {}").format(sql.Identifier(role.name))]
    parts += [sql.SQL(word) for word in words]
    if role.limit != -1:
        parts.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role.limit)))
    if role.valid_until is not None:
        parts.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(role.valid_until)))
    if password and role.password is not None:
        parts.append(sql.SQL("PASSWORD {}").format(sql.Literal(role.password)))
    return sql.SQL(" ").join(parts)


def alter_role(name: str, words: Iterable[str]) -> sql.Composed:
    """ALTER ROLE with words of our own."""
    return sql.SQL(" ").join(
        [sql.SQL("ALTER ROLE {}").format(sql.Identifier(name)), *(sql.SQL(word) for word in words)]
    )


def drop_role(name: str) -> sql.Composed:
    """DROP ROLE, where there is one."""
    return sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))


def comment_role(name: str, text: str) -> sql.Composed:
    """COMMENT ON ROLE."""
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(text))


def set_setting(setting: Setting, database: str) -> sql.Composed:
    """ALTER DATABASE or ALTER ROLE … SET, with the value as the server stores it."""
    value = setting_value(setting.name, setting.value)
    return sql.SQL("ALTER {} SET {} = {}").format(_scope(setting, database), _parameter(setting.name), value)


def show_setting(setting: Setting, database: str) -> sql.Composed:
    """The same for people: the value only of PostgreSQL's own settings, for others may be keys of applications."""
    if "." not in setting.name:
        return set_setting(setting, database)
    return sql.SQL("ALTER {} SET {} = '…'").format(_scope(setting, database), _parameter(setting.name))


def reset_setting(setting: Setting, database: str) -> sql.Composed:
    """ALTER DATABASE or ALTER ROLE … RESET."""
    return sql.SQL("ALTER {} RESET {}").format(_scope(setting, database), _parameter(setting.name))


def give_membership(membership: Membership, version_num: int) -> sql.Composed:
    """GRANT with every option said, since what is left unsaid depends on the member."""
    given = sql.SQL("GRANT {} TO {}").format(sql.Identifier(membership.group), sql.Identifier(membership.member))
    if version_num < SINCE_ADMIN:
        return given + sql.SQL(" WITH ADMIN OPTION" if membership.admin else "")
    options = [("ADMIN", membership.admin), ("INHERIT", membership.inherit), ("SET", membership.set)]
    return given + sql.SQL(" WITH " + ", ".join(f"{word} {'TRUE' if on else 'FALSE'}" for word, on in options))


def end_membership(group: str, member: str) -> sql.Composed:
    """REVOKE of a role; of several grants of it the one that our own role has given."""
    return sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(member))


def give_privilege(privilege: Privilege, database: str) -> sql.Composed:
    """GRANT on the database or the parameter."""
    given = sql.SQL("GRANT {} ON {} TO {}").format(
        sql.SQL(privilege.privilege), _object(privilege, database), to_whom(privilege.grantee or None)
    )
    return given + sql.SQL(" WITH GRANT OPTION" if privilege.grantable else "")


def take_privilege(privilege: Privilege, database: str) -> sql.Composed:
    """REVOKE on the database or the parameter."""
    return sql.SQL("REVOKE {} ON {} FROM {}").format(
        sql.SQL(privilege.privilege), _object(privilege, database), to_whom(privilege.grantee or None)
    )


def _scope(setting: Setting, database: str) -> sql.Composable:
    return whose(setting.role, database if setting.here else None)


def _object(privilege: Privilege, database: str) -> sql.Composable:
    if privilege.parameter:
        return sql.SQL("PARAMETER {}").format(_parameter(privilege.parameter))
    return sql.SQL("DATABASE {}").format(sql.Identifier(database))


def _parameter(name: str) -> sql.Composable:
    return sql.Identifier(*name.split("."))
