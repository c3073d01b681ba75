"""The way back and the end: rows go there and back without a circle, and nothing of a link stays anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.fence import Fence
from switchover.postgres.replication.backwards import prepare_back
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.lag import look
from switchover.postgres.replication.subscription import disable, enable, find_subscription
from switchover.postgres.replication.trouble import troubles
from tests.postgres.conftest import APP, PREFIX, Pair, Side, make_pair
from tests.postgres.conftest import clean as clean_pair
from tests.postgres.fleet import INSERT, OVERRIDE, Fleet, Way
from tests.postgres.replicating import ahead, back, drained, eventually, follow, left_of, quiet, remove_all, until
from tests.postgres.turning import repointed, same, turn
from tests.servers.postgres import Cluster

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE loose (n int, v text);
CREATE TABLE odd (a int, b text); ALTER TABLE odd REPLICA IDENTITY NOTHING;
CREATE TABLE keyed (a int NOT NULL, v text); CREATE UNIQUE INDEX keyed_a ON keyed (a);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_a
"""
IDENTITIES = (
    "SELECT relname, relreplident::text FROM pg_class WHERE relname IN ('t', 'loose', 'odd', 'keyed') ORDER BY 1"
)
BEFORE = [("keyed", "i"), ("loose", "d"), ("odd", "n"), ("t", "d")]


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    pair.both(TABLES)
    yield pair
    remove_all(pair)


def write(side: Side, first: int) -> None:
    """Rows of every kind, with and without a key, and changes of all that was there."""
    side.run(
        f"INSERT INTO t SELECT n, 'x' FROM generate_series({first}, {first + 99}) n; "
        f"INSERT INTO loose SELECT n % 10, 'x' FROM generate_series({first}, {first + 99}) n; "
        f"INSERT INTO odd SELECT n % 10, NULL FROM generate_series({first}, {first + 99}) n; "
        f"INSERT INTO keyed SELECT n, 'k' FROM generate_series({first}, {first + 99}) n; "
        "UPDATE t SET v = v || '.' WHERE id % 7 = 0; UPDATE loose SET v = v || '.' WHERE n = 3; "
        "DELETE FROM loose WHERE n = 5; UPDATE odd SET b = 'set' WHERE a = 2; UPDATE keyed SET a = -a WHERE a % 9 = 1"
    )


async def there_and_back_twice(pair: Pair) -> None:
    there, behind = ahead(pair), back(pair)
    await follow(there)
    for round in range(2):
        write(pair.source, 1000 * round)
        source = await turn(there, behind, pair.source)
        await same(pair)
        write(pair.target, 1000 * round + 300)
        now = await until(behind, lambda now: not troubles(now) and not now.bytes)
        assert now.subscriber.apply_errors == 0
        target = await turn(behind, there, pair.target)
        await same(pair)
        await source.lower()
        await target.lower()
    write(pair.source, 5000)
    await drained(there)
    await same(pair)
    done = await dismantle(there, APP)
    assert done.done
    for side in (pair.source, pair.target):
        assert left_of(side) == []
        assert side.run(IDENTITIES) == BEFORE


async def test_rows_go_there_and_back_twice_also_without_a_key(pair: Pair) -> None:
    await there_and_back_twice(pair)


async def test_rows_go_there_and_back_twice_where_the_old_side_knows_no_origin(
    servers_folder: Path, new_server: Cluster
) -> None:
    old = Cluster(servers_folder / "old15", 15).start()
    pair = make_pair(old, new_server)
    try:
        pair.both(TABLES)
        await there_and_back_twice(pair)
        clean_pair(pair)
    finally:
        old.stop()


