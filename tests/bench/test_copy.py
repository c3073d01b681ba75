"""The copy and the comparison against what else there is, as ratios of one run:  pytest -o addopts= -s tests/bench

The peers run as their manuals say, on the same two servers, one after another in pairs; what counts is the median of
the pairs' ratios. Every copy ends with the same rows, keys and statistics.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchover.children import Children
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.copy import analyze
from switchover.postgres.programs import Tools
from switchover.postgres.stream import stream
from tests.bench.mix import make_mix
from tests.servers.postgres import Cluster

PAIRS = 5
APP = "switchover/bench/run"
CONF = "shared_buffers = 256MB\nmax_wal_size = 2GB\nmaintenance_work_mem = 64MB\nmax_locks_per_transaction = 128\n"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Two of Debian's, for pgcopydb from Debian knows no newer ones; with fsync, as in production."""
    with tempfile.TemporaryDirectory(prefix="switchover-bench-", ignore_cleanup_errors=True) as folder:
        old, new = (Cluster(Path(folder) / name, 15, conf=CONF, fsync=True).start() for name in ("old", "new"))
        make_mix(old, "mix")
        yield old, new
        old.stop()
        new.stop()


def fresh(new: Cluster) -> None:
    new.run("DROP DATABASE IF EXISTS copy WITH (FORCE)")
    new.run("CREATE DATABASE copy TEMPLATE template0")
    new.run("CHECKPOINT")


def streamed(old: Cluster, new: Cluster, folder: Path) -> None:
    target = Database.parse(new.conninfo("copy"))

    async def work() -> None:
        source = Database.parse(old.conninfo("mix"))
        tools = Tools(2, str(old.bin), APP, Children())
        await stream(source, target, folder / "stream", tools, snapshot=None, stamp="x", on_progress=_quiet)
        await analyze(target, APP)

    asyncio.run(work())


def piped(old: Cluster, new: Cluster, folder: Path) -> None:
    dump = subprocess.Popen([old.bin / "pg_dump", "-d", old.conninfo("mix")], stdout=subprocess.PIPE)
    run(old.bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", new.conninfo("copy"), stdin=dump.stdout)
    assert dump.wait() == 0
    new.run("ANALYZE", "copy")


def by_files(old: Cluster, new: Cluster, folder: Path) -> None:
    run(old.bin / "pg_dump", "-Fd", "-j2", "-f", folder / "dump", "-d", old.conninfo("mix"))
    run(old.bin / "pg_restore", "-j2", "-d", new.conninfo("copy"), folder / "dump")
    new.run("ANALYZE", "copy")


def by_pgcopydb(old: Cluster, new: Cluster, folder: Path) -> None:
    run(
        *("pgcopydb", "clone", "--table-jobs", "2", "--index-jobs", "2", "--dir", folder / "pgcopydb"),
        *("--source", old.conninfo("mix"), "--target", new.conninfo("copy")),
        env={**os.environ, "PATH": f"{old.bin}:{os.environ['PATH']}"},
    )


def run(*argv: str | Path, **given: object) -> None:
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **given)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr[-2000:]


def timed(way: Callable[[Cluster, Cluster, Path], None], servers: tuple[Cluster, Cluster], folder: Path) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    fresh(servers[1])
    start = time.perf_counter()
    way(*servers, folder)
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("peer", "goal"),
    [(piped, 0.65), (by_files, 0.70), (by_pgcopydb, 0.95)],
    ids=["pg_dump-psql", "pg_dump-Fd-j2", "pgcopydb"],
)
def test_stream_against(
    servers: tuple[Cluster, Cluster], peer: Callable[[Cluster, Cluster, Path], None], goal: float, tmp_path: Path
) -> None:
    pairs = [(timed(streamed, servers, tmp_path / "a"), timed(peer, servers, tmp_path / "b")) for _ in range(PAIRS)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    shown = ", ".join(f"{mine:.1f}/{other:.1f}" for mine, other in pairs)
    print(f"\nstream / {peer.__name__}: {ratio:.2f} (goal {goal}); seconds: {shown}")
    assert ratio < 1


def test_comparison_against_counting(servers: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    timed(streamed, servers, tmp_path / "a")
    old, new = servers
    source, target = Database.parse(old.conninfo("mix")), Database.parse(new.conninfo("copy"))

    def compared() -> float:
        start = time.perf_counter()
        found = asyncio.run(compare(source, target, APP, on_progress=_quiet))
        assert found.verdict is Verdict.SAME
        return time.perf_counter() - start

    def counted(cluster: Cluster, name: str) -> float:
        with cluster.connect(name, options="-c max_parallel_workers_per_gather=0") as session:
            tables = session.execute(
                "SELECT format('SELECT count(*) FROM %I', relname) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            start = time.perf_counter()
            for (query,) in tables:
                session.execute(str(query).encode())
            return time.perf_counter() - start

    cores = os.cpu_count() or 1
    pairs = [(compared(), (counted(old, "mix") + counted(new, "copy")) / cores) for _ in range(PAIRS)]
    ratio = statistics.median(mine / passes for mine, passes in pairs)
    print(f"\ncompare / one count(*) pass of both sides, parted among {cores} cores: {ratio:.2f} (goal 2.5)")
    print("seconds: " + ", ".join(f"{mine:.2f}/{passes:.2f}" for mine, passes in pairs))
    assert ratio < 10


def _quiet(say: str, done: float, total: float, unit: str = "") -> None:
    """Keep quiet."""
