"""What surrounds a database on its server: roles, memberships, settings, privileges.

Default privileges (ALTER DEFAULT PRIVILEGES) are not among them: they lie inside the database, pg_dump carries them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PUBLIC = ""
"""Everybody, as a grantee; no role can have this name."""

USUAL = frozenset({"CONNECT", "TEMPORARY"})
"""What PUBLIC may do on a database that nobody has changed (acldefault)."""

SINCE_ADMIN = 160000
"""From here on only who has ADMIN on a role may change it or give it away, and a membership says INHERIT and SET."""


@dataclass(frozen=True, slots=True)
class Role:
    """A user or a group."""

    name: str
    attributes: frozenset[str]
    """The words of CREATE ROLE that it has: SUPERUSER, INHERIT, CREATEROLE, CREATEDB, LOGIN, REPLICATION, BYPASSRLS."""
    limit: int = -1
    valid_until: str | None = None
    """In UTC, as the server writes it; None is for ever."""
    comment: str | None = None
    password: str | None = field(default=None, repr=False)
    """The stored hash; None without one, and where pg_authid may not be read."""
    first: bool = field(default=False, compare=False)
    """Whether it is the superuser that initdb made: its attributes are the server's own business."""


@dataclass(frozen=True, slots=True)
class Membership:
    """That one role belongs to another. Before PostgreSQL 16 ``inherit`` is the member's own attribute."""

    group: str
    member: str
    admin: bool = False
    inherit: bool = True
    set: bool = True

    @property
    def roles(self) -> tuple[str, str]:
        return self.group, self.member


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a database, of a role everywhere, or of a role in a database; everybody's for ``role`` None."""

    name: str
    value: str = field(repr=False)
    """As it is stored; applications keep keys in settings of their own."""
    role: str | None = None
    here: bool = True
    """Whether it holds in this database only."""

    @property
    def scope(self) -> tuple[str | None, bool, str]:
        return self.role, self.here, self.name


@dataclass(frozen=True, slots=True)
class Privilege:
    """A privilege on this database, or on a parameter of the server (PostgreSQL 15)."""

    grantee: str
    privilege: str
    grantable: bool = False
    parameter: str = ""
    """Empty for the database."""

    @property
    def scope(self) -> tuple[str, str, str]:
        return self.parameter, self.grantee, self.privilege


@dataclass(frozen=True, slots=True)
class Powers:
    """What the role of our session may do on its server."""

    role: str
    attributes: frozenset[str]
    owns: bool
    """Whether it is, or belongs to, the database's owner."""
    admin_on: frozenset[str]
    settable: frozenset[str] = field(repr=False)
    """The parameters the server knows and lets it set for a role or a database."""

    @property
    def superuser(self) -> bool:
        return "SUPERUSER" in self.attributes

    @property
    def makes_roles(self) -> bool:
        return self.superuser or "CREATEROLE" in self.attributes

    def may_set(self, name: str) -> bool:
        """A name with a dot that no extension has declared is for superusers (validate_option_array_item)."""
        return name in self.settable or (self.superuser and "." in name)


@dataclass(frozen=True, slots=True)
class Globals:
    """What one side has. ``roles`` holds those that matter to the database, and those that were asked for by name."""

    version_num: int
    database: str
    owner: str
    limit: int | None
    """Of connections; None while the database is fenced or closed, which sets another."""
    comment: str | None
    """The database's; a mark of this program is none."""
    tablespace: str
    """Where the database's objects lie by default."""
    encryption: str
    """password_encryption: the kind of hash that the server makes."""
    hashes: bool
    """Whether the passwords' hashes could be read."""
    powers: Powers
    roles: tuple[Role, ...]
    memberships: frozenset[Membership]
    settings: frozenset[Setting]
    privileges: frozenset[Privilege]
    """All but those the database's owner has by owning it; PUBLIC's usual ones are among them."""
    tablespaces_used: frozenset[str]
    tablespaces: frozenset[str]
    """All of the server."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(role.name for role in self.roles)

    def role(self, name: str) -> Role | None:
        """The role of that name, if it is among them."""
        return next((role for role in self.roles if role.name == name), None)

    @property
    def untouched(self) -> bool:
        """Whether the database's privileges are those it was made with."""
        ours = {each for each in self.privileges if not each.parameter}
        return ours == {Privilege(PUBLIC, privilege) for privilege in USUAL}
