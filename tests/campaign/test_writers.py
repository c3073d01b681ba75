"""Twenty cutovers under a fleet of writers: not one acknowledged write is lost, doubled, or on the wrong side.

pytest -o addopts= -s tests/campaign/test_writers.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import conftest
from tests.postgres.fleet import Cutover
from tests.servers.postgres import Cluster

TIMES = 20


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    folder: Path = tmp_path_factory.mktemp("servers")
    old, new = Cluster(folder / "old", 16).start(), Cluster(folder / "new", 18).start()
    yield old, new
    old.stop()
    new.stop()


@pytest.mark.parametrize("number", range(TIMES))
async def test_every_acknowledged_write_is_on_the_live_side_once(servers: tuple[Cluster, Cluster], number: int) -> None:
    """Every fourth is undone, every third has a plan role that owns the database and is no superuser.

    Every second one that is carried through streams.
    """
    pair = conftest.make_pair(*servers)
    cutover = Cutover(pair, superuser=number % 3 != 0, undone=number % 4 == 3, streams=number % 4 == 1)
    started = time.monotonic()
    try:
        await cutover.run()
    finally:
        conftest.clean(pair)
    print(
        f"{number}: superuser {cutover.superuser}, undone {cutover.undone}, streams {cutover.streams}, "
        f"{cutover.writes} writes acknowledged, "
        f"{cutover.refusals} refusals for prepared transactions, {time.monotonic() - started:.1f} s",
        flush=True,
    )
