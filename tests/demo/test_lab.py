"""The lab as a whole: it serves a shop, and nothing of it is left behind however it ends."""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from switchover.demo import texts
from switchover.demo.account import account
from switchover.demo.auto import run_demo
from switchover.demo.client import ACKNOWLEDGED, REFUSED
from switchover.demo.clusters import installs, server_user, wheel
from switchover.demo.lab import Lab
from switchover.demo.operator import ATTESTED, end_runner, highlights, set_window
from switchover.demo.processes import LabFailed
from switchover.plan.lock import is_held
from switchover.plan.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """
import signal, sys
from switchover.demo.lab import Lab
from switchover.demo.operator import ATTESTED, end_runner, highlights, set_window
from switchover.demo.processes import LabFailed
from switchover.plan.lock import is_held
from switchover.plan.spec import Spec
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, interrupt)
with Lab() as lab:
    lab.start_client()
    print(lab.folder, *lab.processes.pids(), flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as running:
        yield running


def ask(lab: Lab, address: str, path: str, token: str | None = None) -> tuple[int, str]:
    url = f"http://{address}:{lab.ports.web}{path}"
    request = urllib.request.Request(url, data=None if token is None else token.encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_the_hosts_run_postgresql_16_and_18_and_not_as_root(lab: Lab) -> None:
    for which, version in (("old", 16), ("new", 18)):
        with lab.connect(which) as connection:
            assert connection.info.server_version // 10000 == version
        owner = Path(lab.old.data if which == "old" else lab.new.data).stat().st_uid
        assert owner != 0


def test_an_order_is_in_the_database_once_it_is_acknowledged(lab: Lab) -> None:
    status, number = ask(lab, texts.OLD, "/orders", "token-1")
    assert status == 201
    with lab.connect("old") as connection:
        found = connection.execute("SELECT id FROM orders WHERE token = 'token-1'").fetchall()
    assert found == [(int(number),)]
    assert ask(lab, texts.OLD, "/orders/token-1") == (200, number)
    assert ask(lab, texts.OLD, "/orders/token-2") == (404, "not found")


def test_health_names_the_host(lab: Lab) -> None:
    assert ask(lab, texts.OLD, "/health") == (200, "ok old")
    assert ask(lab, texts.NEW, "/health") == (200, "ok new")


def test_maintenance_closes_the_old_host_only(lab: Lab) -> None:
    lab.maintenance.touch()
    try:
        assert ask(lab, texts.OLD, "/health") == (503, "maintenance")
        assert ask(lab, texts.OLD, "/orders", "token-3") == (503, "maintenance")
        assert ask(lab, texts.NEW, "/health") == (200, "ok new")
    finally:
        lab.maintenance.unlink()
    assert ask(lab, texts.OLD, "/health") == (200, "ok old")


def test_the_application_comes_back_when_its_connections_were_cut(lab: Lab) -> None:
    assert ask(lab, texts.OLD, "/health") == (200, "ok old")
    with lab.connect("old") as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'shop'"
        assert connection.execute(cut).fetchone() != (0,)
    assert ask(lab, texts.OLD, "/health") == (200, "ok old")
    assert ask(lab, texts.OLD, "/orders", "token-4")[0] == 201


def test_a_database_that_refuses_is_a_503_and_not_an_order(lab: Lab) -> None:
    with lab.connect("old") as connection:
        connection.execute("ALTER DATABASE shop SET default_transaction_read_only = on")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'")
        try:
            assert ask(lab, texts.OLD, "/orders", "token-5") == (503, "the database does not answer")
        finally:
            connection.execute("ALTER DATABASE shop RESET default_transaction_read_only")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'")
        assert connection.execute("SELECT count(*) FROM orders WHERE token = 'token-5'").fetchone() == (0,)


def test_the_application_and_the_administrator_need_their_passwords(lab: Lab) -> None:
    for user in ("admin", "shop"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host="127.0.0.1",
                port=lab.ports.old,
                user=user,
                password="no",
                dbname="shop",
                passfile="/dev/null",
            )


def test_every_file_is_the_owners_and_the_plan_holds_no_secret(lab: Lab) -> None:
    files = [path for path in lab.folder.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    secrets = [line.split(":")[4] for line in (lab.folder / "passwords.conf").read_text().splitlines()]
    secrets.append((lab.folder / "shop.key").read_text().split('"')[3])
    shown = lab.plan.read_text() + subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert [secret for secret in secrets if secret in shown] == []


def test_users_place_orders_and_each_acknowledged_one_is_kept(lab: Lab) -> None:
    lab.start_client(rate=50)
    log = lab.folder / "acknowledged.log"
    while not log.exists() or log.read_text().count("\n") < 20:
        pass
    lab.stop_client()
    tokens = [line.split()[0] for line in log.read_text().splitlines()]
    with lab.connect("old") as connection:
        kept = connection.execute("SELECT count(*) FROM orders WHERE token = ANY(%s)", (tokens,)).fetchone()
    assert kept == (len(tokens),)


def test_an_order_that_is_lost_or_doubled_is_named(lab: Lab) -> None:
    log = lab.folder / ACKNOWLEDGED
    (lab.folder / REFUSED).touch()
    kept = log.read_text() if log.exists() else ""
    try:
        for token in ("kept", "double", "double"):
            assert ask(lab, texts.OLD, "/orders", token)[0] == 201
        log.write_text("kept 1 old\ndouble 2 old\nlost 3 new\n")
        found = account(lab, lab.serving())
    finally:
        log.write_text(kept)
    assert (found.missing, found.twice, found.holds) == (("lost",), ("double",), False)
    assert "1 MISSING, 1 TWICE" in found.says()


def test_the_plan_is_one_that_switchover_reads(lab: Lab) -> None:
    spec = Spec.model_validate(tomllib.loads(lab.plan.read_text()))
    assert (spec.dns.from_, spec.dns.to) == (texts.OLD, texts.NEW)
    assert (lab.folder / str(spec.dns.provider.key_file)).is_file()
    assert {item.id for item in spec.checklist} == set(ATTESTED)


def test_the_demo_shows_a_reports_headline_and_outage() -> None:
    report = [
        "# shop",
        "",
        "**Done.**",
        "## Proved",
        "- this",
        "## Outage",
        "3.50 s",
        "## Durations",
        "| a |",
    ]
    assert highlights(report) == ["# shop", "", "**Done.**", "## Outage", "3.50 s"]


def test_setting_the_window_changes_that_line_and_nothing_else(lab: Lab) -> None:
    before = lab.plan.read_text().splitlines()
    set_window(lab, datetime(2026, 12, 5, 22, 0, 1, tzinfo=UTC))
    after = lab.plan.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new for _, new in changed] == ["start        = 2026-12-05T22:00:01"]


RUNNER = """
import signal, sys
from pathlib import Path
from switchover.plan.lock import RunLock
lock = RunLock.take(Path(sys.argv[1]), "r1")
print("held", flush=True)
signal.pause()
"""


def test_a_runner_that_the_wizard_left_working_is_ended(lab: Lab) -> None:
    argv = [sys.executable, "-c", RUNNER, str(lab.plan)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as runner:
        try:
            assert runner.stdout.readline() == b"held\n"
            end_runner(lab)
            assert runner.wait(10) == -signal.SIGTERM
        finally:
            runner.kill()
    end_runner(lab)
    assert not is_held(lab.plan)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_wheel_that_postgresqls_user_cannot_reach_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    user = server_user()
    with tempfile.TemporaryDirectory() as closed, tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o711)
        for folder in (wheel(), wheel().with_name(f"{wheel().name}.libs")):
            shutil.copytree(folder, Path(closed) / folder.name)
        monkeypatch.syspath_prepend(closed)
        monkeypatch.delitem(sys.modules, wheel().name, raising=False)
        home = installs(Path(place), user)
        assert home.is_relative_to(place)
        asked = [home / "pginstall" / "bin" / "initdb", "--version"]
        said = subprocess.run(asked, user=user.uid, group=user.gid, cwd="/", capture_output=True, text=True)
        assert "PostgreSQL) 16" in said.stdout


def test_without_the_wheel_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run_demo(auto=True, keep=False, wizard=lambda _: 0) == 2
    assert "pip install 'switchover[demo]'" in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_lab_is_ended_by(sign: signal.Signals) -> None:
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", HOLDER], **quiet) as holder:
        try:
            folder, *pids = holder.stdout.readline().decode().split()
            watched = [os.pidfd_open(int(pid)) for pid in pids]
        finally:
            holder.send_signal(sign)
    for pidfd in watched:
        wait_for_end(pidfd)
    assert [pid for pid in pids if not gone(int(pid))] == []
    assert not Path(folder).exists()
    assert not [line for line in processes() if folder in line]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_stopped_by_a_signal_says_so_and_cleans_up(sign: signal.Signals) -> None:
    argv = [
        sys.executable,
        "-c",
        "from switchover.demo.auto import run_demo; exit(run_demo(auto=True, keep=False, wizard=lambda _: 0))",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        folder = demo.stdout.readline().split()[-1]
        assert Path(folder).is_dir()
        demo.send_signal(sign)
        assert "stopped" in demo.stderr.read()
        assert demo.wait(20) == 1
    assert not Path(folder).exists()
    assert not [line for line in processes() if folder in line]


def wait_for_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(20_000), "a process outlived the lab"
    os.close(pidfd)


def processes() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()


def test_a_lab_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setattr("tempfile.tempdir", folder)
        monkeypatch.setattr("switchover.demo.texts.SHOP_ZONE", "this is no zone")
        with pytest.raises(LabFailed, match="nameserver ended"), Lab():
            pass
        assert list(Path(folder).iterdir()) == []
