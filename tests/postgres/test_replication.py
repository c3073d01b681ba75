"""The live copy: made under a slot's snapshot while users write, followed, drained, and equal in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.children import Children
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.programs import Tools
from switchover.postgres.replication.backwards import prepare_back
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.lag import look
from switchover.postgres.replication.limits import link_findings
from switchover.postgres.replication.link import forward
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import find_slot, make_slot
from switchover.postgres.replication.subscription import enable, find_subscription, make_ready, redirect, subscribe
from switchover.postgres.replication.trouble import troubles
from switchover.postgres.scratch import create_copy
from switchover.postgres.sequences import set_sequences
from switchover.postgres.stream import stream
from tests.postgres.conftest import APP, Pair, silent
from tests.postgres.replicating import ahead, back, drained, follow, quiet, remove_all, writing
from tests.servers.postgres import server_account

SHAPES = """
CREATE TABLE kept (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) STORED);
CREATE TABLE loose (n int8, v text, at timestamptz DEFAULT now());
CREATE TABLE parted (id int8, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE parted_b PARTITION OF parted FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE parent (id int8 PRIMARY KEY, v text);
CREATE TABLE child (more int, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE keyed (a int8 NOT NULL, v text);
CREATE UNIQUE INDEX keyed_a ON keyed (a);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_a;
CREATE TABLE "odd ""name" ("co,l" int8 PRIMARY KEY, "SELECT" jsonb, big text);
CREATE TABLE nothing ();
CREATE TABLE bare (n int8, g int8 GENERATED ALWAYS AS (n + 1) STORED);
INSERT INTO kept (v) SELECT md5(n::text) FROM generate_series(1, 2000) n;
INSERT INTO loose SELECT n, 'x' FROM generate_series(1, 500) n;
INSERT INTO "odd ""name" SELECT n, '{"a": 1}', repeat(md5(n::text), 200) FROM generate_series(1, 200) n;
"""  # noqa: E501
WRITES = (
    "INSERT INTO kept (v) VALUES ('{n}')",
    "UPDATE kept SET v = v || '.' WHERE id % 97 = {n} % 97",
    "INSERT INTO loose (n, v) VALUES ({n}, 'new')",
    "UPDATE loose SET v = 'changed' WHERE n = {n} % 500",
    "DELETE FROM loose WHERE n = ({n} + 7) % 500",
    "INSERT INTO parted VALUES ({n}, date '2026-01-01' + {n} % 300, 'x')",
    "UPDATE parted SET at = date '2026-12-01' WHERE id = {n} - 3",
    "INSERT INTO parent VALUES ({n}, 'p')",
    "INSERT INTO child VALUES (-{n} - 1, 'c', 1)",
    "INSERT INTO keyed VALUES ({n}, 'k')",
    "UPDATE keyed SET v = 'kk', a = -a - 1 WHERE a = {n} - 2",
    'UPDATE "odd ""name" SET "SELECT" = \'{{"n": {n}}}\' WHERE "co,l" = {n} % 200',
    "INSERT INTO nothing DEFAULT VALUES",
    "INSERT INTO bare VALUES ({n})",
    "UPDATE bare SET n = -n - 1 WHERE n = {n} - 2",
)


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    yield pair
    remove_all(pair)


async def same(source: Database, target: Database) -> None:
    found = await compare(source, target, APP, on_progress=silent)
    assert "\n".join(found.differences) == ""
    assert found.verdict is Verdict.SAME


async def test_a_copy_under_the_slots_snapshot_and_what_follows_are_equal_under_a_writer(
    pair: Pair, tmp_path: Path
) -> None:
    pair.source.run(SHAPES)
    name = f"copy_{pair.tag}"
    await create_copy(pair.target.db, name, pair.plan_id, APP)
    copy = pair.target.db.named(name)
    link = ahead(pair, copy)
    await make_ready(copy, APP)
    tools = Tools(2, str(pair.target.cluster.bin), APP, Children())
    with writing(pair.source, *WRITES) as written:
        published = await publish(link, APP)
        assert {each.name: each.identity.value for each in published.tables}["loose"] == "whole row"
        held = await make_slot(link, APP, deadline_s=20, say=quiet)
        await stream(
            pair.source.db,
            copy,
            tmp_path / "s",
            tools,
            snapshot=held.snapshot,
            stamp=held.stamp,
            on_progress=silent,
        )
        await subscribe(link, APP)
        # Exact, while users write: the source as it was when the slot was made, the copy before anything is applied.
        found = await compare(
            pair.source.db, copy, APP, on_progress=silent, source_snapshot=held.snapshot, sequences=False
        )
        assert "\n".join(found.differences) == ""
        slot = await find_slot(link, APP)
        assert slot is not None
        assert slot.begins(held.stamp)
        await held.release()
        await enable(link, APP)
        assert written[0] > 0
    proof = await drained(link)
    assert proof.quiet
    await set_sequences(pair.source.db, copy, APP)
    await same(pair.source.db, copy)
    assert troubles(await look(link, APP)) == ()
    subscription = await find_subscription(link, APP)
    assert subscription is not None
    assert subscription.enabled


async def test_a_password_in_a_file_of_the_subscribers_host_is_in_no_catalog_and_no_log(
    pair: Pair,
) -> None:
    pair.both("CREATE TABLE t (id int PRIMARY KEY)")
    source, role = pair.source.cluster, "canary"
    source.run(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'S3cretWord'")
    passfile = pair.target.cluster.folder / f"pass-{pair.tag}"
    passfile.write_text(f"127.0.0.1:{source.port}:*:{role}:S3cretWord\n")
    passfile.chmod(0o600)
    account = server_account()
    os.chown(passfile, account.pw_uid, account.pw_gid)
    way = f"host=127.0.0.1 port={source.port} dbname={pair.source.name} user={role}"
    link = ahead(pair)
    try:
        for through in (f"{way} passfile={passfile}", f"{way} password=S3cretWord"):
            link = forward(pair.source.db, pair.target.db, pair.plan_id, Database.parse(through))
            await follow(link)
            await drained(link)
            kept = "S3cretWord" in str(pair.target.run("SELECT subconninfo FROM pg_subscription"))
            assert kept == link.has_password
            assert "S3cretWord" not in str(pair.target.run("SELECT query FROM pg_stat_activity"))
            await dismantle(link, APP)
        assert "S3cretWord" not in pair.target.cluster.log
        assert "S3cretWord" not in repr(link)
    finally:
        await dismantle(link, APP)
        source.run(f"DROP ROLE {role}")


async def test_a_subscription_follows_its_publisher_to_a_new_name(pair: Pair) -> None:
    """As when the copy takes the target's name after the way back was made."""
    pair.both("CREATE TABLE t (id int PRIMARY KEY)")
    before = back(pair, pair.target.db)
    await prepare_back(ahead(pair), before, APP, deadline_s=10, say=quiet)
    pair.target.run("INSERT INTO t VALUES (1)")
    renamed = f"{pair.target.name}_open"
    pair.target.cluster.run(f"ALTER DATABASE {pair.target.name} RENAME TO {renamed}")
    after = back(pair, pair.target.db.named(renamed))
    try:
        await redirect(after, APP)
        await enable(after, APP)
        await drained(after)
        assert pair.source.run("SELECT id FROM t") == [(1,)]
        assert (await dismantle(after, APP)).done
    finally:
        pair.target.cluster.run(f"ALTER DATABASE {renamed} RENAME TO {pair.target.name}")


async def test_roles_that_are_no_superusers_do_it_with_a_password(pair: Pair) -> None:
    low = pair.target.role(f"low_{pair.tag}")
    pair.target.run(f"GRANT pg_create_subscription TO {low}; ALTER DATABASE {pair.target.name} OWNER TO {low}")
    pair.source.run(
        f"CREATE ROLE canary LOGIN REPLICATION PASSWORD 'w'; ALTER DATABASE {pair.source.name} OWNER TO canary"
    )
    source = Database.parse(f"{pair.source.cluster.conninfo(pair.source.name, 'canary')} password=w")
    target = Database.parse(pair.target.cluster.conninfo(pair.target.name, low))
    link = forward(source, target, pair.plan_id)
    try:
        for side, role in ((pair.source, "canary"), (pair.target, low)):
            side.run(f"CREATE TABLE t (n int, v text); ALTER TABLE t OWNER TO {role}")
        assert [each.id for each in await link_findings(link, APP) if each.blocks] == []
        await follow(link)
        pair.source.run("INSERT INTO t VALUES (1, 'x'); UPDATE t SET v = 'y'")
        proof = await drained(link)
        assert proof.quiet
        assert pair.target.run("SELECT * FROM t") == [(1, "y")]
        assert troubles(await look(link, APP)) == ()
    finally:
        done = await dismantle(link, APP)
        pair.source.run("REASSIGN OWNED BY canary TO postgres; DROP ROLE canary")
        pair.target.run(f"REASSIGN OWNED BY {low} TO postgres")
    assert done.done
