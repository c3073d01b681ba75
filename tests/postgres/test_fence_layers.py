"""What the plan's role may raise is known beforehand, and what stands is proved as each role that could write."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.errors import FenceFailed
from switchover.postgres.facts import write_mark
from switchover.postgres.fence import Fence
from switchover.postgres.fence_layers import fence_findings, fence_layers
from switchover.postgres.fence_proof import Proof, prove
from switchover.postgres.finding import Finding
from tests.postgres.conftest import APP, PREFIX, Pair, Side, clean, without_autovacuum

SERVERS = {15: "oldest_server", 16: "old_server", 18: "new_server"}


@pytest.fixture(params=SERVERS)
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """A source on one of the servers, with one table."""
    tag = uuid.uuid4().hex[:10]
    side = Side(request.getfixturevalue(SERVERS[request.param]), f"side_{tag}")
    side.run("CREATE TABLE log (n int); CREATE SEQUENCE numbers")
    yield side
    clean(Pair(side, side, tag))


def as_role(side: Side, role: str) -> Database:
    return Database.parse(side.cluster.conninfo(side.name, role))


def owned(side: Side) -> str:
    """Give the database and its tables to a role of their own, which is no superuser."""
    owner = side.role(f"owner_{side.name}")
    side.cluster.run(f"ALTER DATABASE {side.name} OWNER TO {owner}")
    side.run(
        f"ALTER TABLE log OWNER TO {owner}; ALTER SEQUENCE numbers OWNER TO {owner}; "
        f"ALTER SCHEMA public OWNER TO {owner}"
    )
    return owner


async def findings(db: Database) -> dict[str, Finding]:
    return {each.id: each for each in await fence_findings(db, APP)}


async def fenced(fence: Fence, db: Database) -> Proof:
    """The fence raised and proved, with a session that was open before."""
    async with await connect(db, APP) as old:
        raised = await fence.raise_(db, APP, PREFIX, deadline_s=10, say=lambda _: None)
        return await prove(db, APP, old, catalogs=raised.catalogs)


def tried(proof: Proof) -> dict[str, set[str]]:
    """The roles to whom each way was refused."""
    lines = (line.partition(": refused as ") for line in proof.refused)
    return {way: set(rest.partition(" (")[0].split(", ")) for way, _, rest in lines}


async def test_a_superuser_raises_every_layer(side: Side) -> None:
    found = await findings(side.db)
    assert [(each.id, each.severity) for each in found.values()] == [("fence-layers", "info")]
    assert "every layer" in found["fence-layers"].evidence


async def test_an_owner_is_told_what_is_missing_what_it_means_and_what_mends_it(side: Side) -> None:
    owner, app = owned(side), side.role(f"app_{side.name}")
    side.cluster.run(f"ALTER ROLE {app} IN DATABASE {side.name} SET default_transaction_read_only = off")
    (finding,) = (await findings(as_role(side, owner))).values()
    assert (finding.id, finding.severity) == ("fence-layers", "warn")
    for words in ("no connection limit", "no lock against new tables", f"those of {app}", f"role {app} overrides it"):
        assert words in finding.evidence
    for words in ("a client of any role that reconnects", "BEGIN READ WRITE can", f"a client of role {app} that recon"):
        assert words in finding.why
    mend = f'ALTER ROLE "{app}" IN DATABASE "{side.name}" RESET default_transaction_read_only'
    assert mend in finding.fix
    side.cluster.run(mend)
    grant = f'GRANT pg_signal_backend TO "{owner}"'
    assert grant in finding.fix
    side.cluster.run(grant)
    layers = await fence_layers(as_role(side, owner), APP)
    assert layers.overrides == ()
    assert app not in layers.unendable
    assert "postgres" in layers.unendable


async def test_an_override_matters_only_where_the_limit_does_not_hold(side: Side) -> None:
    app = side.role(f"app_{side.name}")
    side.cluster.run(f"ALTER ROLE {app} SET default_transaction_read_only = off")
    assert (await findings(side.db))["fence-layers"].severity == "info"
    side.cluster.run(f"ALTER ROLE {app} SUPERUSER")
    finding = (await findings(side.db))["fence-layers"]
    assert (finding.severity, finding.fix) == ("warn", f'ALTER ROLE "{app}" RESET default_transaction_read_only')
    side.cluster.run(f"ALTER ROLE {app} SET default_transaction_read_only = 'TRUE'")
    assert (await findings(side.db))["fence-layers"].severity == "info"


async def test_a_table_that_may_not_be_locked_blocks_until_it_is_granted(side: Side) -> None:
    owner = owned(side)
    side.run('CREATE TABLE "Odd ""t" (); CREATE SCHEMA s; CREATE TABLE s.t ()')
    db = as_role(side, owner)
    finding = (await findings(db))["fence-weak"]
    assert finding.severity == "block"
    assert 'may not lock 2 tables: "public"."Odd ""t", "s"."t"' in finding.evidence
    assert f'GRANT pg_write_all_data TO "{owner}"' in finding.fix
    side.run(finding.fix.rpartition("or ")[2] + f"; GRANT USAGE ON SCHEMA s TO {owner}")
    assert "fence-weak" not in await findings(db)
    fence = Fence()
    before = await fence.read_before(db, APP)
    assert (await fence.raise_(db, APP, PREFIX, deadline_s=10, say=lambda _: None)).locks == 3
    await fence.lower(db, APP, before)


async def test_a_database_that_may_not_be_altered_blocks_until_its_owner_is_granted(side: Side) -> None:
    owner, other = owned(side), side.role(f"other_{side.name}")
    side.run(f"GRANT UPDATE ON log TO {other}")
    finding = (await findings(as_role(side, other)))["fence-weak"]
    assert f"{other} does not own {side.name}" in finding.evidence
    side.cluster.run(finding.fix.partition(", or")[0])
    assert f'GRANT "{owner}" TO' in finding.fix
    assert "fence-weak" not in await findings(as_role(side, other))


async def test_nobody_is_told_to_grant_a_superuser(side: Side) -> None:
    other = side.role(f"other_{side.name}")
    fix = (await findings(as_role(side, other)))["fence-weak"].fix
    assert 'GRANT "postgres"' not in fix
    mend = f'ALTER DATABASE "{side.name}" OWNER TO "{other}"'
    assert mend in fix
    side.cluster.run(mend)
    assert "does not own" not in repr(await findings(as_role(side, other)))


async def test_each_role_that_could_write_is_tried_and_no_other(side: Side) -> None:
    owner, member, app, reader, columns, stray = (
        side.role(f"{name}_{side.name}", attributes)
        for name, attributes in (
            ("own", "LOGIN"),
            ("member", "LOGIN NOINHERIT"),
            ("app", "LOGIN"),
            ("reader", "LOGIN"),
            ("columns", "LOGIN"),
            ("group", "NOLOGIN"),
        )
    )
    side.run(
        f"GRANT {owner} TO {member}; ALTER TABLE log OWNER TO {owner}; GRANT INSERT ON log TO {app}, {stray}; "
        f"GRANT SELECT ON log TO {reader}; GRANT UPDATE (n) ON log TO {columns}; "
        f"GRANT CREATE ON SCHEMA public TO {app}; GRANT USAGE ON SEQUENCE numbers TO {app}"
    )
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    proof = await fenced(fence, side.db)
    ways = tried(proof)
    writers = {owner, member, app}
    for way in ("SET default_transaction_read_only = off", "BEGIN READ WRITE", "a session opened before", "lo_create"):
        assert ways[way] & {owner, member, app, reader, columns, stray} == writers, way
    assert app in ways["CREATE TABLE"]
    assert app in ways["nextval without an override"]
    assert owner not in ways["CREATE TABLE"]
    assert f"not tried as {columns}: it may write single columns only" in proof.not_tried
    await fence.lower(side.db, APP, before)


async def test_the_proof_changes_nothing(side: Side) -> None:
    """Not even a transaction id is used up: what was dumped under the fence stays provably the last state."""
    owner = owned(side)

    def world() -> list[object]:
        with side.cluster.connect(side.name) as session:
            queries = (
                "SELECT last_value, is_called FROM numbers",
                "SELECT count(*) FROM pg_class",
                "SELECT count(*) FROM pg_largeobject_metadata",
                "SELECT count(*) FROM log",
            )
            return [session.execute(query).fetchall() for query in queries]

    with without_autovacuum(side.cluster):
        was = world()
        for db in (side.db, as_role(side, owner)):
            fence = Fence()
            before = await fence.read_before(db, APP)
            await fenced(fence, db)
            async with await connect(db, APP) as session:
                assert await write_mark(session) == fence.mark
            assert world() == was
            await fence.lower(db, APP, before)


async def test_a_role_that_could_not_be_tried_is_named(side: Side) -> None:
    owner, app, mine = owned(side), side.role(f"app_{side.name}"), side.role(f"mine_{side.name}")
    side.run(f"GRANT INSERT ON log TO {app}, {mine}; GRANT {mine} TO {owner}")
    fence, db = Fence(), as_role(side, owner)
    before = await fence.read_before(db, APP)
    proof = await fenced(fence, db)
    assert {owner, mine} <= tried(proof)["a session opened before"]
    assert f'not tried as {app}: permission denied to set role "{app}"' in proof.not_tried
    assert "a client that overrides the setting can make a new table or write a large object" in proof.not_covered
    await fence.lower(db, APP, before)


async def test_a_role_that_gets_a_write_through_is_named(side: Side) -> None:
    """A table made behind a fence that cannot hold it off is not locked."""
    owner, app = owned(side), side.role(f"app_{side.name}")
    fence, db = Fence(), as_role(side, owner)
    before = await fence.read_before(db, APP)
    await fenced(fence, db)
    side.run(f"BEGIN READ WRITE; CREATE TABLE late (); GRANT INSERT ON late TO {app}; COMMIT")
    with pytest.raises(FenceFailed, match=f"a write was accepted through .* as {app}"):
        await prove_again(side)
    await fence.lower(db, APP, before)


async def prove_again(side: Side) -> None:
    async with await connect(side.db, APP) as old:
        await prove(side.db, APP, old, catalogs=False)


async def test_an_attempt_that_fails_for_another_reason_proves_nothing_and_is_said(side: Side) -> None:
    side.run(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$; "
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no()"
    )
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    proof = await fenced(fence, side.db)
    assert "not tried as postgres: CREATE TABLE: not here" in proof.not_tried
    assert "postgres" in tried(proof)["lo_create"]
    await fence.lower(side.db, APP, before)


async def test_fifty_roles_are_tried(side: Side) -> None:
    roles = {side.role(f"r{number}_{side.name}") for number in range(50)}
    side.run(f"GRANT INSERT, DELETE ON log TO {', '.join(roles)}; GRANT CREATE ON SCHEMA public TO PUBLIC")
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    ways = tried(await fenced(fence, side.db))
    for way in ways.keys() - {"a new session", "nextval without an override"}:
        assert roles <= ways[way], way
    await fence.lower(side.db, APP, before)


async def test_new_tables_and_large_objects_are_locked_out_also_for_a_superuser(side: Side) -> None:
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    await fenced(fence, side.db)
    made = side.cluster.connect(side.name)
    made.execute("SET lock_timeout = '50ms'; SET default_transaction_read_only = off")
    for attempt in ("CREATE TABLE late ()", "SELECT lo_create(0)", "CREATE TEMP TABLE t ()", "CREATE SEQUENCE s"):
        with pytest.raises(psycopg.errors.LockNotAvailable):
            made.execute(attempt.encode())
    await fence.lower(side.db, APP, before)
    made.execute("SELECT lo_unlink(lo_create(0)); CREATE TABLE late ()")
    made.close()


async def test_large_objects_are_read_behind_the_fence(side: Side) -> None:
    """A dump must read them; what that leaves open for a superuser is said."""
    side.run("SELECT lo_from_bytea(7, 'kept')")
    fence = Fence()
    before = await fence.read_before(side.db, APP)
    proof = await fenced(fence, side.db)
    with side.cluster.connect(side.name, options="-c lock_timeout=1s") as reader:
        assert reader.execute("SELECT lo_get(7)").fetchall() == [(b"kept",)]
    assert "a superuser that overrides the setting can write into an existing large object" in proof.not_covered
    await fence.lower(side.db, APP, before)
