"""There and back again and again under writers, while something is killed, cut, stalled or restarted: no row is lost.

TURNS=200 pytest -o addopts= -s tests/campaign/test_live_loss.py

At every stand, with the writers held for a moment: each acknowledged row is once in both databases, and the host that
is not live refuses writes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from switchover.demo import texts
from switchover.demo.lab import Lab
from tests.campaign.payers import SCHEMA, Payers
from tests.e2e.live import left
from tests.e2e.world import Ended, World

TURNS = int(os.environ.get("TURNS", "200"))
TURNS_A_PLAN = 20
TRIES = 8
TURN_S = 8.0
"""About how long an undisturbed turn takes; what strikes at a moment strikes within it."""
APPENDS = 45
"""About how many journal entries a turn has."""
SEED = int(os.environ.get("SEED", str(time.time_ns() % 100_000)))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab, copy="stream", method="replicate", window="12h")
        world.shrink()
        yield world


@pytest.mark.parametrize("number", range(TURNS // TURNS_A_PLAN))
def test_every_acknowledged_row_is_on_the_live_side_once(world: World, number: int, tmp_path: Path) -> None:
    chance = random.Random(SEED + number)
    world.reset()
    world.sql("old", SCHEMA)
    with Payers(world.lab, tmp_path / "acknowledged") as payers:
        assert world.through("window").code == 0
        world.await_window()
        seen: Counter[str] = Counter()
        for turn in range(TURNS_A_PLAN):
            live, other = ("new", "old") if turn % 2 == 0 else ("old", "new")
            payers.pace_s = chance.choice((0.002, 0.01, 0.05))
            fault = chance.choice(FAULTS)
            seen[fault.__name__] += 1
            tries = turned(world, live, fault, chance)
            by = stand(world, payers, live, other)
            print(
                f"{SEED}/{number}/{turn} to {live}: {fault.__name__}, {tries} more tries, acknowledged {by}", flush=True
            )
            if live == "old":
                world.point(texts.OLD, 1)
        ended = world.through("finish")
        assert ended.code == 0, ended.err
        with payers.gate.closed():
            payers.account("new", "shop")
            payers.refused("old")
        assert left(world, "old") == left(world, "new") == []
    print(f"{SEED}/{number}: {dict(seen)}", flush=True)


def turned(world: World, live: str, fault: Fault, chance: random.Random) -> int:
    """Turn, disturbed at first; how many more tries it took. A person is never needed."""

    def go(**how: str) -> Ended:
        return world.through("verify", **how) if live == "new" else world.command("rollback", "--yes", **how)

    ended = fault(world, go, chance)
    for tries in range(TRIES):
        if ended.code == 0:
            return tries
        print(f"    code {ended.code}: {' | '.join(ended.err.strip().splitlines()[-3:])}", flush=True)
        ended = go()
    assert ended.code == 0, ended.err
    return TRIES


def stand(world: World, payers: Payers, live: str, other: str) -> dict[str, int]:
    """What is true between two turns, while nobody writes for a moment."""
    beside = "shop" if other == "old" else f"switchover_copy_{world.progress().plan_id[:12]}"
    with payers.gate.closed():
        payers.refused(other)
        by = payers.account(live, "shop")
        deadline = time.monotonic() + 60
        while rows(world, live, "shop") != rows(world, other, beside):
            assert time.monotonic() < deadline, f"{other} does not have what {live} has"
            time.sleep(0.1)
        payers.account(other, beside)
    return by


def rows(world: World, side: str, dbname: str) -> list[tuple[object, ...]]:
    """The rows of both tables, as sums that do not hang on their order."""
    return world.sql(
        side,
        "SELECT (SELECT count(*) FROM paid), (SELECT sum(hashtextextended(p::text, 0)) FROM paid p), "
        "(SELECT count(*) FROM told), (SELECT sum(hashtextextended(t::text, 0)) FROM told t)",
        dbname,
    )


Go = Callable[..., Ended]
Fault = Callable[[World, Go, random.Random], Ended]


def nothing(world: World, go: Go, chance: random.Random) -> Ended:
    return go()


def killed_at_an_entry(world: World, go: Go, chance: random.Random) -> Ended:
    return go(fault=f"{chance.choice(('before', 'after'))}:kill:{chance.randint(1, APPENDS)}")


def restarted(world: World, go: Go, chance: random.Random) -> Ended:
    def strike() -> None:
        with world.away(chance.choice(("old", "new"))):
            time.sleep(chance.uniform(0, 2))

    return meanwhile(go, strike, chance)


def killed_and_restarted(world: World, go: Go, chance: random.Random) -> Ended:
    ended = killed_at_an_entry(world, go, chance)
    with world.away(chance.choice(("old", "new"))):
        time.sleep(chance.uniform(0, 1))
    return ended


def stalled(world: World, go: Go, chance: random.Random) -> Ended:
    """WAL senders that neither send nor end."""

    def strike() -> None:
        active = "SELECT active_pid FROM pg_replication_slots WHERE active"
        pids = [int(str(pid)) for side in ("old", "new") for (pid,) in world.sql(side, active, "postgres")]
        for sign, wait_s in ((signal.SIGSTOP, chance.uniform(1, 6)), (signal.SIGCONT, 0)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            time.sleep(wait_s)

    return meanwhile(go, strike, chance)


def cut(world: World, go: Go, chance: random.Random) -> Ended:
    """The connections of the run and of replication, a few times, on one side or the other."""

    def strike() -> None:
        for _ in range(3):
            with contextlib.suppress(psycopg.Error):
                world.sql(
                    chance.choice(("old", "new")),
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                    "(application_name LIKE 'switchover%' OR backend_type IN "
                    "('walsender', 'logical replication worker', 'logical replication apply worker'))",
                    "postgres",
                )
            time.sleep(chance.uniform(0, 1))

    return meanwhile(go, strike, chance)


def meanwhile(go: Go, strike: Callable[[], None], chance: random.Random) -> Ended:
    """Strike at some moment of the turn."""
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go)
        time.sleep(chance.uniform(0, TURN_S))
        strike()
        return going.result()


FAULTS: tuple[Fault, ...] = (
    nothing,
    *(killed_at_an_entry,) * 4,
    *(restarted,) * 2,
    killed_and_restarted,
    stalled,
    cut,
)
