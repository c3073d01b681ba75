"""Roles, settings and privileges around a database, from PostgreSQL 16 to 18, as superuser and as less."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from psycopg import sql

from switchover.engine.action import Action
from switchover.engine.live import Live
from switchover.plan.spec import Spec
from switchover.postgres.connect import Database, connect
from switchover.postgres.errors import Refused
from switchover.postgres.finding import Finding
from switchover.postgres.fingerprint import schema_differences
from switchover.postgres.globals import NOTE, copy_globals, drop_globals, global_findings
from switchover.postgres.globals.facts import global_facts
from switchover.postgres.globals.lacking import lacking
from switchover.postgres.globals.read import mattering, read_globals, read_named
from switchover.postgres.guard import read_fact, write_fact
from switchover.steps.context import Context
from switchover.steps.globals import globals_action
from tests.postgres.conftest import APP, Pair, Side, make_pair
from tests.servers.postgres import Cluster

SECRET = "key-of-the-shop"  # an application's own setting
HOSTILE = ("quo\"te's", "new\nline", "ünï \U0001d518 \u202e", "select", "  spaces ", "back\\slash", "$$;--", "PUBLIC")


@dataclass(slots=True)
class Zoo:
    """Roles that all carry the pair's tag."""

    pair: Pair

    def __call__(self, name: str) -> str:
        return f"{name}_{self.pair.tag}"

    def make(self) -> None:
        """Owners, groups, options, settings and privileges on the source."""
        side, q = self.pair.source, self.quoted
        for name, words in (
            ("app", "LOGIN PASSWORD 'pässword''s' CONNECTION LIMIT 7 VALID UNTIL '2031-05-06 07:08:09+02'"),
            ("owner", "NOINHERIT CREATEDB CREATEROLE"),
            ("readers", "NOLOGIN"),
            ("admins", "BYPASSRLS REPLICATION"),
            ("boss", "SUPERUSER LOGIN VALID UNTIL 'infinity'"),
            ("stranger", "LOGIN"),
        ):
            side.cluster.run(f"CREATE ROLE {q(name)} {words}")
        for statement in (
            f"COMMENT ON ROLE {q('app')} IS 'it''s the shop'",
            f"GRANT {q('readers')} TO {q('app')} WITH INHERIT FALSE, SET TRUE",
            f"GRANT {q('admins')} TO {q('app')} WITH ADMIN TRUE, INHERIT TRUE, SET FALSE",
            f"GRANT {q('owner')} TO {q('boss')}",
            f"GRANT pg_read_all_stats TO {q('readers')}",
            f"ALTER ROLE {q('app')} SET search_path = \"$user\", 'we\"ird, schema', public, ''",
            f"ALTER ROLE {q('app')} SET shop.key = '{SECRET}=a, \"b\"'",
            f"ALTER ROLE {q('app')} SET \"DateStyle\" = 'ISO, MDY'",
            f"ALTER ROLE {q('app')} IN DATABASE {self.source} SET work_mem = '5MB'",
            f"ALTER ROLE {q('owner')} SET role = {q('readers')}",
            f"ALTER DATABASE {self.source} SET search_path = app, '', \"Mixed Case\"",
            f"ALTER DATABASE {self.source} SET shop.token = '{SECRET}'",
            f"ALTER DATABASE {self.source} SET log_min_messages = 'error'",
            f"ALTER DATABASE {self.source} SET default_transaction_read_only = on",
            f"GRANT CREATE ON DATABASE {self.source} TO {q('owner')} WITH GRANT OPTION",
            f"GRANT CONNECT ON DATABASE {self.source} TO {q('app')}",
            f"REVOKE CONNECT ON DATABASE {self.source} FROM PUBLIC",
            f"GRANT SET ON PARAMETER log_min_duration_statement TO {q('app')} WITH GRANT OPTION",
        ):
            modern = side.cluster.major >= 16
            side.cluster.run(statement if modern else re.sub(" WITH (INHERIT|ADMIN) .*", "", statement))
        side.run(f"BEGIN READ WRITE; CREATE SCHEMA s AUTHORIZATION {q('owner')}; COMMIT")

    def quoted(self, name: str) -> str:
        return quoted(self(name))

    @property
    def source(self) -> str:
        return quoted(self.pair.source.name)

    @property
    def target(self) -> str:
        return quoted(self.pair.target.name)


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


@pytest.fixture
def zoo(pair: Pair) -> Zoo:
    return Zoo(pair)


