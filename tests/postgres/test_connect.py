"""How a database is reached, and that no secret comes out of it."""

from __future__ import annotations

import os
import subprocess
import traceback
from pathlib import Path

import psycopg
import pytest

from switchover.postgres.connect import SETTINGS, Database, connect, database_name, told
from switchover.postgres.errors import BadConninfo, PostgresError, Refused, Unreachable
from tests.postgres.conftest import APP, Pair, Side

SECRET = "hunter2hunter2"


@pytest.fixture
def service(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
    """The source as a service of the name ``shop``, beside another."""
    file = tmp_path / "services"
    file.write_text(
        "# ours\n[other]\nhost=nowhere.invalid\n\n"
        f"[shop]\nhost=127.0.0.1\nport={pair.source.cluster.port}\nuser=postgres\ndbname={pair.source.name}\n"
        "[last]\ndbname=never\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    return pair.source


@pytest.mark.parametrize(
    "text",
    [
        f"host=a password='{SECRET}",
        f"postgresql://u:{SECRET}%zz@h/db",
        f"postgresql://u:{SECRET}@{SECRET}@h/db",
        f"postgresql://u:x/{SECRET}@h/db",
        f"postgresql://u:1234/{SECRET}@h/db",
        f"postgresql://u:{SECRET}/@h:5/db",
        f"host=a {SECRET}=b",
        f"{SECRET}",
    ],
)
def test_a_connection_text_that_cannot_be_read_is_never_repeated(text: str) -> None:
    with pytest.raises(BadConninfo) as caught:
        Database.parse(text)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_password_is_nowhere_in_what_is_printed() -> None:
    db = Database.parse(f"postgresql://u:{SECRET}@h:5/db")
    assert db.where == "h:5/db"
    assert SECRET not in f"{db} {db!r} {db.named('x')!r}"


async def test_a_password_is_nowhere_in_what_a_server_says(pair: Pair) -> None:
    cluster = pair.source.cluster
    cluster.run(f"CREATE ROLE canary_{pair.tag} LOGIN")
    db = Database.parse(f"postgresql://u:{SECRET}@127.0.0.1:{cluster.port}/{SECRET}")
    with pytest.raises(Unreachable) as caught:
        await connect(db, APP)
    assert SECRET not in str(caught.value).replace(db.where, "")
    with pytest.raises(Refused) as refused, told(db):
        async with await connect(pair.source.db, APP) as session:
            await session.execute("SELECT %s::int", (SECRET,))
    assert SECRET not in "".join(traceback.format_exception(refused.value)).replace(db.where, "")


async def test_a_lost_session_is_told_from_a_refusal(pair: Pair) -> None:
    db = pair.source.db
    async with await connect(db, APP) as session:
        with pytest.raises(Refused, match="division by zero"), told(db):
            await session.execute("SELECT 1/0")
        await session.execute("BEGIN")
        with pytest.raises(Refused, match="canceling statement"), told(db):
            await session.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)")
        pair.source.cluster.run(f"SELECT pg_terminate_backend({session.info.backend_pid})")
        with pytest.raises(Unreachable, match="terminating connection"), told(db):
            await session.execute("SELECT 1")
        with pytest.raises(Unreachable, match="closed"), told(db):
            await session.execute("SELECT 1")


async def test_no_server_and_no_database_are_unreachable(pair: Pair) -> None:
    with pytest.raises(Unreachable, match="refused"):
        await connect(Database.parse("host=127.0.0.1 port=1 dbname=x"), APP)
    with pytest.raises(Unreachable, match="does not exist"):
        await connect(pair.source.db.named("absent"), APP)


async def test_our_settings_win_over_the_databases_and_the_roles(pair: Pair) -> None:
    role = pair.source.role(f"strange_{pair.tag}")
    for setting in (
        "default_transaction_read_only = on",
        "datestyle = 'German'",
        "timezone = 'America/St_Johns'",
        "extra_float_digits = -5",
        "statement_timeout = 100",
    ):
        pair.source.cluster.run(f"ALTER DATABASE {pair.source.name} SET {setting}")
        pair.source.cluster.run(f"ALTER ROLE {role} SET {setting}")
    db = Database.parse(pair.source.cluster.conninfo(pair.source.name, role))
    async with await connect(db, APP) as session:
        for name, value in SETTINGS.items():
            row = await (await session.execute("SELECT current_setting(%s, true)", (name,))).fetchone()
            assert row is not None
            if name == "DateStyle":
                assert row[0].startswith("ISO")
            elif row[0] is not None:
                assert row[0].lower() == value.lower()
        await session.execute("CREATE TEMP TABLE t ()")
        said = await (await session.execute("SHOW application_name")).fetchone()
        assert said == (APP,)


async def test_a_service_gives_the_way_and_a_name_beside_it_wins(service: Side) -> None:
    db = Database.parse("service=shop")
    assert await database_name(db, APP) == service.name
    assert await database_name(db.named("postgres"), APP) == "postgres"
    async with await connect(db.named("postgres"), APP) as session:
        assert session.info.dbname == "postgres"


@pytest.mark.parametrize("how", ["given", "inherited"])
def test_a_client_program_goes_where_our_sessions_go(service: Side, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """libpq lets PGSERVICE win over PGDATABASE: a dump would quietly be of another database."""
    if how == "inherited":
        monkeypatch.setenv("PGSERVICE", "shop")
    db = Database.parse("" if how == "inherited" else "service=shop")
    argv = [str(service.cluster.bin / "psql"), "-XAtc", "SELECT current_database()"]
    for each, name in ((db, service.name), (db.named("postgres"), "postgres")):
        said = subprocess.run(argv, env=each.env(), capture_output=True, text=True, check=True)
        assert said.stdout.strip() == name


def test_a_service_that_is_nowhere_is_said(service: Side) -> None:
    with pytest.raises(BadConninfo, match="no service file has a service absent"):
        Database.parse("service=absent").env()


def test_a_child_gets_every_keyword_that_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    env = Database.parse(
        f"host=h port=5 dbname=d user=u password={SECRET} sslmode=verify-full sslrootcert=/r passfile=/p "
        "options='-c a.b=c' keepalives_idle=3 application_name=theirs"
    ).env()
    assert {key: env[key] for key in env if key.startswith("PG")} == {
        **{key: value for key, value in os.environ.items() if key.startswith("PG")},
        "PGHOST": "h",
        "PGPORT": "5",
        "PGDATABASE": "d",
        "PGUSER": "u",
        "PGPASSWORD": SECRET,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/r",
        "PGPASSFILE": "/p",
        "PGOPTIONS": "-c a.b=c",
    }
    assert env["PATH"] == os.environ["PATH"]


def test_what_a_child_cannot_be_told_is_said_by_name_only() -> None:
    with pytest.raises(BadConninfo, match="sslpassword") as caught:
        Database.parse(f"host=h sslpassword={SECRET}").env()
    assert SECRET not in str(caught.value)


def test_errors_are_cleaned_of_control_characters() -> None:
    assert str(PostgresError("a\x1b[31mb\u202e")) == "a[31mb"


async def test_a_session_that_cannot_be_set_up_is_closed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchover.postgres.connect._PIN", "SELECT 1/0, %s::text[], %s::text[]")
    with pytest.raises(Refused, match="division by zero"):
        await connect(pair.source.db, APP)
    left = psycopg.connect(pair.source.cluster.conninfo(), autocommit=True)
    with left:
        while left.execute(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{pair.source.name}'").fetchall():
            left.execute("SELECT pg_stat_clear_snapshot()")
