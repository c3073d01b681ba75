"""One lab for many switchovers: databases, DNS and plan are put back between them, the servers stay."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.update

from switchover.demo import clusters, texts
from switchover.demo.lab import Lab
from switchover.dns.keys import read_key
from switchover.plan.file import load
from switchover.plan.journal import Entry
from switchover.plan.progress import Progress, fold

TTL = 2
TABLES = ("customers", "products", "orders", "visits", "sales")
FAULTS = Path(__file__).with_name("faults.py")
FRESH_FOR_S = 240
"""How long a prepared plan may be used again: its window is entered late for 15 minutes at most."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class State:
    """Everything a switchover may change, as an outsider sees it."""

    rows: dict[str, dict[str, str]]
    settings: dict[str, list[Any]]
    databases: dict[str, list[str]]
    dns: list[tuple[str, str, int]]
    finished: bool


@dataclass
class World:
    """The lab, and the ways a test looks at it and puts it back."""

    lab: Lab
    copy: str | None = "dump"
    """How the plans that are written from now on copy; None leaves it open."""
    method: str = "dump"
    """The method of the plans that are written from now on."""
    replicate: str = ""
    """More lines of their table [replicate]."""
    window: str = "30m"
    """How long their window is."""
    _prepared: dict[str, float] = field(default_factory=dict)

    @property
    def plan(self) -> Path:
        return self.lab.plan

    def shrink(self) -> None:
        """Keep a few rows of each kind, and templates to start from again."""
        with self.lab.connect("old") as old:
            for statement in (
                "DELETE FROM orders WHERE id > 300",
                "DELETE FROM visits WHERE ms > 1",
                "DELETE FROM sales",
                "DELETE FROM customers WHERE id > 400",
                "INSERT INTO sales SELECT sku, count(*) FROM orders GROUP BY sku",
                "SELECT nextval('invoice_numbers') FROM generate_series(1, 7)",
            ):
                old.execute(statement)
        for which in ("old", "new"):
            self._maintain(which, "CREATE DATABASE seed TEMPLATE shop OWNER shop", ends="shop")

    def reset(self, *, old_settings: tuple[str, ...] = ()) -> None:
        """Both databases as at first, DNS on the old host, a fresh plan."""
        for which in ("old", "new"):
            for name in self.databases(which):
                if name.startswith("switchover_") or name == "shop":
                    self._unlink(which, name)
                    self._maintain(which, f'DROP DATABASE "{name}" WITH (FORCE)')
            self._maintain(which, "CREATE DATABASE shop TEMPLATE seed OWNER shop")
        for setting in old_settings:
            self._maintain("old", f"ALTER DATABASE shop {setting}")
        self._maintain("new", "ALTER DATABASE shop SET work_mem = '9MB'")
        self._maintain("new", "ALTER ROLE shop IN DATABASE shop SET statement_timeout = '77s'")
        self._maintain("new", "ALTER DATABASE shop CONNECTION LIMIT 42")
        self.lab.maintenance.unlink(missing_ok=True)
        self.point(texts.OLD, TTL)
        self.write_plan()

    def prepare(self, *, old_settings: tuple[str, ...] = ()) -> None:
        """As ``reset``, with every step before the cutover done and the window open."""
        kind = f"{self.copy}-{self.method}-{self.replicate}"
        kept = self.lab.folder / f"prepared-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"
        self.reset(old_settings=old_settings)
        if not kept.exists() or time.monotonic() - self._prepared[kind] > FRESH_FOR_S:
            self.through("lower-ttl" if self.method == "replicate" else "window")
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            shutil.copy2(self.plan, kept / "plan")
            shutil.copytree(self._folder(), kept / "folder")
            self._prepared[kind] = time.monotonic()
        else:
            shutil.copy2(kept / "plan", self.plan)
            shutil.copytree(kept / "folder", self._folder())
            self.point(texts.OLD, 1)
        if self.method == "replicate":  # what was copied for another plan is gone with its databases
            ended = self.through("window")
            assert ended.code == 0, ended.err
        self.await_window()

    def await_window(self) -> None:
        """Wait until the window is open and caches are safe, so that one run goes all the way."""
        loaded = load(self.plan)
        window = loaded.spec.window
        assert window is not None
        time.sleep(max(0.0, (window.opens - datetime.now(UTC)).total_seconds() + 0.1))

    def through(self, step: str = "finish", **how: Any) -> Ended:
        """Run, waiting for time where the plan waits for time."""
        while True:
            ended = self.command("run", "--yes", "--through", step, **how)
            until = self.hold_until() if ended.code == 3 else None
            if until is None:
                return ended
            how = {}
            time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    def command(self, *words: str, fault: str = "", plan: Path | None = None) -> Ended:
        """One command on the plan, with a fault or without."""
        program = [str(FAULTS)] if fault else ["-m", "switchover"]
        argv = [sys.executable, *program, words[0], str(plan or self.plan), *words[1:]]
        ended = subprocess.run(argv, env=self.env(fault), capture_output=True, text=True, timeout=180, check=False)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def killed(self, step: str, fault: str) -> bool:
        """Run with a kill; whether it struck."""
        return self.through(step, fault=fault).code == -signal.SIGKILL

    def env(self, fault: str = "") -> dict[str, str]:
        return {**self.lab.env, "FAULT": fault} if fault else self.lab.env

    def progress(self) -> Progress:
        loaded = load(self.plan)
        return fold(loaded.spec, loaded.entries)

    def entries(self) -> tuple[Entry, ...]:
        return load(self.plan).entries

    def hold_until(self) -> datetime | None:
        hold = self.progress().hold
        return hold.until if hold is not None else None

    def state(self) -> State:
        """What an outsider sees now."""
        return State(
            {which: self.rows(which) for which in ("old", "new")},
            {which: self.settings(which) for which in ("old", "new")},
            {which: self.databases(which) for which in ("old", "new")},
            self.records(),
            self.progress().finished,
        )

    def rows(self, which: str) -> dict[str, str]:
        """A hash of each table's rows and of the sequences, made without the product."""
        found = {}
        with self.lab.connect(which) as connection:
            for table in TABLES:
                exists = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
                if exists is None or exists[0] is None:
                    continue
                lines = connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall()
                found[table] = hashlib.sha256(repr(lines).encode()).hexdigest()
            if found:
                numbers = connection.execute("SELECT last_value, is_called FROM invoice_numbers").fetchone()
                found["invoice_numbers"] = repr(numbers)
        return found

    def settings(self, which: str) -> list[Any]:
        """Limit, privileges, owner, and every setting of the database, also per role."""
        query = (
            "SELECT datconnlimit, datallowconn, datacl::text, pg_get_userbyid(datdba), "
            "shobj_description(oid, 'pg_database'), (SELECT jsonb_agg(jsonb_build_array(setrole::regrole, setconfig) "
            "ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d "
            "WHERE datname = 'shop'"
        )
        with self.lab.connect(which, "postgres") as connection:
            return list(connection.execute(query).fetchone() or ())

    def databases(self, which: str) -> list[str]:
        with self.lab.connect(which, "postgres") as connection:
            return [str(row[0]) for row in connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()]

    def sql(self, which: str, statement: str, dbname: str = "shop") -> list[tuple[object, ...]]:
        with self.lab.connect(which, dbname) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def away(self, which: str) -> Iterator[None]:
        """A database server that is ended at once, as by a loss of power, and started again afterwards."""
        lab = self.lab
        cluster = lab.old if which == "old" else lab.new
        lab.processes.stop(cluster.program)
        try:
            yield
        finally:
            clusters.serve(lab.processes, cluster, lab.env)
            lab.processes.wait_until(cluster.program, lambda: clusters.answers(cluster, lab._admin))

    def records(self) -> list[tuple[str, str, int]]:
        """The A record as each authoritative address serves it."""
        found = []
        for server in (texts.NS1, texts.NS2):
            query = dns.message.make_query("shop.test.", "A", flags=0)
            reply = dns.query.udp(query, server, timeout=3, port=self.lab.ports.dns)
            found += [(server, record.to_text(), rrset.ttl) for rrset in reply.answer for record in rrset]
        return found

    def point(self, address: str, ttl: int) -> None:
        """Set the record as an administrator would, and wait until both servers say so."""
        key = read_key(self.lab.folder / "shop.key").for_dnspython()
        update = dns.update.UpdateMessage("shop.test.", keyring={key.name: key})
        update.replace("@", ttl, "A", address)
        dns.query.tcp(update, texts.NS1, timeout=5, port=self.lab.ports.dns)
        wanted = [(server, address, ttl) for server in (texts.NS1, texts.NS2)]
        deadline = time.monotonic() + 10
        while self.records() != wanted:
            assert time.monotonic() < deadline, f"DNS is {self.records()}, not {wanted}"
            time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.command("status", "--json").out)
        return answer

    def _unlink(self, which: str, name: str) -> None:
        """End what holds a database: links that a test has left."""
        closed = f"SELECT NOT datallowconn FROM pg_database WHERE datname = '{name}'"
        if self.sql(which, closed, "postgres") == [(True,)]:
            self._maintain(which, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        subscriptions = "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = "
        for (each,) in self.sql(which, f"{subscriptions}'{name}'", name):
            for change in ("DISABLE", "SET (slot_name = NONE)"):
                self.sql(which, f"SET transaction_read_only = off; ALTER SUBSCRIPTION {each} {change}", name)
            self.sql(which, f"SET transaction_read_only = off; DROP SUBSCRIPTION {each}", name)
        slots = f"FROM pg_replication_slots WHERE database = '{name}'"
        deadline = time.monotonic() + 20
        while self.sql(which, f"SELECT pg_terminate_backend(active_pid) {slots} AND active", "postgres"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.sql(which, f"SELECT pg_drop_replication_slot(slot_name) {slots}", "postgres")

    def in_time(self) -> None:
        """Let the window open now: one is entered late for a quarter of an hour at most."""
        text = self.plan.read_text()
        opens = f"start        = {datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}"
        self.plan.write_text(re.sub(r"start        = \S+", opens, text, count=1))

    def write_plan(self) -> None:
        """A plan of which nothing has been run."""
        shutil.rmtree(self._folder(), ignore_errors=True)
        text = texts.plan(self.lab.ports, self.lab.folder, self.lab.new.bin, datetime.now(UTC), self.window)
        if self.copy is not None:
            text = text.replace('method = "dump"', f'method = "dump"\ncopy = "{self.copy}"')
        if self.method == "replicate":
            table = texts.replicate(self.lab.ports, self.lab.servers_passwords) + self.replicate
            text = text.replace('method = "dump"', 'method = "replicate"').replace("[dns]", f"{table}\n[dns]", 1)
        for old, new in (
            (r"names       = .*", 'names       = ["shop.test"]'),
            (r"lead        = .*", 'lead        = "1s"'),
            (r"soak  = .*", 'soak  = "1s"'),
            (r"every = .*", 'every = "1s"'),
        ):
            text = re.sub(old, new, text)
        text = text[: text.index("[[checklist]]")]
        opens = datetime.now(UTC) + timedelta(seconds=30)
        text = re.sub(r"start        = .*", f"start        = {opens:%Y-%m-%dT%H:%M:%S}", text)
        for side in self.plan.parent.glob("shop.toml*"):
            if side.is_file():
                side.unlink()
        self.plan.write_text(text)
        self.plan.chmod(0o600)

    def _folder(self) -> Path:
        return self.plan.with_name(self.plan.name + ".d")

    def _maintain(self, which: str, statement: str, *, ends: str = "") -> None:
        with self.lab.connect(which, "postgres") as connection:
            connection.autocommit = True
            for _ in range(20):
                if ends:
                    connection.execute(f"ALTER DATABASE {ends} ALLOW_CONNECTIONS false")
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (ends,)
                    )
                try:
                    connection.execute(statement.encode())
                    break
                except Exception:  # an application has just connected again
                    time.sleep(0.05)
            else:
                connection.execute(statement.encode())
            if ends:
                connection.execute(f"ALTER DATABASE {ends} ALLOW_CONNECTIONS true")
