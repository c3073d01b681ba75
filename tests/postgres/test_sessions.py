"""Sessions of an earlier run end; those of users are seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from switchover.postgres.connect import Database
from switchover.postgres.errors import PostgresError, Unreachable
from switchover.postgres.sessions import Client, ClientGroup, by_client, came_back, clients, end_sessions
from tests.postgres.conftest import APP, PREFIX, Pair


def named(pair: Pair, dbname: str, app: str) -> psycopg.Connection[tuple[object, ...]]:
    return pair.source.cluster.connect(dbname, application_name=app)


async def test_what_an_earlier_run_left_ends_on_the_whole_server(pair: Pair) -> None:
    prefix = f"switchover/{pair.tag}/"
    left = [named(pair, name, f"{prefix}{n}") for n, name in enumerate((pair.source.name, "postgres"))]
    keep, user = named(pair, "postgres", f"{prefix}me"), named(pair, pair.source.name, "user")
    assert await end_sessions(pair.source.db, prefix, f"{prefix}me", 10) == (f"{prefix}0", f"{prefix}1")
    for session in left:
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
    for session in (keep, user):
        session.execute("SELECT 1")
        session.close()
    assert await end_sessions(pair.source.db, prefix, f"{prefix}me", 10) == ()


async def test_a_database_that_is_gone_or_closed_is_no_obstacle(pair: Pair) -> None:
    prefix = f"switchover/{pair.tag}/"
    left = named(pair, pair.source.name, f"{prefix}old")
    pair.source.cluster.run(f"ALTER DATABASE {pair.source.name} ALLOW_CONNECTIONS false")
    assert await end_sessions(pair.source.db, prefix, f"{prefix}me", 10) == (f"{prefix}old",)
    assert await clients(pair.source.db, APP, PREFIX) == ()
    assert await end_sessions(pair.source.db.named("absent"), prefix, f"{prefix}me", 10) == ()
    left.close()


async def test_a_session_that_does_not_end_is_named(pair: Pair) -> None:
    """A role may not end a superuser's session; the run must not go on beside it."""
    role = pair.source.role(f"small_{pair.tag}")
    prefix = f"switchover/{pair.tag}/"
    small = Database.parse(pair.source.cluster.conninfo(pair.source.name, role))
    with named(pair, pair.source.name, f"{prefix}old"), pytest.raises(PostgresError, match="permission denied"):
        await end_sessions(small, prefix, f"{prefix}me", 0.1)


async def test_a_server_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await end_sessions(Database.parse("host=127.0.0.1 port=1"), PREFIX, APP, 1)


async def test_clients_are_users_and_not_us(pair: Pair) -> None:
    prefix = f"switchover/{pair.tag}/"
    with (
        named(pair, pair.source.name, "shop\x1b[31m") as shop,
        named(pair, pair.source.name, f"{prefix}run"),
        named(pair, "postgres", "elsewhere"),
    ):
        shop.execute("SELECT 'busy'")
        pid = shop.info.backend_pid
        (found,) = await clients(pair.source.db, f"{prefix}run", prefix)
    assert (found.pid, found.user, found.database) == (pid, "postgres", pair.source.name)
    assert (found.address, found.state, found.query) == ("127.0.0.1", "idle", "SELECT 'busy'")
    assert "\x1b" not in found.application_name
    assert found.age_s >= 0


async def test_a_role_that_may_see_little_still_sees_that_others_are_there(pair: Pair) -> None:
    role = pair.source.role(f"small_{pair.tag}")
    small = Database.parse(pair.source.cluster.conninfo(pair.source.name, role))
    replication = f"{pair.source.cluster.conninfo(pair.source.name)} replication=database"
    with named(pair, pair.source.name, "shop") as shop, psycopg.connect(replication, autocommit=True):
        pid = shop.info.backend_pid
        (found,) = await clients(small, APP, PREFIX)
    assert (found.pid, found.user, found.application_name) == (pid, "postgres", "shop")
    assert (found.address, found.connected) == ("", None)


def client(pid: int, address: str, app: str, age_s: float, connected: datetime | None = None) -> Client:
    return Client(pid, "shop", "shop", address, app, "idle", age_s, "SELECT 'secret'", connected)


def test_clients_are_grouped_by_what_must_be_repointed() -> None:
    found = [
        client(1, "192.0.2.8", "web", 5.04),
        client(2, "192.0.2.7", "web", 3),
        client(3, "192.0.2.7", "jobs", 1),
        client(4, "192.0.2.7", "web", 90),
    ]
    groups = by_client(found)
    assert groups == (
        ClientGroup("192.0.2.7", "jobs", "shop", 1, 1),
        ClientGroup("192.0.2.7", "web", "shop", 2, 90),
        ClientGroup("192.0.2.8", "web", "shop", 1, 5.04),
    )
    assert by_client(reversed(found)) == groups
    assert groups[2].to_json() == {
        "address": "192.0.2.8",
        "application_name": "web",
        "user": "shop",
        "count": 1,
        "oldest_s": 5.0,
    }
    assert by_client([]) == ()


def test_who_came_back_is_who_connected_later_or_was_not_there() -> None:
    stood = datetime(2026, 12, 6, 3, 0, tzinfo=UTC)
    moment = timedelta(microseconds=1)
    now = [
        client(1, "", "before", 0, stood - moment),
        client(2, "", "after", 0, stood + moment),
        client(3, "", "hidden, was there", 0),
        client(4, "", "hidden, is new", 0),
    ]
    assert [each.pid for each in came_back(now, stood, {1, 3})] == [2, 4]


def test_what_a_client_was_doing_stays_out_of_the_journal() -> None:
    assert "secret" not in str(client(1, "192.0.2.7", "web", 1).to_json())
