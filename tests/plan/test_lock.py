"""One runner a plan: the lock says who, outlives a killed runner through its children, and ends those."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from switchover.plan.lock import Locked, RunLock, is_held, lock_path, read_holder

HOLD = """
import subprocess, sys, time
from pathlib import Path
from switchover.plan.lock import RunLock
lock = RunLock.take(Path(sys.argv[1]), "run-1")
child = subprocess.Popen(["sleep", "600"], pass_fds=(lock.fd,), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def hold(plan: Path) -> tuple[subprocess.Popen[str], int]:
    runner = subprocess.Popen([sys.executable, "-c", HOLD, str(plan)], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    return runner, int(runner.stdout.readline())


def end(runner: subprocess.Popen[str]) -> None:
    runner.kill()
    runner.wait()
    assert runner.stdout is not None
    runner.stdout.close()


def test_a_second_runner_is_told_who_holds_the_plan(plan: Path) -> None:
    runner, child = hold(plan)
    try:
        with pytest.raises(Locked, match="run-1") as caught:
            RunLock.take(plan, "run-2")
        assert caught.value.holder is not None
        assert caught.value.holder.pid == runner.pid
        assert is_held(plan)
    finally:
        end(runner)
        os.kill(child, signal.SIGKILL)


def test_the_children_of_a_killed_runner_are_ended_before_the_next_one_has_the_plan(plan: Path) -> None:
    runner, child = hold(plan)
    end(runner)
    assert is_held(plan)
    lock = RunLock.take(plan, "run-2")
    try:
        assert lock.ended == (child,)
        state = Path(f"/proc/{child}/stat")
        assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
        holder = read_holder(plan)
        assert holder is not None
        assert holder.run == "run-2"
    finally:
        lock.release()
    assert not is_held(plan)


def test_an_editor_that_renames_over_the_plan_does_not_free_it(plan: Path) -> None:
    lock = RunLock.take(plan, "run-1")
    try:
        copy = plan.with_name("copy")
        copy.write_bytes(plan.read_bytes())
        copy.rename(plan)
        with pytest.raises(Locked):
            RunLock.take(plan, "run-2")
    finally:
        lock.release()


def test_the_lock_file_is_private_and_never_followed(plan: Path) -> None:
    RunLock.take(plan, "run-1").release()
    assert lock_path(plan).stat().st_mode & 0o777 == 0o600
    lock_path(plan).unlink()
    lock_path(plan).symlink_to(plan)
    with pytest.raises(OSError, match="symbolic"):
        RunLock.take(plan, "run-1")
