"""What breaks in the night: each stops with the reason, is undone, and never ends in "done"."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.plan.journal import What
from switchover.plan.lock import is_held
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed
from tests.e2e.breaking import SLOW, assert_as_before, assert_goes_through, broken, held_at, reasons
from tests.e2e.test_crash import NON_DEFAULT
from tests.e2e.world import State, World

SQL = """
import psycopg
connection = psycopg.connect({conninfo!r}, autocommit=True)
for statement in {statements!r}:
    connection.execute(statement)
"""


def script(world: World, which: str, dbname: str, *statements: str) -> Path:
    """A program that runs SQL as a superuser, for a fault to run."""
    server = world.lab.old if which == "old" else world.lab.new
    path = world.lab.folder / "fault.py"
    conninfo = f"host=127.0.0.1 port={server.port} user=admin password={world.lab._admin} dbname={dbname}"
    path.write_text(SQL.format(conninfo=conninfo, statements=statements))
    return path


def own_terminal() -> None:
    """Make standard input the child's controlling terminal, so that closing it hangs up."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def assert_undone(world: World, before: object, *, reason: str, err: str) -> None:
    after = world.state()
    assert reason in err
    assert not after.finished
    assert (after.settings, after.databases, after.dns) == before
    assert world.progress().passed is Passed.NOT
    assert not world.lab.maintenance.exists()


def untouched(world: World) -> tuple[object, object, object]:
    state = world.state()
    return state.settings, state.databases, state.dns


def test_a_write_that_slips_in_after_the_fence_undoes_the_cutover(world: World) -> None:
    world.prepare(old_settings=NON_DEFAULT)
    before = untouched(world)
    program = script(
        world,
        "old",
        "shop",
        "SET default_transaction_read_only = off",
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' AND pid <> pg_backend_pid()",
        "INSERT INTO visits VALUES (now(), '/slipped-in', 1)",
    )
    ended = world.through("finish", fault=f"before:{program}:cutover/open-target/intent")
    assert ended.code == 1
    assert_undone(world, before, reason="written to after the fence", err=ended.err)


def test_a_changed_row_on_the_copy_undoes_the_cutover(world: World) -> None:
    world.prepare()
    before = untouched(world)
    copy = f"switchover_copy_{world.progress().plan_id[:12]}"
    program = script(world, "new", copy, "UPDATE customers SET name = 'x' WHERE id = 7")
    ended = world.through("finish", fault=f"before:{program}:cutover/compare-final/intent")
    assert ended.code == 1
    assert_undone(world, before, reason="not the same: table public.customers", err=ended.err)
    assert "different (7)" in ended.err


def test_a_restore_error_undoes_the_cutover(world: World) -> None:
    world.prepare()
    before = untouched(world)
    dump = world.plan.with_name("shop.toml.d") / "dump-final"
    breaks = world.lab.folder / "fault.py"
    breaks.write_text(f"from pathlib import Path\n[p.unlink() for p in Path({str(dump)!r}).glob('*.gz')]\n")
    ended = world.through("finish", fault=f"before:{breaks}:cutover/restore-final/intent")
    assert ended.code == 1
    assert_undone(world, before, reason="pg_restore ended with", err=ended.err)


