"""What a preflight says of replication before anything is made, on servers and schemas that are really so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.postgres.connect import Database
from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.finding import Finding
from switchover.postgres.replication.limits import AHEAD, BEHIND, link_findings
from switchover.postgres.replication.link import forward
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.unsuited import schema_findings
from tests.postgres.conftest import APP, Pair, clean, make_pair
from tests.postgres.replicating import ahead, back, follow, left_of, remove_all, writing
from tests.servers.postgres import Cluster
from tests.servers.wait import until

SCHEMA = """
CREATE TABLE fine (id int PRIMARY KEY, j json);
CREATE TABLE busy (n int, v text); INSERT INTO busy VALUES (1, 'x'); UPDATE busy SET v = 'y';
CREATE TABLE still (n int);
CREATE TABLE stuck (n int, p point[]); INSERT INTO stuck VALUES (1, NULL); DELETE FROM stuck;
CREATE TYPE pair AS (a int, j json); CREATE TABLE maybe (n int, duo pair);
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE made (id int GENERATED ALWAYS AS (n + 1) STORED PRIMARY KEY, n int);
CREATE TABLE covered (n int, v varchar(9), d timestamptz[], e int4range, c cidr);
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
CREATE MATERIALIZED VIEW seen AS SELECT 1 AS one;
CREATE SEQUENCE free;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER always BEFORE INSERT ON fine FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE fine ENABLE ALWAYS TRIGGER always;
CREATE RULE also AS ON INSERT TO fine DO ALSO NOTIFY news; ALTER TABLE fine ENABLE REPLICA RULE also;
CREATE RULE usual AS ON DELETE TO fine DO ALSO NOTIFY news;
CREATE TABLE apart (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&));
SELECT lo_from_bytea(0, 'x')
"""


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    yield pair
    remove_all(pair)


def by_id(found: tuple[Finding, ...]) -> dict[str, Finding]:
    assert len({each.id for each in found}) == len(found)
    return {each.id: each for each in found}


async def test_what_a_schema_needs_beside_replication_is_said(pair: Pair) -> None:
    pair.source.run(SCHEMA)
    owner = pair.source.role(f"own_{pair.tag}")
    pair.source.run(
        "CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, "
        f"FORCE ROW LEVEL SECURITY, OWNER TO {owner}"
    )
    found = by_id(await schema_findings(pair.source.db, APP))
    assert {name: each.severity for name, each in found.items()} == {
        "identity-generated": "block",
        "identity-stops": "block",
        "identity-may-stop": "warn",
        "identity-full": "warn",
        "replicate-unlogged": "warn",
        "replicate-views": "info",
        "replicate-sequences": "info",
        "replicate-triggers": "warn",
        "replicate-rules": "info",
        "replicate-generated": "info",
        "replicate-deferrable": "info",
        "replicate-exclusion": "info",
        "replicate-guarded": "block",
        "replicate-large-objects": "warn",
    }
    assert "stuck (point)" in found["identity-stops"].evidence
    assert "maybe (json)" in found["identity-may-stop"].evidence
    assert "covered" not in found["identity-may-stop"].evidence
    for name in ("busy", "still", "late", "covered"):
        assert f"public.{name}" in found["identity-full"].evidence
    assert "busy" in found["identity-full"].why
    assert found["identity-generated"].evidence.endswith(": public.made")
    assert "fine" not in found["identity-full"].evidence
    for name, says in (
        ("rules", "fine.also"),
        ("generated", "public.made.id"),
        ("deferrable", "late.late_pkey"),
        ("exclusion", "apart.apart_r_excl"),
    ):
        assert found[f"replicate-{name}"].evidence.endswith(f": {says}")
    pair.source.run("DROP TABLE guarded")


async def test_a_table_that_could_not_be_updated_any_more_is_not_published(pair: Pair) -> None:
    """PostgreSQL 18 refuses every UPDATE of a published row that is known by a generated column; 16 does not."""
    pair.both("CREATE TABLE t (n int, g int GENERATED ALWAYS AS (n + 1) STORED)")
    assert [each.id for each in await schema_findings(pair.source.db, APP)] == ["identity-full", "replicate-generated"]
    found = await schema_findings(pair.source.db, APP, version_num=180000)
    assert [each.id for each in found] == ["identity-generated", "replicate-generated"]
    await publish(ahead(pair), APP)
    with pytest.raises(ReplicationFailed, match=r"no row of public\.t could be changed"):
        await publish(back(pair), APP)
    pair.target.run("INSERT INTO t VALUES (1); UPDATE t SET n = 2")


async def test_a_key_on_a_generated_column_is_refused_by_every_version(pair: Pair) -> None:
    pair.both("CREATE TABLE t (n int, g int GENERATED ALWAYS AS (n + 1) STORED PRIMARY KEY)")
    for link in (ahead(pair), back(pair)):
        with pytest.raises(ReplicationFailed, match=r"public\.t"):
            await publish(link, APP)


async def test_a_pair_that_is_fit_has_no_block_and_trying_leaves_nothing(pair: Pair) -> None:
    for link, sides in ((ahead(pair), AHEAD), (back(pair), BEHIND)):
        found = await link_findings(link, APP, sides)
        assert {each.severity for each in found} == {"info"}
    for side in (pair.source, pair.target):
        assert left_of(side) == []


async def test_how_much_log_the_copy_will_keep_is_measured_and_said(pair: Pair) -> None:
    fill = "INSERT INTO filled SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
    pair.source.run("CREATE TABLE filled (x text)")
    with writing(pair.source, fill):
        found = by_id(await link_findings(ahead(pair), APP))
        assert "source-wal-rate" not in by_id(await link_findings(back(pair), APP, BEHIND))
    assert found["source-wal-rate"].severity == "info"
    assert "B of log a second just now: each hour of copying keeps " in found["source-wal-rate"].evidence


async def test_a_standing_link_does_not_count_against_itself(pair: Pair) -> None:
    pair.both("CREATE TABLE t (id int PRIMARY KEY)")
    await follow(ahead(pair))
    assert {each.severity for each in await link_findings(ahead(pair), APP)} == {"info"}


async def test_a_publisher_that_the_subscriber_cannot_reach_is_said_and_no_password_is_repeated(pair: Pair) -> None:
    for port, says in ((1, "refused"), (pair.source.cluster.port, "password authentication failed")):
        text = f"host=127.0.0.1 port={port} dbname={pair.source.name} user=canary password=S3cretWord"
        link = forward(pair.source.db, pair.target.db, pair.plan_id, Database.parse(text))
        found = by_id(await link_findings(link, APP))
        assert says in found["target-unreached"].evidence
        assert found["target-password-kept"].severity == "warn"
        assert "S3cretWord" not in str(found)
    for cluster in (pair.source.cluster, pair.target.cluster):
        assert "S3cretWord" not in cluster.log


async def test_roles_that_may_not_are_said(pair: Pair) -> None:
    low = f"low_{pair.tag}"
    for side in (pair.source, pair.target):
        side.role(low)
    source, target = (Database.parse(side.cluster.conninfo(side.name, low)) for side in (pair.source, pair.target))
    found = by_id(await link_findings(forward(source, target, pair.plan_id), APP))
    blocks = {name for name, each in found.items() if each.severity == "block"}
    assert blocks == {"source-not-replicating", "source-no-create", "target-no-subscribe", "target-password"}
    pair.target.run(f"GRANT pg_create_subscription TO {low}; GRANT CREATE ON DATABASE {pair.target.name} TO {low}")
    found = by_id(await link_findings(forward(source, target, pair.plan_id), APP))
    assert "target-no-subscribe" not in found


async def test_servers_that_are_not_set_up_for_it_are_said(servers_folder: Path, new_server: Cluster) -> None:
    conf = (
        "wal_level = replica\nmax_replication_slots = 0\nmax_wal_senders = 0\nmax_slot_wal_keep_size = 1GB\n"
        "idle_replication_slot_timeout = 1h\nmax_logical_replication_workers = 0\n"
        "wal_sender_timeout = 0\nlogical_decoding_work_mem = 1MB\n"
    )
    weak = Cluster(servers_folder / "weak", 18, conf=conf).start()
    pair = make_pair(weak, new_server)
    try:
        found = by_id(await link_findings(ahead(pair), APP))
        expected = {"source-wal-level", "source-slots", "source-senders", "source-slot-keep", "source-slot-idle"}
        assert expected <= found.keys()
        assert found["source-sender-timeout"].evidence == "wal_sender_timeout on the source is off"
        assert found["source-decoding-memory"].evidence == "logical_decoding_work_mem on the source is 1.0 MB"
        weak.run("ALTER SYSTEM SET wal_sender_timeout = '5s'")
        weak.run("SELECT pg_reload_conf()")
        until(lambda: weak.run("SELECT 1 WHERE current_setting('wal_sender_timeout') = '5s'"), "the setting is read")
        short = by_id(await link_findings(ahead(pair), APP))["source-sender-timeout"]
        assert (short.severity, short.evidence) == ("warn", "wal_sender_timeout on the source is 5s")
        assert "1h" in found["source-slot-idle"].evidence
        behind = by_id(await link_findings(back(pair), APP, BEHIND))
        assert behind["source-workers"].severity == "block"
        clean(pair)
    finally:
        weak.stop()


async def test_a_source_that_follows_another_is_blocked(pair: Pair) -> None:
    pair.source.run(
        f"CREATE SUBSCRIPTION news_{pair.tag} CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)"
    )
    try:
        found = by_id(await link_findings(ahead(pair), APP))
        assert f"news_{pair.tag}" in found["source-follows"].evidence
    finally:
        pair.source.run(f"ALTER SUBSCRIPTION news_{pair.tag} SET (slot_name = NONE)")
        pair.source.run(f"DROP SUBSCRIPTION news_{pair.tag}")
