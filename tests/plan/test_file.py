"""The plan file survives torn writes, full disks, editors and other writers; what cannot be mended is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from switchover.plan.file import (
    PlanDamaged,
    PlanReplaced,
    PlanUnreadable,
    Writer,
    append,
    load,
)
from switchover.plan.journal import Draft, What

if TYPE_CHECKING:
    from pathlib import Path

NOTE = Draft("rehearsal", "dump", What.NOTE, {"text": 'a "quoted"\nline', "n": 1, "list": [1.5, True, {"x": "y"}]})


def test_an_entry_comes_back_as_it_was_written_and_the_operators_part_stays(plan: Path) -> None:
    before = plan.read_text()
    written = append(plan, NOTE)
    loaded = load(plan)
    assert loaded.entries == (written,)
    assert plan.read_text().startswith(before)
    assert loaded.text.startswith(before)


def test_the_whole_file_stays_one_toml_document(plan: Path) -> None:
    import tomllib

    for _ in range(3):
        append(plan, NOTE)
    raw = tomllib.loads(plan.read_text())
    assert [entry["seq"] for entry in raw["journal"]] == [1, 2, 3]
    assert raw["name"] == "acme-shop"


def test_a_last_entry_torn_at_any_byte_is_dropped_kept_aside_and_recorded(plan: Path) -> None:
    append(plan, NOTE)
    whole = plan.read_bytes()
    append(plan, NOTE)
    last = plan.read_bytes()[len(whole) :]
    for cut in range(len(last)):
        plan.write_bytes(whole + last[:cut])
        loaded = load(plan)
        assert len(loaded.entries) == 1
        assert (loaded.torn is None) == (cut == 0)
        append(plan, NOTE)
        after = load(plan)
        assert [entry.what for entry in after.entries] == (
            [What.NOTE] * 2 if cut == 0 else [What.NOTE, What.RECOVERED, What.NOTE]
        )
        for aside in plan.parent.glob("*.torn-*"):
            assert aside.read_bytes() == last[:cut]
            assert aside.stat().st_mode & 0o777 == 0o600
            aside.unlink()


def test_a_bad_entry_before_a_good_one_is_refused_and_named(plan: Path) -> None:
    for _ in range(3):
        append(plan, NOTE)
    plan.write_text(plan.read_text().replace('n" = 1', 'n" = 2', 1))
    with pytest.raises(PlanDamaged, match="entry 1 is damaged"):
        load(plan)


def test_reordered_entries_are_refused(plan: Path) -> None:
    for _ in range(3):
        append(plan, NOTE)
    head, *blocks = plan.read_text().split("[[journal]]\n")
    plan.write_text("[[journal]]\n".join([head, blocks[1], blocks[0], blocks[2]]))
    with pytest.raises(PlanDamaged, match="entry 1"):
        load(plan)


@pytest.mark.parametrize("below", ['colour = "red"\n', "[extra]\nkey = 1\n"])
def test_keys_put_below_the_marker_are_refused_and_not_cut_off(plan: Path, below: str) -> None:
    append(plan, NOTE)
    text = plan.read_text() + below
    plan.write_text(text)
    with pytest.raises(PlanUnreadable, match="below the marker"):
        append(plan, NOTE)
    assert plan.read_text() == text


def test_an_editor_that_replaces_the_file_is_noticed_and_its_edit_kept(plan: Path) -> None:
    append(plan, NOTE)
    writer = Writer(plan, load(plan))
    writer.append(NOTE)
    edited = plan.with_name("edited")
    edited.write_text(plan.read_text().replace("the operator's own words", "edited"))
    edited.rename(plan)
    writer.append(NOTE)
    assert len(load(plan).entries) == 3
    assert "edited" in plan.read_text()


def test_a_file_replaced_by_an_older_copy_stops_the_writer(plan: Path) -> None:
    append(plan, NOTE)
    older = plan.read_bytes()
    writer = Writer(plan, load(plan))
    writer.append(NOTE)
    plan.write_bytes(older)
    with pytest.raises(PlanReplaced, match="entry 2"):
        writer.append(NOTE)
    assert plan.read_bytes() == older


def test_a_watchers_decision_and_the_runners_entries_never_interleave(plan: Path) -> None:
    append(plan, NOTE)
    writer = Writer(plan, load(plan))
    append(plan, Draft("cutover", "", What.DECIDED, {"hold": "go", "choice": "go"}), who="dana@ops")
    writer.append(NOTE)
    assert [entry.what for entry in writer.entries] == [What.NOTE, What.DECIDED, What.NOTE]
    assert load(plan).entries == tuple(writer.entries)


MANY = """
import sys
from pathlib import Path
from switchover.plan.file import append
from switchover.plan.journal import Draft, What
for number in range(25):
    append(Path(sys.argv[1]), Draft("", "", What.NOTE, {"from": sys.argv[2], "n": number}))
"""


def test_four_processes_append_at_once_and_nothing_is_lost(plan: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", MANY, str(plan), str(each)]) for each in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    entries = load(plan).entries
    assert len(entries) == 100
    assert {(entry.data["from"], entry.data["n"]) for entry in entries} == {
        (str(a), b) for a in range(4) for b in range(25)
    }


FULL = """
import resource, signal, sys
from pathlib import Path
from switchover.plan.file import PlanUnwritable, Writer, load
from switchover.plan.journal import Draft, What
plan = Path(sys.argv[1])
writer = Writer(plan, load(plan))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (plan.stat().st_size + int(sys.argv[2]),) * 2)
try:
    writer.append(Draft("", "", What.NOTE, {"text": "x" * 200}))
except PlanUnwritable as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 1, 40, 300])
def test_a_full_disk_stops_the_run_and_leaves_the_file_whole(plan: Path, room: int) -> None:
    append(plan, NOTE)
    before = plan.read_bytes()
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(plan), str(room)], capture_output=True, text=True, check=True
    )
    assert "could not be written" in said.stdout
    assert plan.read_bytes() == before


ENDLESS = """
import sys
from pathlib import Path
from switchover.plan.file import Writer, load
from switchover.plan.journal import Draft, What
plan = Path(sys.argv[1])
writer = Writer(plan, load(plan))
print("ready", flush=True)
while True:
    writer.append(Draft("", "", What.NOTE, {"text": "x" * 6000}))
"""


def test_a_writer_killed_in_a_tight_loop_leaves_a_journal_that_goes_on(plan: Path) -> None:
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, str(plan)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        start = plan.stat().st_size
        while plan.stat().st_size < start + 40_000:
            os.sched_yield()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        entries = load(plan).entries
        append(plan, NOTE)
        assert load(plan).entries[: len(entries)] == entries


def test_values_from_outside_cannot_break_the_file(plan: Path) -> None:
    hostile = 'x"]\n[[journal]]\nseq = 9\n\x1b]0;t\x07\u202e\ud800\x00'
    append(
        plan,
        Draft(
            "s",
            hostile.replace("\n", " "),
            What.NOTE,
            {"t": hostile, hostile: hostile, "none": None, "big": 2**60, "nan": float("nan")},
        ),
    )
    append(plan, NOTE)
    entries = load(plan).entries
    assert len(entries) == 2
    assert entries[0].data["big"] == str(2**60)
    assert "\x1b" not in plan.read_text()


@pytest.mark.parametrize("make", ["fifo", "writable", "huge"])
def test_what_is_no_plan_file_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / "plan.toml"
    if make == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"#" * (9 * 1024 * 1024 if make == "huge" else 10))
        path.chmod(0o666 if make == "writable" else 0o600)
    with pytest.raises(PlanUnreadable):
        load(path)
