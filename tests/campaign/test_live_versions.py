"""A live copy between versions: three times there and back under writers who never rest, exactly equal at every stand.

pytest -o addopts= -s tests/campaign/test_live_versions.py

At every stand, behind the fence and before the writers move, everything is compared; each acknowledged row is once on
both sides, and the side that is not live has acknowledged nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchover.children import Children
from switchover.postgres.programs import Tools
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.lag import look
from switchover.postgres.replication.link import Link
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import make_slot
from switchover.postgres.replication.subscription import enable, make_ready, subscribe
from switchover.postgres.replication.trouble import troubles
from switchover.postgres.sequences import set_sequences
from switchover.postgres.stream import stream
from tests.postgres.conftest import APP, Pair, Side, make_pair, silent
from tests.postgres.fleet import INSERT, OVERRIDE, Fleet, Way
from tests.postgres.replicating import ahead, back, drained, left_of, quiet
from tests.postgres.test_replication import SHAPES, WRITES
from tests.postgres.turning import Fenced, repointed, same, turn
from tests.postgres.zoo import UNMARK
from tests.servers.postgres import Cluster

VERSIONS = [(15, 16), (15, 18), (16, 18), (18, 18)]
ROUNDS = 3
WRITES_A_STAND = 20
"""How often each writer writes at least before the next turn begins."""


def both_ways(statements: Iterable[str]) -> list[str]:
    """Less the table whose rows PostgreSQL 18 could not publish: known by the whole row, with a generated column."""
    return [each for each in statements if "bare" not in each]


SCHEMA = "\n".join(["CREATE TABLE log (n int8);", *both_ways(SHAPES.splitlines())])
EVERYTHING = "; ".join([INSERT, *both_ways(WRITES)])
"""A row in the log, and every kind of change beside it: all or nothing."""


def ways(owner: str) -> tuple[Way, ...]:
    return (
        Way("owner", owner, INSERT),
        Way("read write", owner, f"BEGIN READ WRITE; {INSERT}; COMMIT"),
        Way("pool, override", owner, INSERT, prelude=OVERRIDE, pooled=True),
        Way("superuser", "postgres", INSERT, prelude=OVERRIDE),
        Way("everything", owner, EVERYTHING),
        Way("everything, pool", owner, EVERYTHING, pooled=True),
        Way("bulk", owner, INSERT + "; INSERT INTO keyed SELECT {n}000 + g, 'b' FROM generate_series(1, 300) g"),
    )


@contextmanager
def servers(old: int, new: int) -> Iterator[Pair]:
    """Two servers of their own, and a database on each."""
    with tempfile.TemporaryDirectory(prefix="switchover-pg-", ignore_cleanup_errors=True) as folder:
        clusters = [Cluster(Path(folder) / name, major).start() for name, major in (("old", old), ("new", new))]
        try:
            yield make_pair(*clusters)
        finally:
            for cluster in clusters:
                cluster.stop()


@dataclass(slots=True)
class Journey:
    """A pair that goes there and back, its writers, and what was true at each stand."""

    pair: Pair
    fleet: Fleet
    frozen: set[int] = field(default_factory=set)
    """What the side that is not live had acknowledged when it was left."""

    async def copied(self, folder: Path) -> None:
        """The live copy, made and followed while the fleet writes."""
        link, tools = ahead(self.pair), Tools(2, str(self.pair.target.cluster.bin), APP, Children())
        await make_ready(self.pair.target.db, APP)
        await publish(link, APP)
        held = await make_slot(link, APP, deadline_s=20, say=quiet)
        try:
            await stream(
                self.pair.source.db,
                self.pair.target.db,
                folder,
                tools,
                snapshot=held.snapshot,
                stamp=held.stamp,
                on_progress=silent,
            )
            await subscribe(link, APP)
        finally:
            await held.release()
        await enable(link, APP)

    async def turned(self, *, home: bool, closed: Fenced | None) -> Fenced:
        """Turn, compare behind the fence, and let the writers go along; ``closed`` is what the last turn has fenced."""
        pair = self.pair
        now, then = (back(pair), ahead(pair)) if home else (ahead(pair), back(pair))
        leaving, live = (pair.target, pair.source) if home else (pair.source, pair.target)

        async def repoint() -> None:
            await self.stands(now, live)
            if closed is not None:
                await closed.lower()
            self.frozen = self.fleet.acknowledged(leaving)
            await repointed(self.fleet, leaving, live)

        fenced = await turn(now, then, leaving, repoint)
        for _ in range(WRITES_A_STAND):
            await self.fleet.all_write(live)
        assert self.fleet.acknowledged(leaving) == self.frozen
        assert [each.id for each in troubles(await look(then, APP)) if each.blocks] == []
        return fenced

    async def stands(self, link: Link, idle: Side) -> None:
        """Both sides are equal in everything, and have each acknowledged row once; nobody wrote on the idle one."""
        assert self.frozen == self.fleet.acknowledged(idle)
        await set_sequences(link.publisher, link.subscriber, APP)
        found = await same(self.pair)
        acknowledged = self.fleet.acknowledged(self.pair.source) | self.fleet.acknowledged(self.pair.target)
        for side in (self.pair.source, self.pair.target):
            times = Counter(int(str(row[0])) for row in side.run("SELECT n FROM log"))
            assert [number for number in acknowledged if times[number] != 1] == []
            assert [number for number, often in times.items() if often != 1] == []
        rows = sum(each.source_rows for each in found.tables)
        print(
            f"{link.name}: {len(found.tables)} tables, {rows} rows and {found.sequences} sequences the same; "
            f"{len(acknowledged)} acknowledged, each once on both sides",
            flush=True,
        )


@pytest.mark.parametrize(("old", "new"), VERSIONS)
async def test_three_times_there_and_back_under_writers_every_stand_is_equal(
    old: int, new: int, tmp_path: Path
) -> None:
    with servers(old, new) as pair:
        owner = f"owner_{pair.tag}"
        for side in (pair.source, pair.target):
            side.role(owner)
            side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
        pair.source.run(SCHEMA, owner)
        pair.source.run(UNMARK)
        with Fleet(pair.source, ways(owner)) as fleet:
            await fleet.all_write(pair.source)
            journey, closed = Journey(pair, fleet), None
            await journey.copied(tmp_path / "copy")
            for number in range(2 * ROUNDS):
                print(f"{old} and {new}, turn {number + 1}: ", end="")
                closed = await journey.turned(home=number % 2 == 1, closed=closed)
        await drained(ahead(pair))
        await journey.stands(ahead(pair), pair.target)
        assert (await dismantle(ahead(pair), APP)).done
        assert left_of(pair.source) == left_of(pair.target) == []
