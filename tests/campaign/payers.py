"""Writers that try both hosts, log each acknowledged commit to a file, and whose log is held against both databases."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from switchover.demo.lab import Lab

SIDES = ("old", "new")
SCHEMA = (
    "SET ROLE shop; CREATE TABLE paid (id bigserial PRIMARY KEY, token text NOT NULL); CREATE TABLE told (token text); "
    "CREATE TABLE tally (way text PRIMARY KEY, rows int); CREATE TABLE lately (way text, n int)"
)
PAY = (
    "WITH p AS (INSERT INTO paid (token) {tokens} RETURNING token), t AS (INSERT INTO told SELECT token FROM p), "
    "l AS (DELETE FROM lately WHERE way = '{way}' RETURNING n), "
    "m AS (INSERT INTO lately SELECT '{way}', coalesce(max(n), 0) + 1 FROM l) "
    "INSERT INTO tally SELECT '{way}', count(*) FROM p "
    "ON CONFLICT (way) DO UPDATE SET rows = tally.rows + excluded.rows"
)
"""Rows with a key, of a sequence, and without; how many there are; and one row without a key that comes and goes."""
ODD = (
    "SELECT way FROM tally WHERE rows <> (SELECT count(*) FROM paid WHERE starts_with(token, way || ' ')) "
    "UNION ALL SELECT way FROM lately GROUP BY way HAVING count(*) <> 1"
)
"""What is not as every write leaves it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write: as whom, in which sessions, how many rows at once."""

    name: str
    user: str = "shop"
    prelude: str = ""
    around: tuple[str, str] = ("", "")
    pooled: bool = False
    rows: int = 1


WAYS = (
    Way("application"),
    Way("pool", pooled=True),
    Way("override", prelude="SET default_transaction_read_only = off"),
    Way("read write", around=("BEGIN READ WRITE", "COMMIT")),
    Way("bulk", rows=40),
    Way("superuser", user="admin"),
)


REFUSALS = ("too many connections for database", "read-only transaction", 'relation "paid" does not exist')
"""The limit, the setting, or a database that is not the one of before: the target's own, before a copy has its name."""


class Payer(threading.Thread):
    """Writes in one way wherever it is taken, and tries the other host whenever it is refused."""

    def __init__(self, payers: Payers, way: Way, first_side: str) -> None:
        super().__init__(daemon=True, name=way.name)
        self.payers, self.way, self.side, self.number = payers, way, first_side, 0
        self.conflicts: list[str] = []

    def run(self) -> None:
        while not self.payers.stop.is_set():
            try:
                self._session()
            except psycopg.errors.UniqueViolation as error:
                self.conflicts.append(str(error))
            except psycopg.Error:
                self.side = "new" if self.side == "old" else "old"
                self.payers.stop.wait(0.02)

    def _session(self) -> None:
        with psycopg.connect(self.payers.conninfo(self.side, self.way.user), autocommit=True) as session:
            if self.way.prelude:
                session.execute(self.way.prelude.encode())
            while not self.payers.stop.is_set():
                with self.payers.gate:
                    self._pay(session)
                self.payers.stop.wait(self.payers.pace_s)
                if self.way.pooled:
                    return

    def _pay(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        self.number += 1
        tokens = [f"{self.way.name} {self.number}.{row}" for row in range(self.way.rows)]
        begin, commit = self.way.around
        pay = PAY.format(tokens="SELECT unnest(%s::text[])", way=self.way.name)
        if begin:
            session.execute(begin.encode())
        session.execute(pay.encode(), [tokens])
        if commit:
            session.execute(commit.encode())
        self.payers.log(tokens, self.side)


class Gate:
    """Many may pass at once; who closes it waits until all that passed are through."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._inside, self._closed = 0, False

    def __enter__(self) -> None:
        with self._free:
            self._free.wait_for(lambda: not self._closed)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._free:
            self._inside -= 1
            self._free.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        with self._free:
            self._closed = True
            assert self._free.wait_for(lambda: self._inside == 0, 60)
        try:
            yield
        finally:
            with self._free:
                self._closed = False
                self._free.notify_all()


class Payers:
    """The fleet: its pace, its log, and the account that is held against both databases."""

    def __init__(self, lab: Lab, log: Path) -> None:
        self.lab, self.path, self.stop, self.gate = lab, log, threading.Event(), Gate()
        self.pace_s = 0.02
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        self._threads = [Payer(self, way, random.choice(SIDES)) for way in WAYS]

    def __enter__(self) -> Payers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), thread.name
        os.close(self._log)

    def conninfo(self, side: str, user: str) -> str:
        port = self.lab.ports.old if side == "old" else self.lab.ports.new
        passfile = self.lab.env["PGPASSFILE"]
        return f"host=127.0.0.1 port={port} dbname=shop user={user} passfile={passfile} connect_timeout=5"

    def log(self, tokens: list[str], side: str) -> None:
        """Each line is one write, made once the server has said that it is committed."""
        os.write(self._log, "".join(f"{token}\t{side}\n" for token in tokens).encode())

    def taken(self, side: str) -> int:
        """How many lines of the log are of this side."""
        return self.path.read_text().count(f"\t{side}\n")

    def acknowledged(self) -> dict[str, str]:
        """The side that acknowledged it, by token."""
        return dict(line.split("\t") for line in self.path.read_text().splitlines())

    def account(self, side: str, dbname: str) -> dict[str, int]:
        """Hold the log against one database: every acknowledged row once in either table, and none twice."""
        acknowledged = self.acknowledged()
        with self.lab.connect(side, dbname) as session:
            for table in ("paid", "told"):
                rows = session.execute(f"SELECT token FROM {table}".encode()).fetchall()
                found = Counter(str(token) for (token,) in rows)
                lost = [(token, by) for token, by in acknowledged.items() if not found[token]]
                assert lost == [], f"{len(lost)} lost from {side}'s {table}"
                assert [token for token, times in found.items() if times > 1] == []
            assert session.execute(ODD.encode()).fetchall() == []
        conflicts = [each for thread in self._threads for each in thread.conflicts]
        assert conflicts == []
        return dict(Counter(acknowledged.values()))

    def refused(self, side: str) -> None:
        """Nobody of the fleet can write on this side, by any of its ways, though its server answers."""
        for way in WAYS:
            said = self._attempt(side, way)
            assert any(each in said for each in REFUSALS), f"{way.name} on {side}: {said or 'was taken'}"

    def _attempt(self, side: str, way: Way) -> str:
        """Why a write is not taken; empty when it is."""
        try:
            with psycopg.connect(self.conninfo(side, way.user), autocommit=True) as session:
                for statement in (way.prelude, way.around[0], PAY.format(tokens="VALUES ('no')", way="no")):
                    if statement:
                        session.execute(statement.encode())
        except psycopg.Error as error:
            return str(error)
        return ""
