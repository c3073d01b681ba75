"""How long nobody can write: the last commit that the old host acknowledged to the first on the new one.

pytest -o addopts= -s tests/bench/test_pause.py

Whole switchovers of the program there and back, under pgbench at a steady rate, with fsync; a row that is tried on
both hosts all the time says when one of them takes it. The method "dump" pauses on the same servers in the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from switchover.demo import texts
from switchover.demo.lab import Lab
from switchover.plan.decide import low_ttl_fact
from tests.e2e.world import World

RATES = tuple(int(each) for each in os.environ.get("RATES", "400,2000").split(","))
SIZES_GB = tuple(float(each) for each in os.environ.get("SIZES_GB", "0.1,1,4").split(","))
SAMPLES = int(os.environ.get("SAMPLES", "20"))
CLIENTS = 8
WRITE = "INSERT INTO load (v) VALUES (md5(random()::text));\n"
SCHEMA = "SET ROLE shop; CREATE TABLE load (id bigserial PRIMARY KEY, v text); CREATE TABLE tried (n int)"
BALLAST = (
    "SET ROLE shop; CREATE TABLE ballast (id bigint PRIMARY KEY, at timestamptz, v text); "
    "INSERT INTO ballast SELECT n, now(), repeat(md5(n::text), 6) FROM generate_series(1, {rows}) n"
)
ROWS_A_GB = 3_900_000
RETRY_S = 0.02
"""What a pause may be shorter than it is measured; two that knock without a break would take a core between them."""


@dataclass
class Tried:
    """One row after another on one host, in new sessions until one is taken; when each was."""

    conninfo: str
    taken: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.conninfo, autocommit=True) as session:
                    while not self.stop.is_set():
                        session.execute("INSERT INTO tried VALUES (1)")
                        self.taken.append(time.time())
                        self.stop.wait(0.002)
            except psycopg.Error:
                self.stop.wait(RETRY_S)


@contextmanager
def tried(lab: Lab, side: str) -> Iterator[Tried]:
    port = lab.ports.old if side == "old" else lab.ports.new
    trier = Tried(f"host=127.0.0.1 port={port} dbname=shop user=shop passfile={lab.env['PGPASSFILE']}")
    thread = threading.Thread(target=trier.run, daemon=True)
    thread.start()
    try:
        yield trier
    finally:
        trier.stop.set()
        thread.join(10)


@contextmanager
def pgbench(lab: Lab, side: str, rate: int, folder: Path) -> Iterator[Path]:
    """Commits at a steady rate on one host until it takes no more; its log has a line for each."""
    script = folder / "write.sql"
    script.write_text(WRITE)
    port = lab.ports.old if side == "old" else lab.ports.new
    argv = [lab.new.bin / "pgbench", "-n", "-f", script, "-M", "prepared", "-R", rate, "-c", CLIENTS, "-T", 600, "-l"]
    argv += ["--log-prefix", folder / "log", "-h", "127.0.0.1", "-p", port, "-U", "shop", "shop"]
    quiet = subprocess.DEVNULL
    load = subprocess.Popen([str(each) for each in argv], env=lab.env, stdout=quiet, stderr=quiet)
    try:
        yield folder
    finally:
        load.kill()
        load.wait()


def committed(folder: Path) -> list[float]:
    """When each transaction of pgbench was committed (its manual, "Per-Transaction Logging"), oldest first."""
    lines = [line.split() for log in folder.glob("log.*") for line in log.read_text().splitlines() if line]
    return sorted(float(line[4]) + float(line[5]) / 1e6 for line in lines if len(line) >= 6)


@dataclass(frozen=True)
class Sample:
    """One pause, and what was really committed a second before it."""

    pause_s: float
    rate: float


def turned(world: World, live: str, rate: int, folder: Path) -> Sample:
    """Turn to the live side under load, and measure from outside."""
    folder.mkdir()
    old = "new" if live == "old" else "old"
    with tried(world.lab, old) as leaving, tried(world.lab, live) as coming, pgbench(world.lab, old, rate, folder):
        time.sleep(3)
        ended = world.through("verify") if live == "new" else world.command("rollback", "--yes")
        assert ended.code == 0, ended.err
    commits = committed(folder)
    last = max(leaving.taken[-1], commits[-1])
    first = coming.taken[0]
    steady = [at for at in commits if commits[-1] - 3 < at]
    if live == "old":
        world.point(texts.OLD, 1)
    return Sample(first - last, len(steady) / 3)


def open_window(world: World) -> None:
    """Everything before the cutover; a rehearsal of gigabytes lasts longer than a window that opens now."""
    ended = world.through("lower-ttl")
    assert ended.code == 0, ended.err
    forgotten = [at for key in ("safe", "lead_ends") if (at := low_ttl_fact(world.progress(), key))]
    time.sleep(max(0.0, (max(forgotten) - datetime.now(UTC)).total_seconds()))
    world.in_time()
    ended = world.through("window")
    assert ended.code == 0, ended.err
    world.await_window()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab, copy="stream", window="12h")
        world.shrink()
        yield world


@pytest.mark.parametrize("size_gb", SIZES_GB)
def test_pause(world: World, size_gb: float, tmp_path: Path) -> None:
    """All rates on one copy; then a move by "dump" of the same rows."""
    world.method = "replicate"
    world.reset()
    world.sql("old", SCHEMA)
    world.sql("old", BALLAST.format(rows=int(size_gb * ROWS_A_GB)))
    size = int(str(world.sql("old", "SELECT pg_database_size('shop')")[0][0])) / 1e9
    open_window(world)
    for rate in RATES:
        samples = []
        for number in range(SAMPLES):
            live = "new" if number % 2 == 0 else "old"
            if live == "new":
                world.in_time()
            samples.append(turned(world, live, rate, tmp_path / f"{rate}-{number}"))
        pauses = sorted(each.pause_s for each in samples)
        p95 = pauses[min(len(pauses) - 1, round(0.95 * len(pauses)))]
        kept = statistics.median(each.rate for each in samples)
        print(
            f"\n{size:.2f} GB, {rate} tps asked, {kept:.0f} kept: pause median {statistics.median(pauses):.2f} s, "
            f"p95 {p95:.2f} s, {len(pauses)} samples: {', '.join(f'{each:.2f}' for each in pauses)}",
            flush=True,
        )
        assert statistics.median(pauses) < 5
    assert world.command("rollback", "--yes").code == 0
    world.method = "dump"
    world.write_plan()
    open_window(world)
    by_dump = turned(world, "new", RATES[0], tmp_path / "dump")
    print(f"{size:.2f} GB by dump (stream): pause {by_dump.pause_s:.1f} s", flush=True)