@pytest.fixture(autouse=True)
def without_leftovers(pair: Pair) -> Iterator[None]:
    """The servers are shared: what carries the tag loses its privileges, or it could not be dropped."""
    yield
    for cluster in (pair.source.cluster, pair.target.cluster):
        for (name,) in cluster.run(f"SELECT datname FROM pg_database WHERE datname LIKE '%{pair.tag}%'"):
            cluster.run(f'DROP DATABASE "{name}" WITH (FORCE)')
        for (name,) in cluster.run(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '%{pair.tag}%'"):
            cluster.run(f"DROP OWNED BY {quoted(str(name))} CASCADE")
        while names := cluster.run(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '%{pair.tag}%' ORDER BY oid DESC"):
            cluster.run("; ".join(f"DROP ROLE {quoted(str(name))}" for (name,) in names))


def everything(side: Side) -> list[tuple[object, ...]]:
    """All that a copy of globals could touch on a server, as the catalogs hold it."""
    return side.cluster.run(
        "SELECT 'role', to_jsonb(r) - 'oid' - 'rolconfig', NULL::jsonb FROM pg_authid r UNION ALL "
        "SELECT 'member', to_jsonb(m) - 'oid', NULL FROM pg_auth_members m UNION ALL "
        "SELECT 'setting', to_jsonb(s), NULL FROM pg_db_role_setting s UNION ALL "
        "SELECT 'comment', to_jsonb(c), NULL FROM pg_shdescription c UNION ALL "
        "SELECT 'database', to_jsonb(datname), (SELECT jsonb_agg(a ORDER BY a::text) "
        "FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a) FROM pg_database UNION ALL "
        "SELECT 'parameter', to_jsonb(parname), (SELECT jsonb_agg(a ORDER BY a::text) "
        "FROM aclexplode(paracl) a WHERE a.grantee <> 10) FROM pg_parameter_acl p "
        "WHERE EXISTS (SELECT FROM aclexplode(paracl) a WHERE a.grantee <> 10) ORDER BY 1, 2"
    )


async def told_apart(pair: Pair) -> dict[str, Finding]:
    return {each.id: each for each in await global_findings(pair.source.db, pair.target.db, APP)}


async def apart(pair: Pair, target: Database | None = None, source: Database | None = None) -> list[str]:
    """What a comparison says of the globals alone."""
    left, right = source or pair.source.db, target or pair.target.db
    async with await connect(left, APP) as ours, await connect(right, APP) as theirs:
        roles = await mattering(ours)
        return schema_differences(*global_facts(await read_named(ours, roles), await read_named(theirs, roles)))


async def test_all_that_surrounds_a_database_is_copied(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    made = await copy_globals(pair.source.db, pair.target.db, APP)
    ours = await read_globals(pair.source.db, APP)
    theirs = await read_globals(pair.target.db, APP, ours.names)
    assert {each.name.rpartition("_")[0] for each in ours.roles if each.name != "postgres"} == {
        "app", "owner", "readers", "admins", "boss"
    }  # fmt: skip
    assert set(theirs.roles) >= {each for each in ours.roles if not each.first}
    assert theirs.memberships == ours.memberships
    assert theirs.settings == ours.settings
    assert {each for each in theirs.privileges if each.grantee} == {each for each in ours.privileges if each.grantee}
    assert [each.privilege for each in theirs.privileges if not each.grantee] == ["TEMPORARY"]
    assert lacking(ours, theirs) == ()
    kinds = Counter(each.kind for each in made)
    assert kinds == {"role": 5, "membership": 4, "setting": 5 + 3, "privilege": 3, "withheld": 1}
    assert await told_apart(pair) == {}


@pytest.fixture(scope="module")
def early_server(servers_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers_folder / "early", 15).start()
    yield cluster
    cluster.stop()


async def test_from_15_to_16_all_is_copied_compares_the_same_and_is_taken_away(
    early_server: Cluster, old_server: Cluster
) -> None:
    """In 15 a member inherits by its own attribute, in 16 by the membership."""
    pair = make_pair(early_server, old_server)
    zoo = Zoo(pair)
    zoo.make()
    before = everything(pair.target)
    made = await copy_globals(pair.source.db, pair.target.db, APP)
    assert {each.kind for each in made} == {"role", "membership", "setting", "privilege", "withheld"}
    assert await told_apart(pair) == {}
    assert await apart(pair) == []
    assert await drop_globals(pair.target.db, APP) == ()
    assert everything(pair.target) == before
    pair.source.cluster.run(f"DROP DATABASE {zoo.source}")
    pair.target.cluster.run(f"DROP DATABASE {zoo.target}")


async def test_the_old_password_opens_the_new_server(pair: Pair) -> None:
    for cluster in (pair.source.cluster, pair.target.cluster):
        assert cluster.run("SELECT FROM pg_roles WHERE rolname = 'canary'") == []
    pair.source.cluster.run("CREATE ROLE canary LOGIN PASSWORD 'sïng''\"ing'")
    try:
        pair.source.run("GRANT CREATE ON SCHEMA public TO canary")
        pair.source.cluster.connect(pair.source.name, "canary", password="sïng'\"ing").close()
        await copy_globals(pair.source.db, pair.target.db, APP)
        with pair.target.cluster.connect(pair.target.name, "canary", password="sïng'\"ing") as session:
            assert session.execute("SELECT current_user::text").fetchone() == ("canary",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            pair.target.cluster.connect(pair.target.name, "canary", password="other")
        assert await drop_globals(pair.target.db, APP) == ()
    finally:
        pair.source.run("DROP OWNED BY canary")
        for cluster in (pair.source.cluster, pair.target.cluster):
            cluster.run("DROP ROLE IF EXISTS canary")


async def test_an_undo_leaves_the_target_exactly_as_it_was(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    pair.target.cluster.run(f"ALTER DATABASE {zoo.target} SET work_mem = '6MB'")
    before = everything(pair.target)
    await copy_globals(pair.source.db, pair.target.db, APP)
    assert everything(pair.target) != before
    assert await drop_globals(pair.target.db, APP) == ()
    assert everything(pair.target) == before
    assert await drop_globals(pair.target.db, APP) == ()
    assert everything(pair.target) == before


async def test_a_role_that_owns_something_meanwhile_stays_whole_and_is_told(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    await copy_globals(pair.source.db, pair.target.db, APP)
    pair.target.run(f"CREATE SCHEMA mine AUTHORIZATION {zoo.quoted('app')}")
    [stays] = await drop_globals(pair.target.db, APP)
    assert zoo("app") in stays
    assert "schema mine" in stays or "1 object in database" in stays
    theirs = await read_globals(pair.target.db, APP)
    assert {each.scope[1:] for each in theirs.settings if each.role == zoo("app")} >= {(False, "shop.key")}
    assert {each.name for each in theirs.roles} & {zoo(name) for name in ("owner", "boss", "readers")} == set()


async def test_hostile_names_are_copied_and_taken_away(pair: Pair) -> None:
    names = [f"{name} {pair.tag}" for name in HOSTILE]
    for name in names:
        role = quoted(name)
        pair.source.cluster.run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        pair.source.cluster.run(f"GRANT {role} TO {quoted(names[0])}" if name != names[0] else "SELECT 1")
        pair.source.cluster.run(f"ALTER ROLE {role} SET search_path = {role}")
        pair.source.cluster.run(f'GRANT TEMP ON DATABASE "{pair.source.name}" TO {role}')
    before = everything(pair.target)
    await copy_globals(pair.source.db, pair.target.db, APP)
    ours = await read_globals(pair.source.db, APP)
    theirs = await read_globals(pair.target.db, APP)
    assert set(names) <= ours.names
    assert (theirs.roles, theirs.memberships, theirs.settings) == (ours.roles, ours.memberships, ours.settings)
    assert await drop_globals(pair.target.db, APP) == ()
    assert everything(pair.target) == before


async def test_no_secret_is_ever_shown(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    [[stored]] = pair.source.cluster.run(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{zoo('app')}'")
    ours = await read_globals(pair.source.db, APP)
    findings = await global_findings(pair.source.db, pair.target.db, APP)
    pair.target.cluster.run(f"ALTER DATABASE {zoo.target} SET shop.token = 'another'")
    findings += await global_findings(pair.source.db, pair.target.db, APP)
    made = await copy_globals(pair.source.db, pair.target.db, APP)
    pair.target.cluster.run(f"ALTER ROLE {zoo.quoted('app')} SET shop.key = 'another'")
    findings += await global_findings(pair.source.db, pair.target.db, APP)
    shown = repr((ours, findings, made, [each.says for each in made], [each.to_json() for each in made]))
    assert "shop.key" in shown
    assert ours.role(zoo("app")).password == stored  # type: ignore[union-attr]
    for secret in (str(stored), SECRET, "another"):
        assert secret not in shown


async def test_an_error_repeats_no_value(zoo: Zoo) -> None:
    """A server's own words would: invalid value for parameter "work_mem": "…"."""
    zoo.make()
    pair = zoo.pair
    pair.source.cluster.run(
        f"UPDATE pg_db_role_setting SET setconfig = '{{work_mem={SECRET}}}' WHERE setrole = "
        f"(SELECT oid FROM pg_roles WHERE rolname = '{zoo('app')}') AND setdatabase <> 0"
    )
    before = everything(pair.target)
    with pytest.raises(Refused, match=f"set work_mem for {zoo('app')} in this database") as told:
        await copy_globals(pair.source.db, pair.target.db, APP)
    assert SECRET not in "".join(traceback.format_exception(told.value))
    assert everything(pair.target) == before


def less(zoo: Zoo, words: str = "CREATEROLE CREATEDB") -> Database:
    """The target by its database's owner, who is no superuser."""
    pair = zoo.pair
    pair.target.role(zoo("mover"), f"LOGIN {words}")
    pair.target.cluster.run(f"ALTER DATABASE {zoo.target} OWNER TO {zoo.quoted('mover')}")
    return Database.parse(pair.target.cluster.conninfo(pair.target.name, zoo("mover")))


async def test_without_a_superuser_what_may_be_made_is_made_and_the_rest_is_told(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    target = less(zoo)
    before = everything(pair.target)
    found = {each.id: each for each in await global_findings(pair.source.db, target, APP)}
    await copy_globals(pair.source.db, target, APP)
    theirs = await read_globals(target, APP)
    assert {role.name: role.attributes for role in theirs.roles if role.name != "postgres"} == {
        zoo("app"): {"LOGIN", "INHERIT"},
        zoo("owner"): {"CREATEDB", "CREATEROLE"},
        zoo("readers"): {"INHERIT"},
        zoo("admins"): {"INHERIT"},
        zoo("boss"): {"LOGIN", "INHERIT"},
        zoo("mover"): {"LOGIN", "INHERIT", "CREATEROLE", "CREATEDB"},
    }
    assert {each.roles for each in theirs.memberships} == {
        (zoo("readers"), zoo("app")),
        (zoo("admins"), zoo("app")),
        (zoo("owner"), zoo("boss")),
    }
    assert {id: each.severity for id, each in found.items()} == {
        "roles-copied": "info",
        "role-attributes": "warn",
        "settings": "warn",
        "privileges": "warn",
        "database-owner": "warn",
    }
    assert f"ALTER ROLE {zoo.quoted('boss')} SUPERUSER" in found["role-attributes"].fix
    assert "shop.token" in found["settings"].evidence
    assert "log_min_messages" in found["settings"].evidence
    assert f'GRANT "pg_read_all_stats" TO {zoo.quoted("readers")}' in found["privileges"].fix
    assert await drop_globals(target, APP) == ()
    assert everything(pair.target) == before


async def test_a_role_without_createrole_is_given_the_statements_to_run(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    target = less(zoo, "CREATEDB")
    found = {each.id: each for each in await global_findings(pair.source.db, target, APP)}
    assert found["missing-role"].severity == "block"
    assert set(found) == {"missing-role", "settings", "database-owner"}
    assert "PASSWORD" not in found["missing-role"].fix
    assert f"CREATE ROLE {zoo.quoted('app')} LOGIN CONNECTION LIMIT 7 VALID UNTIL '2031-05-06 05:08:09+00'" in (
        found["missing-role"].fix.split(";\n")
    )
    assert {each.kind for each in await copy_globals(pair.source.db, target, APP)} == {"setting", "withheld"}
    pair.target.cluster.run(found["missing-role"].fix)
    again = {each.id for each in await global_findings(pair.source.db, target, APP)}
    assert "missing-role" not in again
    assert "role-differs" in again


async def test_every_fix_mends_what_it_is_given_for(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    await copy_globals(pair.source.db, pair.target.db, APP)
    pair.target.role(zoo("other"))
    for statement in (
        f"ALTER ROLE {zoo.quoted('app')} NOLOGIN CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2030-01-01'",
        f"ALTER ROLE {zoo.quoted('app')} RESET search_path",
        f"ALTER ROLE {zoo.quoted('app')} SET \"TimeZone\" = 'UTC'",
        f"ALTER ROLE {zoo.quoted('app')} IN DATABASE {zoo.target} SET work_mem = '7MB'",
        f"REVOKE {zoo.quoted('readers')} FROM {zoo.quoted('app')}",
        f"GRANT {zoo.quoted('admins')} TO {zoo.quoted('app')} WITH ADMIN FALSE, INHERIT FALSE, SET TRUE",
        f"GRANT pg_monitor TO {zoo.quoted('app')}",
        f"ALTER DATABASE {zoo.target} SET search_path = 'x'",
        f"ALTER DATABASE {zoo.target} SET work_mem = '6MB'",
        f"REVOKE GRANT OPTION FOR CREATE ON DATABASE {zoo.target} FROM {zoo.quoted('owner')}",
        f"GRANT CONNECT ON DATABASE {zoo.target} TO PUBLIC",
        f"REVOKE SET ON PARAMETER log_min_duration_statement FROM {zoo.quoted('app')}",
        f"ALTER DATABASE {zoo.target} OWNER TO {zoo.quoted('other')}",
        f"ALTER DATABASE {zoo.target} CONNECTION LIMIT 9",
        f"COMMENT ON DATABASE {zoo.target} IS 'it''s new'",
    ):
        pair.target.cluster.run(statement)
    before = everything(pair.target)
    assert await copy_globals(pair.source.db, pair.target.db, APP) == ()
    assert everything(pair.target) == before
    found = await told_apart(pair)
    assert set(found) == {"role-differs", "settings", "privileges", "database-owner", "database-differs"}
    for each in found.values():
        pair.target.cluster.run(each.fix)
    assert await told_apart(pair) == {}


async def test_a_role_that_the_target_has_is_left_as_it_is(zoo: Zoo) -> None:
    """It may serve other databases there; only inside this one it is given what it has on the source."""
    zoo.make()
    pair = zoo.pair
    pair.target.role(zoo("app"), "LOGIN PASSWORD 'another' CREATEDB")
    before = [row for row in everything(pair.target) if zoo("app") in str(row)]
    found = (await told_apart(pair))["role-differs"]
    made = await copy_globals(pair.source.db, pair.target.db, APP)
    assert [row for row in everything(pair.target) if zoo("app") in str(row)] == before
    assert [each.subject.scope for each in made if each.kind == "setting" and zoo("app") in each.name] == [
        (zoo("app"), True, "work_mem")
    ]
    assert "CREATEDB is too much" in found.evidence
    assert "another password" in found.evidence


async def test_a_role_that_somebody_makes_meanwhile_is_no_error_and_not_ours(pair: Pair) -> None:
    name = pair.source.role(f"app_{pair.tag}", "LOGIN CONNECTION LIMIT 5")
    pair.source.role(f"more_{pair.tag}")
    pair.source.run(f"GRANT CREATE ON SCHEMA public TO {name}, more_{pair.tag}")
    with pair.target.cluster.connect() as other, pair.target.cluster.connect() as watch:
        other.execute(f"BEGIN; CREATE ROLE {name} LOGIN".encode())
        copying = asyncio.create_task(copy_globals(pair.source.db, pair.target.db, APP))
        waiting = f"SELECT FROM pg_stat_activity WHERE datname = '{pair.target.name}' AND wait_event_type = 'Lock'"
        while not watch.execute(waiting.encode()).fetchall():
            await asyncio.sleep(0.01)
        other.execute("COMMIT")
        made = await copying
    assert [each.name for each in made] == [f"more_{pair.tag}"]
    assert (await told_apart(pair))["role-differs"].evidence.endswith(f"{name}: connection limit -1, not 5")


async def test_what_cannot_be_noted_is_not_made(zoo: Zoo) -> None:
    zoo.make()
    target = zoo.pair.target
    before = everything(target)
    target.run("CREATE SCHEMA switchover; CREATE TABLE switchover.run (); CREATE TABLE switchover.fact (key text)")
    with pytest.raises(Refused):
        await copy_globals(zoo.pair.source.db, target.db, APP)
    assert everything(target) == before
    target.run("DROP SCHEMA switchover CASCADE")
    made = await copy_globals(zoo.pair.source.db, target.db, APP)
    assert await read_fact(target.db, APP, NOTE) == [each.to_json() for each in made]


def acting(pair: Pair, folder: Path) -> tuple[Action, Live]:
    """The step's action, as the cutover runs it."""
    ends = SimpleNamespace(
        source=pair.source.cluster.conninfo(pair.source.name), target=pair.target.cluster.conninfo(pair.target.name)
    )
    spec = cast("Spec", SimpleNamespace(database=ends))
    live = Live(folder / "live", "run", None)
    live.step = "cutover"
    return globals_action(Context(folder / "plan", spec, (), pair.plan_id, "run")), live


async def test_an_undo_takes_away_what_was_made_and_not_what_was_meant(zoo: Zoo, tmp_path: Path) -> None:
    """A run was killed before it made anything, and a person made it instead; the rest is made by the next run."""
    zoo.make()
    pair = zoo.pair
    action, live = acting(pair, tmp_path)
    assert action.undo is not None
    meant = (await action.observe()).facts
    pair.target.role(zoo("app"))
    pair.target.cluster.run(f"ALTER DATABASE {zoo.target} SET search_path = app, '', \"Mixed Case\"")
    pair.target.cluster.run(f"GRANT CONNECT ON DATABASE {zoo.target} TO {zoo.quoted('app')}")
    before = everything(pair.target)
    await action.undo(meant, live)
    assert everything(pair.target) == before
    pair.source.role(zoo("late"))
    pair.source.run(f"BEGIN READ WRITE; GRANT USAGE ON SCHEMA s TO {zoo.quoted('late')}; COMMIT")
    await action.apply(live)
    assert pair.target.cluster.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{zoo('late')}'")
    await action.undo({}, live)
    assert everything(pair.target) == before
    pair.target.role(zoo("late"))
    await action.undo(meant, live)
    assert pair.target.cluster.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{zoo('late')}'")


async def test_each_step_takes_away_only_its_own(zoo: Zoo, tmp_path: Path) -> None:
    zoo.make()
    pair = zoo.pair
    action, live = acting(pair, tmp_path)
    assert action.undo is not None
    before = everything(pair.target)
    live.step = "rehearsal"
    await action.apply(live)
    between = everything(pair.target)
    pair.source.role(zoo("late"))
    pair.source.run(f"BEGIN READ WRITE; GRANT USAGE ON SCHEMA s TO {zoo.quoted('late')}; COMMIT")
    live.step = "cutover"
    await action.apply(live)
    await action.undo({}, live)
    assert everything(pair.target) == between
    live.step = "rehearsal"
    await action.undo({}, live)
    assert everything(pair.target) == before


async def test_only_the_roles_that_matter_are_taken(zoo: Zoo) -> None:
    pair = zoo.pair
    for name in ("owner", "member", "submember", "group", "groups_member", "stranger", "visitor", "grantee", "named"):
        pair.source.role(zoo(name))
    for group, member in (
        ("owner", "member"),
        ("member", "submember"),
        ("group", "submember"),
        ("group", "groups_member"),
    ):
        pair.source.cluster.run(f"GRANT {zoo(group)} TO {zoo(member)}")
    pair.source.cluster.run(f"GRANT pg_monitor TO {zoo('owner')}, {zoo('stranger')}")
    pair.source.cluster.run(f"ALTER ROLE {zoo('named')} IN DATABASE {zoo.source} SET work_mem = '5MB'")
    pair.source.cluster.run(f"GRANT TEMP ON DATABASE {zoo.source} TO pg_monitor")
    pair.source.run(f"GRANT EXECUTE ON FUNCTION pg_ls_logdir() TO {zoo('grantee')}")
    pair.source.run(f"CREATE SCHEMA s AUTHORIZATION {zoo('owner')}; CREATE EXTENSION vector")
    pair.source.run(f"CREATE SCHEMA switchover AUTHORIZATION {zoo('stranger')}")
    pair.source.run("CREATE TABLE switchover.t ()", zoo("stranger"))
    with pair.source.cluster.connect(pair.source.name, zoo("visitor")):
        ours = await read_globals(pair.source.db, APP)
    assert {name.removesuffix(f"_{pair.tag}") for name in ours.names if name != "postgres"} == {
        "owner", "member", "submember", "group", "visitor", "grantee", "named"
    }  # fmt: skip


async def test_passwords_that_may_not_be_read_are_told(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    pair.source.role(zoo("reader"), "LOGIN")
    source = Database.parse(pair.source.cluster.conninfo(pair.source.name, zoo("app")))
    pair.target.role(zoo("boss"), "LOGIN")
    found = {each.id: each for each in await global_findings(source, pair.target.db, APP)}
    assert found["passwords"].evidence.endswith(f"made without: {zoo('app')}")
    assert found["passwords-unknown"].evidence.endswith(f": {zoo('boss')}")
    await copy_globals(source, pair.target.db, APP)
    [[stored]] = pair.target.cluster.run(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{zoo('app')}'")
    assert stored is None


async def test_md5_passwords_are_kept_and_told(pair: Pair) -> None:
    pair.source.cluster.run(
        f"SET password_encryption = 'md5'; CREATE ROLE old_{pair.tag} LOGIN PASSWORD 'x'; "
        f'GRANT CONNECT ON DATABASE "{pair.source.name}" TO old_{pair.tag}'
    )
    assert (await told_apart(pair))["md5-passwords"].evidence.endswith(f"old_{pair.tag}")
    await copy_globals(pair.source.db, pair.target.db, APP)
    stored = f"SELECT rolpassword FROM pg_authid WHERE rolname = 'old_{pair.tag}'"
    assert pair.target.cluster.run(stored) == pair.source.cluster.run(stored)
    assert (await told_apart(pair)) == {}


async def test_a_tablespace_that_the_target_lacks_stops_the_copy(pair: Pair) -> None:
    with pair.source.cluster.connect(pair.source.name) as session:
        session.execute("SET allow_in_place_tablespaces = on")
        session.execute(f"CREATE TABLESPACE fast_{pair.tag} LOCATION ''".encode())
        try:
            session.execute(f"CREATE TABLE t () TABLESPACE fast_{pair.tag}".encode())
            found = (await told_apart(pair))["missing-tablespace"]
        finally:
            session.execute("DROP TABLE IF EXISTS t")
            session.execute(f"DROP TABLESPACE fast_{pair.tag}".encode())
    assert found.severity == "block"
    assert found.evidence == f"the target lacks tablespace fast_{pair.tag}"
    assert found.fix.startswith("create them on the target")


async def test_a_comparison_finds_every_difference_and_no_other(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    assert len(await apart(pair)) > 20
    await copy_globals(pair.source.db, pair.target.db, APP)
    assert await apart(pair) == []
    app, admins = zoo("app"), zoo("admins")
    pair.target.role(zoo("new"))
    for kind, change, back in (
        ("role", f"ALTER ROLE {app} CREATEDB", f"ALTER ROLE {app} NOCREATEDB"),
        ("role", f"ALTER ROLE {app} CONNECTION LIMIT 8", f"ALTER ROLE {app} CONNECTION LIMIT 7"),
        ("role", f"COMMENT ON ROLE {app} IS ''", f"COMMENT ON ROLE {app} IS 'it''s the shop'"),
        ("membership", f"GRANT {admins} TO {app} WITH SET TRUE", f"GRANT {admins} TO {app} WITH SET FALSE"),
        ("membership", f"GRANT pg_monitor TO {app}", f"REVOKE pg_monitor FROM {app}"),
        ("membership", f"GRANT {zoo('owner')} TO {zoo('new')}", f"REVOKE {zoo('owner')} FROM {zoo('new')}"),
        ("role setting", f"ALTER ROLE {app} SET work_mem = '1MB'", f"ALTER ROLE {app} RESET work_mem"),
        (
            "role setting",
            f"ALTER ROLE {zoo('new')} IN DATABASE {zoo.target} SET work_mem = '1MB'",
            f"ALTER ROLE {zoo('new')} IN DATABASE {zoo.target} RESET work_mem",
        ),
        (
            "database setting",
            f"ALTER DATABASE {zoo.target} SET shop.token = 'x'",
            f"ALTER DATABASE {zoo.target} SET shop.token = '{SECRET}'",
        ),
        (
            "database privileges",
            f"GRANT CONNECT ON DATABASE {zoo.target} TO PUBLIC",
            f"REVOKE CONNECT ON DATABASE {zoo.target} FROM PUBLIC",
        ),
        (
            "parameter privileges",
            f"REVOKE SET ON PARAMETER log_min_duration_statement FROM {app}",
            f"GRANT SET ON PARAMETER log_min_duration_statement TO {app} WITH GRANT OPTION",
        ),
    ):
        pair.target.cluster.run(change)
        [line] = await apart(pair)
        assert line.startswith(f"{kind} ")
        assert SECRET not in line
        pair.target.cluster.run(back)
        assert await apart(pair) == []


async def test_the_targets_own_people_are_no_difference(zoo: Zoo) -> None:
    """A role that is there, belongs to a group of ours, or was given the administration, does nothing here by that."""
    zoo.make()
    pair = zoo.pair
    await copy_globals(pair.source.db, pair.target.db, APP)
    pair.target.role(zoo("dba"), "LOGIN CREATEROLE")
    pair.target.cluster.run(f"GRANT {zoo('admins')} TO {zoo('dba')}")
    pair.target.cluster.run(f"ALTER ROLE {zoo('dba')} SET work_mem = '9MB'")
    pair.source.cluster.run(f"GRANT {zoo('admins')} TO {zoo('stranger')}")
    assert await apart(pair) == []


async def test_a_comparison_says_the_same_whoever_asks(zoo: Zoo) -> None:
    """Nothing of it needs a privilege; the owner's own session sees what a superuser sees."""
    zoo.make()
    pair = zoo.pair
    plainly = [Database.parse(side.cluster.conninfo(side.name, zoo("app"))) for side in (pair.source, pair.target)]
    await copy_globals(pair.source.db, pair.target.db, APP)
    assert await apart(pair, plainly[1], plainly[0]) == []
    pair.target.cluster.run(f"ALTER ROLE {zoo('boss')} NOSUPERUSER")
    pair.target.cluster.run(f"ALTER ROLE {zoo('owner')} SET work_mem = '1MB'")
    told = await apart(pair)
    assert len(told) == 2
    assert await apart(pair, plainly[1], plainly[0]) == told


async def test_the_owner_of_a_database_loses_nothing_unseen(zoo: Zoo) -> None:
    pair = zoo.pair
    for side, database in ((pair.source, zoo.source), (pair.target, zoo.target)):
        side.role(zoo("shop"))
        side.cluster.run(f"ALTER DATABASE {database} OWNER TO {zoo('shop')}")
    assert await apart(pair) == []
    pair.target.cluster.run(f"ALTER DATABASE {zoo.target} OWNER TO postgres")
    [line] = await apart(pair)
    assert line == f'database owner is "postgres" on the target, "{zoo("shop")}" on the source'


async def test_words_that_are_no_note_are_refused(pair: Pair) -> None:
    for wrong in ("", "x", '["role"]', '["table", "t"]', '["setting", "a", "b", "c"]', ["role", "x"]):
        await write_fact(pair.target.db, APP, NOTE, [wrong])  # type: ignore[list-item]
        with pytest.raises(Refused):
            await drop_globals(pair.target.db, APP)


async def test_a_target_that_gives_its_makers_their_roles_compares_equal(zoo: Zoo) -> None:
    """createrole_self_grant lets the restoring role set owners; those memberships are no difference."""
    pair = zoo.pair
    for name in ("owner", "member"):
        pair.source.role(zoo(name))
    pair.source.cluster.run(f"GRANT {zoo('owner')} TO {zoo('member')}")
    target = less(zoo)
    pair.target.cluster.run(f"ALTER ROLE {zoo('mover')} SET createrole_self_grant = 'set, inherit'")
    pair.source.run(f"CREATE SCHEMA s AUTHORIZATION {zoo('owner')}")
    before = everything(pair.target)
    await copy_globals(pair.source.db, target, APP)
    pair.target.run(f"CREATE SCHEMA s AUTHORIZATION {zoo('owner')}", zoo("mover"))
    assert await apart(pair, target) == []
    assert await apart(pair) == [
        f'membership "{zoo("mover")}" in "{zoo(name)}" is only on the target' for name in ("member", "owner")
    ]
    pair.target.run("DROP SCHEMA s")
    assert await drop_globals(target, APP) == ()
    assert everything(pair.target) == before


async def test_what_an_application_gave_itself_is_a_difference(zoo: Zoo) -> None:
    """The restoring role may be the application's own: then it does by its memberships what it could not before."""
    pair = zoo.pair
    target = less(zoo)
    pair.source.role(zoo("mover"), "LOGIN CREATEROLE CREATEDB")
    pair.source.role(zoo("owner"))
    pair.source.run(f"CREATE SCHEMA s AUTHORIZATION {zoo('owner')}")
    pair.target.cluster.run(f"ALTER ROLE {zoo('mover')} SET createrole_self_grant = 'set, inherit'")
    await copy_globals(pair.source.db, target, APP)
    assert await apart(pair, target) == []
    pair.source.run(f"CREATE SCHEMA m AUTHORIZATION {zoo('mover')}")
    told = await apart(pair, target)
    assert f'membership "{zoo("mover")}" in "{zoo("owner")}" is only on the target' in told
    pair.source.cluster.run(f"GRANT {zoo('owner')} TO {zoo('mover')}")
    assert not [each for each in await apart(pair, target) if each.startswith("membership")]


async def test_whom_the_restoring_role_lets_in_is_a_difference(zoo: Zoo) -> None:
    pair = zoo.pair
    target = less(zoo)
    pair.source.role(zoo("owner"))
    pair.target.role(zoo("friend"))
    pair.source.run(f"CREATE SCHEMA s AUTHORIZATION {zoo('owner')}")
    await copy_globals(pair.source.db, target, APP)
    pair.target.run(f"GRANT {zoo('owner')} TO {zoo('friend')}", zoo("mover"))
    assert await apart(pair, target) == [f'membership "{zoo("friend")}" in "{zoo("owner")}" is only on the target']


async def test_roles_that_others_administer_are_left_and_told(zoo: Zoo) -> None:
    zoo.make()
    pair = zoo.pair
    for name in ("readers", "app"):
        pair.target.role(zoo(name))
    target = less(zoo)
    found = {each.id: each for each in await global_findings(pair.source.db, target, APP)}
    made = await copy_globals(pair.source.db, target, APP)
    assert f"work_mem of {zoo('app')}" in found["settings"].evidence
    assert f"let {zoo('readers')} belong to" not in found["privileges"].evidence
    assert f"{zoo('app')}: does not belong to {zoo('readers')} in the same way" in found["role-differs"].evidence
    assert {each.name for each in made if each.kind == "role"} == {zoo(name) for name in ("admins", "boss", "owner")}
    assert {each.name for each in made if each.kind == "membership"} == {
        f"{zoo('admins')} {zoo('app')}",
        f"{zoo('owner')} {zoo('boss')}",
    }


async def test_settings_the_target_does_not_know_or_that_are_everybodys_are_told(pair: Pair) -> None:
    source = quoted(pair.source.name)
    pair.source.cluster.run(f"ALTER DATABASE {source} SET work_mem = '5MB'")
    pair.source.cluster.run(
        "UPDATE pg_db_role_setting SET setconfig = setconfig || '{removed_setting=1}' WHERE setdatabase = "
        f"(SELECT oid FROM pg_database WHERE datname = '{pair.source.name}')"
    )
    pair.source.cluster.run("ALTER ROLE ALL SET temp_buffers = '2MB'")
    try:
        found = (await told_apart(pair))["settings"]
        made = await copy_globals(pair.source.db, pair.target.db, APP)
    finally:
        pair.source.cluster.run("ALTER ROLE ALL RESET temp_buffers")
    assert "the target sets otherwise: temp_buffers of all roles" in found.evidence
    assert "does not know: removed_setting" in found.evidence
    assert "ALTER ROLE ALL SET \"temp_buffers\" = '2MB';" in found.fix
    assert [each.name for each in made] == ["here work_mem"]


async def test_what_was_passed_on_meanwhile_stays_and_is_told(zoo: Zoo) -> None:
    pair = zoo.pair
    for side in (pair.source, pair.target):
        side.role(zoo("app"))
    pair.target.role(zoo("friend"))
    pair.source.cluster.run(f"GRANT CREATE ON DATABASE {zoo.source} TO {zoo('app')} WITH GRANT OPTION")
    await copy_globals(pair.source.db, pair.target.db, APP)
    pair.target.run(f"GRANT CREATE ON DATABASE {zoo.target} TO {zoo('friend')}", zoo("app"))
    [stays] = await drop_globals(pair.target.db, APP)
    assert stays.startswith(f"privilege {zoo('app')} CREATE stays: dependent privileges exist")
