"""The fence against a fleet of writers: not one acknowledged write is younger than the fence."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from switchover.postgres.errors import FenceFailed
from switchover.postgres.fence import Fence
from tests.postgres.conftest import APP, PREFIX, Pair

SETTINGS = (
    "CONNECTION LIMIT 7",
    "SET work_mem = '9MB'",
    "SET default_transaction_read_only = off",
    "SET search_path = public, pg_temp",
)
WAYS = (
    ("plain", (), "INSERT INTO log VALUES ({n})"),
    ("override", ("SET default_transaction_read_only = off",), "INSERT INTO log VALUES ({n})"),
    ("read write", (), "BEGIN READ WRITE; INSERT INTO log VALUES ({n}); COMMIT"),
)


class Writer(threading.Thread):
    """Writes as fast as it can, connecting again when it is cut, and remembers when each write was acknowledged."""

    def __init__(self, conninfo: str, way: tuple[str, tuple[str, ...], str], start: int) -> None:
        super().__init__(daemon=True)
        self.conninfo, self.way, self.next = conninfo, way, start
        self.acknowledged: list[tuple[int, float]] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.conninfo, autocommit=True) as connection:
                    for setting in self.way[1]:
                        connection.execute(setting.encode())
                    while not self.stop.is_set():
                        self.next += 1
                        connection.execute(self.way[2].format(n=self.next).encode())
                        self.acknowledged.append((self.next, time.monotonic()))
            except psycopg.Error:
                self.stop.wait(0.01)


def raw(pair: Pair) -> list[tuple[object, ...]]:
    return pair.source.cluster.run(
        "SELECT datconnlimit, setconfig FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid "
        f"AND s.setrole = 0 WHERE datname = '{pair.source.name}'"
    )


@pytest.mark.parametrize("settings", [(), SETTINGS])
async def test_no_acknowledged_write_is_younger_than_the_fence(pair: Pair, settings: tuple[str, ...]) -> None:
    pair.source.run("CREATE TABLE log (n int)")
    for setting in settings:
        pair.source.run(f'ALTER DATABASE "{pair.source.name}" {setting}')
    before = raw(pair)
    conninfo = pair.source.cluster.conninfo(pair.source.name)
    writers = [Writer(conninfo, way, 1_000_000 * number) for number, way in enumerate(WAYS, 1)]
    for writer in writers:
        writer.start()
    while not all(writer.acknowledged for writer in writers):
        time.sleep(0.01)
    fence = Fence()
    saved = await fence.read_before(pair.source.db, APP)
    await fence.raise_(pair.source.db, APP, PREFIX, deadline_s=20, say=lambda _: None)
    raised = time.monotonic()
    assert len(await fence.prove(pair.source.db, APP)) == 3
    seen = {row[0] for row in pair.source.run("SELECT n FROM log")}
    time.sleep(0.5)  # writers keep trying against the raised fence
    for writer in writers:
        writer.stop.set()
    assert {row[0] for row in pair.source.run("SELECT n FROM log")} == seen
    await fence.lower(pair.source.db, APP, saved)
    for writer in writers:
        writer.join()
    acknowledged = [each for writer in writers for each in writer.acknowledged]
    assert {number for number, at in acknowledged if at > raised} <= seen
    assert {number for number, _ in acknowledged} == seen
    assert raw(pair) == before


async def test_a_fence_raised_again_writes_nothing(pair: Pair) -> None:
    pair.source.run("CREATE TABLE log (n int)")
    first = Fence()
    saved = await first.read_before(pair.source.db, APP)
    await first.raise_(pair.source.db, APP, PREFIX, deadline_s=20, say=lambda _: None)
    await first.release()
    second = Fence()
    await second.raise_(pair.source.db, APP, PREFIX, deadline_s=20, say=lambda _: None)
    assert second.mark == first.mark
    await second.lower(pair.source.db, APP, saved)


async def test_who_holds_the_fence_up_is_named(pair: Pair) -> None:
    pair.source.run("CREATE TABLE log (n int)")
    said: list[str] = []
    fence = Fence()
    saved = await fence.read_before(pair.source.db, APP)
    holder = psycopg.connect(pair.source.cluster.conninfo(pair.source.name), application_name=f"{PREFIX}holder")
    try:
        holder.execute("INSERT INTO log VALUES (1)")
        with pytest.raises(FenceFailed, match=f"pid {holder.info.backend_pid}"):
            await fence.raise_(pair.source.db, APP, PREFIX, deadline_s=0.1, say=said.append)
    finally:
        holder.close()
    assert said
    await fence.lower(pair.source.db, APP, saved)
    assert (await fence.read_before(pair.source.db, APP)) == saved
