"""Sessions: where a database is, how to reach it, and the settings every one of ours has."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from switchover.postgres.errors import BadConninfo, Refused, Unreachable
from switchover.postgres.kept import Session, take
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

S = TypeVar("S", bound="AsyncConnection")

MAINTENANCE = "postgres"
"""The database from which others are made, renamed and closed."""

SETTINGS: Mapping[str, str] = {
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "1s",
    "default_transaction_read_only": "off",
    "synchronize_seqscans": "off",
    "row_security": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "client_encoding": "UTF8",
}
"""Pinned so that values read the same everywhere, a fenced database lets our own work through, and a statement
whose client has died is ended by the server (client_connection_check_interval, PostgreSQL 14). A server that does
not know one is not told it."""

_LIVENESS: Mapping[str, str] = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_NEEDLESS = {"keepalives", *_LIVENESS, "fallback_application_name", "application_name"}
"""What a client program does well without; none of them but application_name has an environment variable."""

_PIN = """
SELECT pg_catalog.set_config(w.name, w.value, false) FROM unnest(%s::text[], %s::text[]) AS w(name, value)
WHERE pg_catalog.current_setting(w.name, true) IS NOT NULL
"""
_UNREADABLE = "the connection text cannot be read; check its quotes and its %-escapes"
_LOST = ("08", "57P", "53300")
"""SQLSTATEs of a session that is lost or not to be had (PostgreSQL manual, appendix A)."""


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """One database, by libpq's own keywords; its printed form never holds a secret."""

    params: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Database:
        """Read a conninfo or URI. Raises BadConninfo, which repeats nothing of the text."""
        try:
            found = {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
        except psycopg.Error:
            found = None
        if found is None:
            raise BadConninfo(_UNREADABLE)
        if _misread(text, found):
            raise BadConninfo("a password must be %-escaped in a URI: @ is %40, / is %2F, : is %3A, % is %25")
        return cls(tuple(found.items()))

    def named(self, dbname: str) -> Database:
        """Another database of the same server, by the same way and role; it wins over a service file's."""
        return Database((*(pair for pair in self.params if pair[0] != "dbname"), ("dbname", dbname)))

    @property
    def where(self) -> str:
        """Where it is, for people."""
        known = dict(self.params)
        host = known.get("host") or known.get("hostaddr")
        server = f"{host}:{known.get('port', '5432')}" if host else known.get("service", "default")
        return plain(f"{server}/{known['dbname']}" if "dbname" in known else server, 200)

    def __repr__(self) -> str:
        return f"Database({self.where})"

    def env(self) -> dict[str, str]:
        """The environment for a client program: whatever says where and who, and nothing on its command line.

        A service is resolved here: libpq lets a service file win over the environment, so a name given beside
        a service would be lost (libpq manual, "The Connection Service File"). Raises BadConninfo.
        """
        params = dict(self.params)
        service = params.pop("service", None) or os.environ.get("PGSERVICE")
        names = _variables()
        inherited = dict(os.environ)
        if service is not None:
            params = {**_service(service, params.pop("servicefile", None)), **params}
            inherited.pop("PGSERVICE", None)
        unknown = [key for key in params if key not in names and key not in _NEEDLESS]
        if unknown:
            raise BadConninfo(f"pg_dump and pg_restore cannot be told {', '.join(unknown)}: leave it out")
        return {**inherited, **{names[key]: value for key, value in params.items() if key not in _NEEDLESS}}


async def connect(db: Database, app: str) -> AsyncConnection:
    """A session in autocommit with every setting of ours pinned, maybe one that was kept.

    Raises Unreachable and Refused.
    """
    with told(db):
        session = await take((db, app))
        if session is not None:
            return await _pinned(session)
    return await connect_anew(db, app)


async def connect_anew(db: Database, app: str) -> AsyncConnection:
    """The same, opened at this moment: it meets the database's settings as a newcomer does."""
    session = await _open(Session, db, app, psycopg.AsyncCursor)
    session.key = (db, app)
    return session


async def connect_replicating(db: Database, app: str) -> AsyncConnection:
    """The same for a walsender of this database, which also knows the commands of replication.

    It takes simple statements alone, so parameters are written into them
    (https://www.postgresql.org/docs/current/protocol-replication.html).
    """
    return await _open(
        psycopg.AsyncConnection, Database((*db.params, ("replication", "database"))), app, psycopg.AsyncClientCursor
    )


async def _open(kind: type[S], db: Database, app: str, cursor: type[psycopg.AsyncCursor[TupleRow]]) -> S:
    """No statement is prepared by itself: DISCARD ALL would drop it, and psycopg does not always know."""
    params: dict[str, Any] = {"connect_timeout": "10", **dict(db.params), "application_name": app, **_LIVENESS}
    with told(db):
        session = await kind.connect(**params, autocommit=True, prepare_threshold=None, cursor_factory=cursor)
        return await _pinned(session)


async def _pinned(session: S) -> S:
    try:
        await session.execute(_PIN, (list(SETTINGS), list(SETTINGS.values())))
    except BaseException:
        await session.close()
        raise
    return session


@contextmanager
def told(db: Database) -> Iterator[None]:
    """Turn psycopg's errors into ours: cleaned, without the password; no traceback shows the original."""
    try:
        yield
    except psycopg.Error as error:
        says = f"{db.where}: {_cleaned(db, error)}"
        lost = _is_lost(error)
    else:
        return
    raise (Unreachable if lost else Refused)(says) from None


async def database_name(db: Database, app: str) -> str:
    """The name of the database a session gets; the server is asked where neither text nor service nor environment say.

    Raises BadConninfo when no file has the service.
    """
    named = _named(db)
    if named is not None:
        return named
    async with await connect(db, app) as session:
        return session.info.dbname


def _named(db: Database) -> str | None:
    """What libpq would go by, in its order: the text, the service, the environment."""
    params = dict(db.params)
    service = params.get("service") or os.environ.get("PGSERVICE")
    if "dbname" not in params and service is not None:
        params = _service(service, params.get("servicefile"))
    return params.get("dbname") or os.environ.get("PGDATABASE")


def _misread(text: str, found: Mapping[str, str]) -> bool:
    """Whether a bare @, / or : of a password has put a part of it where it would be shown."""
    if "@" in found.get("host", "") or any(port and not port.isdecimal() for port in found.get("port", "").split(",")):
        return True
    return "://" in text and "@" in found.get("dbname", "") and "%40" not in text


def _is_lost(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_LOST)


def _cleaned(db: Database, error: psycopg.Error) -> str:
    """The server's words, without anything that was given as a secret."""
    text = plain(str(error.diag.message_primary or error), 500)
    if error.diag.message_detail:
        text = f"{text} ({plain(error.diag.message_detail, 300)})"
    secrets = [value for key, value in db.params if key in _secrets()]
    for secret in (*secrets, os.environ.get("PGPASSWORD", "")):
        text = text.replace(secret, "…") if len(secret) > 2 else text
    return text


@cache
def _variables() -> dict[str, str]:
    """Every keyword of libpq that has an environment variable, as libpq itself says."""
    return {each.keyword.decode(): each.envvar.decode() for each in Conninfo.parse(b"") if each.envvar}


@cache
def _secrets() -> frozenset[str]:
    """The keywords whose values libpq would not show."""
    return frozenset(each.keyword.decode() for each in Conninfo.parse(b"") if each.dispchar == b"*")


def _service(name: str, file: str | None) -> dict[str, str]:
    """A service's parameters, found as libpq finds them. Raises BadConninfo when no file has it."""
    given = file or os.environ.get("PGSERVICEFILE")
    system = os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")
    for path in (Path(given) if given else Path.home() / ".pg_service.conf", Path(system) / "pg_service.conf"):
        found: dict[str, str] | None = None
        for line in path.read_text().splitlines() if path.is_file() else ():
            entry = line.strip()
            if entry.startswith("["):
                if found is not None:
                    break
                found = {} if entry == f"[{name}]" else None
            elif found is not None and "=" in entry and not entry.startswith("#"):
                key, _, value = entry.partition("=")
                found.setdefault(key, value)
        if found is not None:
            return found
    raise BadConninfo(f"no service file has a service {plain(name, 100)}")
