"""Sessions: where a database is, how to reach it, and the settings every one of ours has."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from switchover.postgres.errors import BadConninfo, Refused, Unreachable
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import AsyncConnection

MAINTENANCE = "postgres"
"""The database from which others are made, renamed and closed."""

SETTINGS: Mapping[str, str] = {
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
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
whose client has died is ended by the server (client_connection_check_interval, PostgreSQL 14)."""

_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
    "servicefile": "PGSERVICEFILE",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """One database, by libpq's own keywords; its printed form never holds a secret."""

    params: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Database:
        """Read a conninfo or URI. Raises BadConninfo, which repeats nothing of the text."""
        try:
            found = conninfo_to_dict(text)
        except psycopg.ProgrammingError:
            found = None
        if found is None:
            raise BadConninfo("the connection text cannot be read; check its quotes and its %-escapes")
        return cls(tuple((key, str(value)) for key, value in found.items() if value is not None))

    def named(self, dbname: str) -> Database:
        """Another database of the same server, by the same way and role."""
        return Database((*(pair for pair in self.params if pair[0] != "dbname"), ("dbname", dbname)))

    @property
    def where(self) -> str:
        """Where it is, for people."""
        known = dict(self.params)
        server = f"{known['host']}:{known.get('port', '5432')}" if "host" in known else known.get("service", "default")
        return plain(f"{server}/{known['dbname']}" if "dbname" in known else server, 200)

    def __repr__(self) -> str:
        return f"Database({self.where})"

    def env(self) -> dict[str, str]:
        """The environment for a client program: whatever says where and who, and nothing on its command line."""
        unknown = [key for key, _ in self.params if key not in _ENVIRONMENT]
        if unknown:
            raise BadConninfo(f"pg_dump cannot be told {', '.join(unknown)}: put it into a service file")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PG") or key in _KEPT}
        return {**clean, **{_ENVIRONMENT[key]: value for key, value in self.params}}


_KEPT = {
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGSSLROOTCERT",
    "PGSSLMODE",
    "PGUSER",
    "PGHOST",
    "PGPORT",
    "PGSYSCONFDIR",
}


async def connect(db: Database, app: str) -> AsyncConnection:
    """Open a session in autocommit with every setting of ours pinned. Raises Unreachable and Refused."""
    params = dict(db.params)
    with told(db):
        connection = await psycopg.AsyncConnection.connect(
            **{  # type: ignore[arg-type]
                "connect_timeout": "10",
                **params,
                "application_name": app,
                "keepalives_idle": "10",
                "keepalives_interval": "5",
                "keepalives_count": "3",
                "tcp_user_timeout": "30000",
            },
            autocommit=True,
        )
        await connection.execute(
            "SELECT pg_catalog.set_config(s.name, w.value, false) "
            "FROM unnest(%s::text[], %s::text[]) AS w(name, value) JOIN pg_catalog.pg_settings s ON s.name = w.name",
            (list(SETTINGS), list(SETTINGS.values())),
        )
    return connection


@contextmanager
def told(db: Database) -> Iterator[None]:
    """Turn psycopg's errors into ours: cleaned, without the password, and without the original to leak it."""
    try:
        yield
    except psycopg.Error as error:
        says = f"{db.where}: {_cleaned(db, error)}"
        lost = isinstance(error, psycopg.OperationalError) and not isinstance(error, psycopg.errors.LockNotAvailable)
    else:
        return
    raise (Unreachable if lost else Refused)(says)


def _cleaned(db: Database, error: psycopg.Error) -> str:
    """The server's words; libpq's own about a conninfo are never shown, for they may hold a part of it."""
    text = plain(str(error.diag.message_primary or error), 500)
    for key, value in (
        *db.params,
        *(("password", os.environ[name]) for name in ("PGPASSWORD",) if name in os.environ),
    ):
        if "password" in key and value:
            for part in {value, *value.split("@")}:
                text = text.replace(part, "…") if len(part) > 2 else text
    return text


async def database_name(db: Database, app: str) -> str:
    """The name of the database a session gets, also where only a service file knows it."""
    named = dict(db.params).get("dbname")
    if named is not None:
        return named
    async with await connect(db, app) as session:
        return session.info.dbname


def identifier(name: str) -> sql.Identifier:
    """A name, quoted for SQL."""
    return sql.Identifier(name)
