"""How fast a live copy applies what has been written, against PostgreSQL's own replication set up by hand.

pytest -o addopts= -s tests/bench/test_apply.py

The same servers and the same writes in pairs, small transactions and a large one; the ratio is that of the medians.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchover.postgres.replication.subscription import disable, enable
from tests.postgres.conftest import APP, Pair, clean, make_pair
from tests.postgres.replicating import ahead, follow, remove_all
from tests.servers.postgres import Cluster

PAIRS = 5
CLIENTS, EACH = 8, 4000
STATES = ("DISABLE", "ENABLE")
TABLE = "CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL, v text)"
SMALL = "INSERT INTO t (n, v) VALUES (1, md5(random()::text));\n"
LARGE = "INSERT INTO t (n, v) SELECT n, md5(n::text) FROM generate_series(1, 200000) n"
BEHIND = (
    "SELECT coalesce(bool_or(confirmed_flush_lsn >= '{lsn}'), false) FROM pg_replication_slots "
    "WHERE database = current_database()"
)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    with tempfile.TemporaryDirectory(prefix="switchover-bench-", ignore_cleanup_errors=True) as folder:
        old = Cluster(Path(folder) / "old", 16, fsync=True).start()
        new = Cluster(Path(folder) / "new", 18, fsync=True).start()
        yield old, new
        old.stop()
        new.stop()


def applied_s(pair: Pair, folder: Path, stop: Callable[[], None], go: Callable[[], None]) -> float:
    """How long it takes to apply what was written while nothing was applied."""
    stop()
    script = folder / "write.sql"
    script.write_text(SMALL)
    cluster = pair.source.cluster
    argv = [cluster.bin / "pgbench", "-n", "-f", script, "-c", str(CLIENTS), "-t", str(EACH), "-M", "prepared"]
    argv += ["-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres", pair.source.name]
    subprocess.run(argv, check=True, capture_output=True)
    pair.source.run(LARGE)
    lsn = pair.source.run("SELECT pg_current_wal_flush_lsn()")[0][0]
    start = time.perf_counter()
    go()
    with cluster.connect(pair.source.name) as session:
        while session.execute(BEHIND.format(lsn=lsn).encode()).fetchone() != (True,):
            time.sleep(0.01)
    return time.perf_counter() - start


def by_hand(pair: Pair, folder: Path) -> float:
    pair.source.run("CREATE PUBLICATION p FOR TABLE t")
    conninfo = pair.source.cluster.conninfo(pair.source.name)
    slot = f"by_hand_{pair.tag}"
    pair.target.run(
        f"CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p WITH (copy_data = false, slot_name = {slot})"
    )
    stop, go = (lambda change=change: pair.target.run(f"ALTER SUBSCRIPTION s {change}") for change in STATES)
    took = applied_s(pair, folder, stop, go)
    pair.target.run("DROP SUBSCRIPTION s")
    return took


def by_link(pair: Pair, folder: Path) -> float:
    link = ahead(pair)
    asyncio.run(follow(link))
    took = applied_s(pair, folder, lambda: asyncio.run(disable(link, APP)), lambda: asyncio.run(enable(link, APP)))
    remove_all(pair)
    return took


def timed(way: Callable[[Pair, Path], float], servers: tuple[Cluster, Cluster], folder: Path) -> float:
    pair = make_pair(*servers)
    pair.both(TABLE)
    for cluster in servers:
        cluster.run("CHECKPOINT")
    try:
        return way(pair, folder)
    finally:
        clean(pair)


def test_applying_against_replication_by_hand(servers: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    pairs = [(timed(by_link, servers, tmp_path), timed(by_hand, servers, tmp_path)) for _ in range(PAIRS)]
    ratio = statistics.median(mine for mine, _ in pairs) / statistics.median(other for _, other in pairs)
    shown = ", ".join(f"{mine:.2f}/{other:.2f}" for mine, other in pairs)
    print(f"\napply, live copy / by hand: {ratio:.2f} (goal 1); seconds: {shown}")
    assert ratio < 1.5
