"""How the client programs are called: argument lists and environments, nothing run here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.children import Command
from switchover.postgres.programs import LOCK_PATIENCE, WRITABLE, Tools, client_program, named, with_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from switchover.postgres.connect import Database
    from switchover.postgres.stream.shape import Part, Streamed

PINNED = (
    "datestyle=ISO",
    "intervalstyle=postgres",
    "extra_float_digits=3",
    "row_security=off",
    "statement_timeout=0",
    "idle_in_transaction_session_timeout=0",
    WRITABLE,
)
"""What both ends of a pipe must agree on, and what must not cut a long statement short."""

LONGEST_ARGUMENT = 100_000
"""Linux takes 128 kB (MAX_ARG_STRLEN); a table with more column names than that goes with the small ones."""


@dataclass(frozen=True, slots=True, repr=False)
class End:
    """One end of a pipe: the environment that says where and who, the programs' folder, the database."""

    env: dict[str, str]
    bin: str | None
    dbname: str

    def command(self, program: str, *arguments: str) -> Command:
        return Command((client_program(program, self.bin), *arguments, named(self.dbname)), self.env)

    def psql(self, *statements: str, together: bool = False) -> Command:
        """Statements of ours in a session; names are said in UTF-8, whatever the database's encoding."""
        one = ("--single-transaction",) if together else ()
        said = self.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *one)
        commands = (f"--command={statement}" for statement in statements)
        return Command((*said.argv, *commands), {**said.env, "PGCLIENTENCODING": "UTF8"})


def end_of(db: Database, dbname: str, tools: Tools, settings: Iterable[str] = ()) -> End:
    """An end whose sessions have our settings and ``settings``. Their words are read, so they must be English."""
    env = db.env()
    env.pop("PGCLIENTENCODING", None)
    given = {**env, "PGAPPNAME": tools.app, "LC_ALL": "C"}
    return End(with_settings(given, (*PINNED, *settings)), tools.bin, dbname)


def read_part(end: End, part: Part, snapshot: str) -> Command:
    """The rows of a part, under the snapshot, to its output."""
    begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'"
    return end.psql(begin, copy_out(part))


def write_part(end: End, part: Part) -> Command:
    """The rows of a part from its input; a whole table is emptied first, and its rows are frozen."""
    empty = (_text(sql.SQL("TRUNCATE ONLY {}").format(part.table.identifier)),) if part.of == 1 else ()
    return end.psql(*empty, copy_in(part), together=True)


def copy_out(part: Part) -> str:
    columns, options = _columns(part.table), _format(part.table)
    if part.of == 1:
        return _text(sql.SQL("COPY {} ({}) TO STDOUT ({})").format(part.table.identifier, columns, options))
    query = sql.SQL("SELECT {} FROM ONLY {}").format(columns, part.table.identifier) + part.where
    return _text(sql.SQL("COPY ({}) TO STDOUT ({})").format(query, options))


def copy_in(part: Part) -> str:
    options = _format(part.table) + (sql.SQL(", FREEZE") if part.of == 1 else sql.SQL(""))
    return _text(sql.SQL("COPY {} ({}) FROM STDIN ({})").format(part.table.identifier, _columns(part.table), options))


def read_schema(end: End, archive: Path, snapshot: str) -> Command:
    """pg_dump of everything but rows: not --schema-only, which leaves out to refresh materialized views."""
    return end.command(
        "pg_dump",
        "--format=custom",
        "--section=pre-data",
        "--section=post-data",
        "-B",  # large objects go with the rows; the long name of this option has changed
        f"--lock-wait-timeout={LOCK_PATIENCE}",
        "--exclude-schema=switchover",
        f"--snapshot={snapshot}",
        f"--file={archive}",
    )


def read_rest(end: End, without: Iterable[Streamed], snapshot: str) -> Command:
    """pg_dump of all rows but those of some tables, with sequences and large objects, to its output."""
    return end.command(
        "pg_dump",
        "--format=custom",
        "--compress=0",
        "--data-only",
        f"--lock-wait-timeout={LOCK_PATIENCE}",
        "--exclude-schema=switchover",
        f"--snapshot={snapshot}",
        *(f"--exclude-table-data={pattern(table)}" for table in without),
    )


def write_rest(end: End) -> Command:
    return end.command("pg_restore", "--data-only", "--exit-on-error", "--no-subscriptions")


def list_section(end: End, archive: Path, section: str) -> Command:
    """What comes before the data, or after it."""
    program = client_program("pg_restore", end.bin)
    return Command((program, "--list", f"--section={section}", "--no-subscriptions", str(archive)), end.env)


def list_needs(end: End, archive: Path) -> Command:
    """Everything in the archive, with what depends on what: a verbose list knows no sections."""
    return Command((client_program("pg_restore", end.bin), "--list", "--verbose", str(archive)), end.env)


def restore_entries(end: End, archive: Path, listed: Path, *, together: bool) -> Command:
    """pg_restore of some entries; ``together``: all of them or none."""
    one = ("--single-transaction",) if together else ()
    said = end.command("pg_restore", "--exit-on-error", *one, "--no-subscriptions", f"--use-list={listed}")
    return Command((*said.argv, str(archive)), said.env)


def pattern(table: Streamed) -> str:
    """A pattern that only this table matches: in double quotes nothing is special (psql manual, "Patterns")."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in (table.schema, table.name))


def fits(table: Streamed) -> bool:
    """Whether the statement that copies it fits into an argument."""
    return sum(len(column.encode()) + 8 for column in table.columns) < LONGEST_ARGUMENT


def _columns(table: Streamed) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column in table.columns)


def _format(table: Streamed) -> sql.SQL:
    return sql.SQL("FORMAT binary") if table.binary else sql.SQL("FORMAT text")


def _text(statement: sql.Composed) -> str:
    return statement.as_string(None)