async def test_each_write_of_a_fleet_is_once_on_the_live_side_there_and_back(pair: Pair) -> None:
    """Writers that override the read-only setting, reconnect, and are superusers; each write remembers who took it."""
    owner = f"owner_{pair.tag}"
    for side in (pair.source, pair.target):
        side.role(owner)
        side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
        side.run(f"CREATE TABLE log (n int8); ALTER TABLE log OWNER TO {owner}")
    there, behind = ahead(pair), back(pair)
    await follow(there)
    ways = (
        Way("owner", owner, INSERT),
        Way("read write", owner, f"BEGIN READ WRITE; {INSERT}; COMMIT"),
        Way("pool, override", owner, INSERT, prelude=OVERRIDE, pooled=True),
        Way("superuser", "postgres", INSERT, prelude=OVERRIDE),
    )
    with Fleet(pair.source, ways) as fleet:
        await fleet.all_write(pair.source)
        source = await turn(there, behind, pair.source, lambda: repointed(fleet, pair.source, pair.target))
        frozen = fleet.acknowledged(pair.source)

        async def home() -> None:
            assert fleet.acknowledged(pair.source) == frozen
            await source.lower()
            await repointed(fleet, pair.target, pair.source)

        target = await turn(behind, there, pair.target, home)
    await drained(there)
    acknowledged = fleet.acknowledged(pair.source) | fleet.acknowledged(pair.target)
    assert len(fleet.acknowledged(pair.target)) >= len(ways)
    for side in (pair.source, pair.target):
        found = Counter(int(str(row[0])) for row in side.run("SELECT n FROM log"))
        assert [number for number in acknowledged if found[number] != 1] == []
        assert [number for number, times in found.items() if times != 1] == []
    await target.lower()


async def test_a_cutover_that_is_undone_goes_on_following_as_before(pair: Pair) -> None:
    there, behind = ahead(pair), back(pair)
    await follow(there)
    fence = Fence()
    before = await fence.read_before(pair.source.db, APP)
    await fence.raise_(pair.source.db, APP, PREFIX, deadline_s=10, say=quiet)
    await drained(there)
    await disable(there, APP)
    await prepare_back(there, behind, APP, deadline_s=10, say=quiet)
    undone = await dismantle(behind, APP)
    assert undone.done
    assert len(undone.removed) == 3
    await enable(there, APP)
    await fence.lower(pair.source.db, APP, before)
    write(pair.source, 1)
    await drained(there)
    await same(pair)


async def test_the_way_back_is_not_made_while_the_way_ahead_applies(pair: Pair) -> None:
    await follow(ahead(pair))
    with pytest.raises(ReplicationFailed, match="disable it first"):
        await prepare_back(ahead(pair), back(pair), APP, deadline_s=5, say=quiet)
    assert await find_subscription(back(pair), APP) is None


async def test_a_link_is_dismantled_again_and_again_and_leaves_nothing(pair: Pair) -> None:
    link = ahead(pair)
    assert (await dismantle(link, APP)).done
    await follow(link)
    write(pair.source, 1)
    await drained(link)
    done = await dismantle(link, APP)
    assert len(done.removed) == 5
    assert done.left == ()
    for side in (pair.source, pair.target):
        assert left_of(side) == []
        assert side.run(IDENTITIES) == BEFORE
    again = await dismantle(link, APP)
    assert (again.removed, again.left) == ((), ())


@pytest.mark.parametrize("down", ["publisher", "subscriber"])
async def test_a_link_is_dismantled_with_a_side_down_and_the_rest_when_it_is_back(
    servers_folder: Path, old_server: Cluster, down: str
) -> None:
    other = Cluster(servers_folder / f"down_{down}", 16).start()
    pair = make_pair(other, old_server) if down == "publisher" else make_pair(old_server, other)
    try:
        pair.both(TABLES)
        link = ahead(pair)
        await follow(link)
        await drained(link)
        other.stop()
        first = await dismantle(link, APP)
        words = {"publisher": ("slot", "publication", "marker"), "subscriber": ("subscription", "marker")}[down]
        assert [each.split()[0] for each in first.left] == list(words)
        assert first.removed != ()
        other.start()
        second = await dismantle(link, APP)
        assert second.left == ()
        assert second.removed != ()
        assert left_of(pair.source) == left_of(pair.target) == []
        clean_pair(pair)
    finally:
        other.stop()


async def test_a_subscriber_that_was_lost_is_said_and_follows_when_it_is_back(
    servers_folder: Path, old_server: Cluster
) -> None:
    other = Cluster(servers_folder / "lost", 18, fsync=True).start()
    pair = make_pair(old_server, other)
    try:
        pair.both(TABLES)
        link = ahead(pair)
        await follow(link)
        await drained(link)
        other.kill()
        write(pair.source, 1)
        await eventually(lambda: not pair.source.run("SELECT 1 FROM pg_stat_replication"))
        other.start()
        await drained(link)
        assert pair.target.run("SELECT count(*), sum(id) FROM t") == pair.source.run("SELECT count(*), sum(id) FROM t")
        assert troubles(await look(link, APP)) == ()
        assert (await dismantle(link, APP)).done
        clean_pair(pair)
    finally:
        other.stop()