def test_a_full_disk_for_the_dump_undoes_the_cutover(world: World) -> None:
    world.prepare()
    before = untouched(world)
    limited = [
        sys.executable,
        "-c",
        "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); os.execv(sys.executable, sys.argv[1:])",
        *[sys.executable, "-m", "switchover", "run", str(world.plan), "--yes"],
    ]
    world.sql("old", "INSERT INTO visits SELECT now(), md5(n::text), n FROM generate_series(1, 20000) n")
    ended = subprocess.run(limited, env=world.env(), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert_undone(world, before, reason="pg_dump ended with", err=ended.stderr)


def test_a_wrong_key_stops_before_anything_is_touched(world: World) -> None:
    world.prepare()
    before = untouched(world)
    key = world.lab.folder / "shop.key"
    right = key.read_text()
    key.write_text(right.replace('secret "', 'secret "AAAA'))
    try:
        ended = world.through("finish")
    finally:
        key.write_text(right)
    assert ended.code == 1
    assert_undone(world, before, reason="the switch of shop.test is permitted", err=ended.err)
    assert all(entry.what is not What.INTENT for entry in world.entries() if entry.step == StepName.CUTOVER)


def test_an_unreachable_target_stops_with_the_reason(world: World) -> None:
    world.prepare()
    services = world.lab.folder / "services.conf"
    right = services.read_text()
    services.write_text(right.replace(f"port={world.lab.ports.new}", "port=1"))
    try:
        ended = world.command("run", "--yes")
    finally:
        services.write_text(right)
    assert ended.code == 1
    assert "shop_new" in ended.err
    assert "refused" in ended.err
    assert "Traceback" not in ended.err


def test_a_lost_terminal_during_the_restore_stops_nothing(world: World) -> None:
    world.prepare()
    leader, follower = pty.openpty()
    runner = subprocess.Popen(
        [sys.executable, "-m", "switchover", "run", str(world.plan), "--yes"],
        env=world.env(),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=own_terminal,
    )
    os.close(follower)
    seen = b""
    while b"restore-final" not in seen and b"dump-final done" not in seen:
        seen += os.read(leader, 4096)
    os.close(leader)
    runner.send_signal(signal.SIGHUP)
    assert runner.wait(timeout=120) == 0
    assert world.progress().finished


def test_asked_to_stop_before_the_target_opens_the_cutover_undoes_itself(world: World) -> None:
    world.prepare(old_settings=NON_DEFAULT)
    before = untouched(world)
    stop = world.lab.folder / "fault.py"
    stop.write_text("import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\n")
    ended = world.through("finish", fault=f"after:{stop}:cutover/fence-source/done")
    assert ended.code == 1
    assert_undone(world, before, reason="asked to stop by SIGTERM", err=ended.err)


def test_asked_to_stop_after_the_target_opened_the_cutover_is_completed(world: World) -> None:
    world.prepare()
    stop = world.lab.folder / "fault.py"
    stop.write_text("import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\n")
    world.through("finish", fault=f"after:{stop}:cutover/open-target/intent")
    assert world.through("finish").code == 0
    assert world.progress().finished


def test_a_second_runner_is_told_who_holds_the_plan(world: World) -> None:
    world.prepare()
    holds = world.lab.folder / "fault.py"
    marker = world.lab.folder / "second"
    holds.write_text(
        "import subprocess, sys\n"
        f"ended = subprocess.run([sys.executable, '-m', 'switchover', 'run', {str(world.plan)!r}], "
        "capture_output=True, text=True)\n"
        f"open({str(marker)!r}, 'w').write(f'{{ended.returncode}} {{ended.stderr}}')\n"
    )
    world.through("finish", fault=f"after:{holds}:cutover/fence-source/done")
    assert marker.read_text().startswith("5 ")
    assert "holds the plan since" in marker.read_text()
    assert world.progress().finished


def test_a_copy_of_the_plan_in_another_folder_is_recognised_and_refused(world: World, tmp_path: Path) -> None:
    world.prepare()
    copy = tmp_path / "shop.toml"
    shutil.copy2(world.plan, copy)
    shutil.copy2(world.lab.folder / "shop.key", tmp_path / "shop.key")
    assert world.through("finish").code == 0
    ended = world.command("run", "--yes", plan=copy)
    assert ended.code == 1
    assert "this copy of the plan is behind" in ended.err
    assert "@" in ended.err


def test_an_editor_that_renames_over_the_plan_during_a_run_stops_nothing(world: World) -> None:
    world.prepare()
    edit = world.lab.folder / "fault.py"
    edit.write_text(
        "from pathlib import Path\n"
        f"plan = Path({str(world.plan)!r})\n"
        "half = plan.with_suffix('.edited')\n"
        "half.write_text('# edited in the night\\n' + plan.read_text())\n"
        "half.rename(plan)\n"
    )
    ended = world.through("finish", fault=f"after:{edit}:cutover/restore-final/done")
    assert ended.code == 0, ended.err
    assert world.plan.read_text().startswith("# edited in the night")
    assert world.progress().finished


def test_a_target_lost_in_the_midst_of_a_restore(world: World, undisturbed: State) -> None:
    world.prepare()
    world.sql("old", SLOW)
    before = world.state()
    ended = broken(world, world.away("new"))
    assert ended.code == 1
    assert re.search("pg_restore ended with 1: .*(closed|terminat)", reasons(world))
    assert_as_before(world, before)
    assert_goes_through(world, undisturbed)


def test_a_source_shut_down_while_the_fence_stands(world: World, undisturbed: State) -> None:
    """Nothing can be put back as long as it is away; then everything is."""
    world.prepare()
    before = world.state()
    with held_at(world, "cutover/compare-final/intent") as running, world.away("old"):
        (world.lab.folder / "on").touch()
        ended = running.result()
    assert ended.code == 4
    assert "The undo stopped at stop writes on the source" in ended.err
    back = world.command("rollback", "--yes")
    assert back.code == 0, back.err
    assert_as_before(world, before)
    assert_goes_through(world, undisturbed)


def test_a_disk_of_the_target_that_fills_up(world: World, undisturbed: State, small_disk: str) -> None:
    world.prepare()
    world.sql("new", f"ALTER DATABASE shop SET TABLESPACE {small_disk}", "postgres")
    world.sql("old", "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 30) AS v FROM generate_series(1, 30000) n")
    before = world.state()
    ended = world.through()
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert_as_before(world, before)
    world.sql("old", "TRUNCATE wide")
    assert_goes_through(world, undisturbed)


def test_a_lock_that_the_fence_never_gets(world: World, undisturbed: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held by a session that is taken for one of ours, so that nobody ends it."""
    world.prepare()
    before = world.state()
    stuck = f"switchover/{world.progress().plan_id[:12]}/stuck"
    monkeypatch.setitem(world.lab.env, "FENCE_S", "1")
    with world.lab.connect("old") as holder:
        pid = holder.info.backend_pid
        with held_at(world, "cutover/fence-source/intent") as running:
            holder.execute(f"SET application_name = '{stuck}'; BEGIN; LOCK TABLE visits IN ROW EXCLUSIVE MODE")
        ended = running.result()
    assert ended.code == 1
    assert f"held up by pid {pid} admin since" in ended.err
    assert_as_before(world, before)
    assert_goes_through(world, undisturbed)


def test_a_schema_that_changes_in_the_midst_of_a_rehearsal(world: World) -> None:
    world.reset()
    world.sql("old", "CREATE TABLE fleeting (n int)")
    assert world.through("readiness").code == 0
    before = world.state()
    drops = script(world, "old", "shop", "DROP TABLE fleeting")
    ended = world.through("rehearsal", fault=f"after:{drops}:rehearsal/dump-rehearsal/intent")
    assert ended.code == 1
    assert re.search("fleeting|cache lookup failed", ended.err)
    assert_as_before(world, before)
    ended = world.through("rehearsal")
    assert ended.code == 0, ended.err


def test_locks_that_are_lost_undo_the_cutover_though_nobody_wrote(world: World) -> None:
    world.prepare()
    before = untouched(world)
    ends = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' AND pid <> pg_backend_pid()"
    program = script(world, "old", "shop", ends)
    ended = world.through("finish", fault=f"before:{program}:cutover/open-target/intent")
    assert ended.code == 1
    assert_undone(world, before, reason="the fence's locks are gone", err=ended.err)


ROW_BY_ROW = "CREATE FUNCTION slow(x int) RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(0.05) IS NOT NULL'"


def test_an_orphaned_restore_is_ended_before_the_next_run_looks(world: World) -> None:
    world.prepare()
    world.sql("old", ROW_BY_ROW + "; CREATE TABLE slowly (x int CHECK (slow(x))); INSERT INTO slowly SELECT 1")
    world.sql("old", "ALTER TABLE slowly DISABLE TRIGGER ALL; INSERT INTO slowly SELECT 1 FROM generate_series(1, 100)")
    assert world.killed("finish", "after:kill:cutover/dump-final/done")
    folder = world.plan.with_name("shop.toml.d") / "dump-final"
    child = subprocess.Popen(
        [str(world.lab.new.bin / "pg_restore"), "--format=directory", "--jobs=2", "-d", "shop", str(folder)],
        env={**world.env(), "PGSERVICE": "shop_new", "PGAPPNAME": f"switchover/{world.progress().plan_id[:12]}/dead"},
        stderr=subprocess.DEVNULL,
    )
    while not world.sql("new", "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%/dead'", "postgres"):
        assert child.poll() is None
    ended = world.through("finish")
    child.wait(timeout=30)
    assert ended.code == 0, ended.err
    assert world.sql("new", "SELECT count(*) FROM slowly") == [(101,)]
    assert not world.sql("new", "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%/dead'", "postgres")


def test_the_lock_is_free_after_every_end(world: World) -> None:
    assert not is_held(world.plan)


@pytest.fixture
def small_disk(world: World) -> Iterator[str]:
    """A tablespace of the new server on a file system with little room."""
    disk = world.lab.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36m,mode=0777", "tmpfs", disk], check=True)
    try:
        place = disk / "data"
        place.mkdir(mode=0o700)
        if world.lab.new.user is not None:
            os.chown(place, world.lab.new.user.uid, world.lab.new.user.gid)
        world.sql("new", f"CREATE TABLESPACE small LOCATION '{place}'", "postgres")
        yield "small"
        world.reset()
        world.sql("new", "DROP TABLESPACE small", "postgres")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture(autouse=True)
def _no_fault_left(world: World):  # type: ignore[no-untyped-def]
    yield
    (world.lab.folder / "fault.py").unlink(missing_ok=True)
