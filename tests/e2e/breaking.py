"""Something that breaks in the midst of a switchover, and what must be true of the world afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

from switchover.plan.journal import What
from switchover.plan.progress import Passed
from tests.e2e.world import Ended, State, World

SLOW = """
CREATE FUNCTION slowly(i int) RETURNS boolean LANGUAGE sql AS
  $$SELECT pg_sleep(coalesce(current_setting('test.nap', true), '0.03')::float8) IS NOT NULL$$;
SET test.nap = '0';
CREATE TABLE slow (id int PRIMARY KEY CHECK (slowly(id)), filling text);
INSERT INTO slow SELECT n, repeat('x', 300000) FROM generate_series(1, 100) n
"""
"""Where no nap is set, as on the target, rows come slowly, and they are too many for what lies between the servers."""

COPIES = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE 'switchover/%'"
"""Has a row on the target while the slow table is copied."""

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'switchover/%'"

HOLDS = """
import pathlib, time
pathlib.Path({here!r}).touch()
while not pathlib.Path({on!r}).exists():
    time.sleep(0.02)
"""


def broken(world: World, breaks: AbstractContextManager[object]) -> Ended:
    """The switchover, in ``breaks`` from the moment on when the slow table is copied until the run has ended."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.through)
        while not world.sql("new", COPIES, "postgres"):
            assert not running.done(), running.result()
            time.sleep(0.02)
        with breaks:
            return running.result()


@contextmanager
def held_at(world: World, where: str, step: str = "finish") -> Iterator[Future[Ended]]:
    """A run that stands still after a journal entry as long as the block lasts, and then goes on."""
    here, on, program = (world.lab.folder / name for name in ("here", "on", "fault.py"))
    program.write_text(HOLDS.format(here=str(here), on=str(on)))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.through, step, fault=f"after:{program}:{where}")
        try:
            while not here.exists():
                assert not running.done(), running.result()
                time.sleep(0.02)
            yield running
        finally:
            on.touch()
            running.exception()
            for path in (here, on):
                path.unlink(missing_ok=True)


@contextmanager
def cut(world: World, which: str) -> Iterator[None]:
    """Every connection of ours to a server ends once."""
    world.sql(which, CUT, "postgres")
    yield


def reasons(world: World) -> str:
    """Why what has failed did, as the journal has it."""
    return "\n".join(str(entry.data["reason"]) for entry in world.entries() if entry.what is What.FAILED)


def assert_as_before(world: World, before: State) -> None:
    """Users are on the old host, and it is as if nothing had been tried."""
    after = world.state()
    assert (after.rows, after.settings, after.dns) == (before.rows, before.settings, before.dns)
    assert after.databases["old"] == before.databases["old"]
    assert world.progress().passed is Passed.NOT
    assert not world.lab.maintenance.exists()


def assert_goes_through(world: World, undisturbed: State) -> None:
    """Run again to the end, the world is as after a switchover that nothing has disturbed."""
    ended = world.through()
    assert ended.code == 0, ended.err
    assert world.state() == undisturbed
    if world.sql("old", "SELECT to_regclass('slow') IS NOT NULL") == [(True,)]:
        assert world.sql("new", "SELECT count(*), count(DISTINCT id) FROM slow") == [(100, 100)]
