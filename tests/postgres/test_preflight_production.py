"""What of production the target lacks: its archive, TLS and a role that watches; asked of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.finding import Finding
from switchover.postgres.preflight.check import ask, unseen
from switchover.postgres.preflight.production import PRODUCTION
from tests.postgres.conftest import APP
from tests.servers.postgres import Cluster
from tests.servers.wait import until

LOCAL = "host all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\nhost all all samehost trust\n"
PLAIN = "target-admits-plaintext"


@pytest.fixture(scope="module")
def server(servers_folder: Path) -> Iterator[Cluster]:
    """Its own rules let nobody in from elsewhere; the tests write others into the file, and never load them."""
    conf = "listen_addresses = '*'\narchive_mode = on\narchive_command = 'true'\nrds.force_ssl = 0\n"
    cluster = Cluster(servers_folder / "production", 16, conf=conf).start()
    yield cluster
    cluster.stop()


async def found(server: Cluster, user: str = "postgres", *, age: str = "1 day") -> dict[str, Finding]:
    checks = [replace(each, query=each.query.replace("1 day", age)) for each in PRODUCTION]
    async with await connect(Database.parse(server.conninfo(user=user)), APP) as session:
        await session.execute("SET search_path = pg_catalog")
        told, hidden = await ask(session, checks)
        return {each.id: each for each in (*told, *unseen("target", hidden, user))}


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (LOCAL, ""),
        ("hostssl all all 0.0.0.0/0 scram-sha-256\nhostgssenc all all 0.0.0.0/0 gss\n", ""),
        ("host all all 0.0.0.0/0 scram-sha-256\n", "line 1, host all all 0.0.0.0/0.0.0.0"),
        (f"{LOCAL}host shop,crm +app 10.0.0.0/8 md5\n", "line 4, host shop,crm +app 10.0.0.0/255.0.0.0"),
        ("hostnossl all all all trust\n", "line 1, hostnossl all all all"),
        ("host all all .example.com md5\n", "line 1, host all all .example.com"),
        ("hostnossl all all all reject\nhost all all 0.0.0.0/0 md5\nhost all all samenet md5\n", ""),
        ("hostnossl all all 0.0.0.0/0 reject\nhost all all 10.0.0.0/8 md5\n", ""),
        ("hostnossl all all 0.0.0.0/0 reject\nhost all all fd00::/8 md5\n", "line 2, host all all fd00::/ff00::"),
        ("host all all 10.0.0.0/8 md5\nhostnossl all all all reject\n", "line 1, host all all 10.0.0.0/255.0.0.0"),
        ("hostnossl all app all reject\nhost all all all md5\n", "line 2, host all all all"),
        ("hostnossl all all all reject\nhost replication all all md5\n", "line 2, host replication all all"),
        ("hostt all all all trust\n", ""),
    ],
)
async def test_rules_that_let_other_hosts_in_without_tls_are_named(server: Cluster, rules: str, named: str) -> None:
    file = server.data / "pg_hba.conf"
    kept = file.read_text()
    try:
        file.write_text(rules)
        findings = await found(server)
    finally:
        file.write_text(kept)
    assert (findings[PLAIN].evidence.partition(": ")[2] if PLAIN in findings else "") == named


async def test_rules_that_our_role_may_not_read_are_unknown_and_not_well(server: Cluster) -> None:
    server.run("CREATE ROLE reader LOGIN")
    findings = await found(server, "reader")
    assert findings["target-rules-unseen"].evidence.endswith("reader may not read pg_hba_file_rules")
    assert PLAIN not in findings
    assert "target-rules-unseen" not in await found(server)


async def test_a_server_that_only_its_own_host_reaches_needs_no_tls(new_server: Cluster) -> None:
    findings = await found(new_server)
    assert {PLAIN, "target-rules-unseen"} & findings.keys() == set()
    assert {"target-archive-off", "target-unwatched"} == findings.keys()


async def test_a_provider_that_does_not_require_tls_is_named(server: Cluster) -> None:
    assert (await found(server))["target-tls-optional"].evidence.endswith(": rds.force_ssl is 0")


async def test_an_archive_that_has_taken_nothing_for_a_day_is_named(server: Cluster) -> None:
    assert (await found(server))["target-archive-old"].evidence.endswith("the last was: nothing as yet")
    server.run("SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, 'x', 'y')) AS m")
    until(lambda: server.run("SELECT 1 FROM pg_stat_archiver WHERE archived_count > 0"), "the log was archived")
    assert {"target-archive-old", "target-archive-off"} & (await found(server)).keys() == set()
    assert (await found(server, age="0 s"))["target-archive-old"].evidence.startswith("the target has archived nothing")


async def test_a_role_that_watches_is_enough_and_ours_is_not(server: Cluster) -> None:
    server.run("CREATE ROLE ours LOGIN; GRANT pg_monitor TO ours; CREATE ROLE away; GRANT pg_monitor TO away")
    assert "target-unwatched" in await found(server, "ours")
    for statement in (await found(server, "ours"))["target-unwatched"].fix.split("; "):
        server.run(statement)
    assert "target-unwatched" not in await found(server, "ours")
