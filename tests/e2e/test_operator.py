"""What an operator does besides running: edits by hand, watches, reads what hooks and servers say."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

from switchover.demo import texts
from switchover.plan.outline import StepName
from switchover.plan.progress import StepStatus
from tests.e2e.world import World

HOSTILE = "\\033]0;owned\\007 \\033[31m [@click=app.quit()]x[/] \\342\\200\\256 \\377\\000 [/] done\\n"


def test_a_record_edited_by_hand_is_watched_until_every_address_serves_it(world: World) -> None:
    world.reset()
    text = world.plan.read_text()
    start, end = text.index('kind     = "rfc2136"'), text.index("[window]")
    world.plan.write_text(text[:start] + 'kind = "manual"\n\n' + text[end:])
    assert world.command("run", "--through", "rehearsal").code == 0
    runner = subprocess.Popen(
        [sys.executable, "-m", "switchover", "run", str(world.plan), "--through", "lower-ttl"],
        env=world.env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    said = ""
    while "TTL:" not in said:
        said += runner.stdout.readline()
    assert "Zone:   shop.test" in said
    assert re.search(r"Value: +127\.0\.0\.31", said)
    world.point(texts.OLD, 1)
    assert runner.wait(timeout=60) == 0
    runner.stdout.close()
    facts = next(state.facts for state in world.progress().steps if state.name is StepName.LOWER_TTL)
    assert facts["original_ttl"] == {"shop.test": 2}


def test_what_a_hook_says_is_shown_without_a_single_escape(world: World) -> None:
    world.prepare()
    hook = world.lab.folder / "hook.sh"
    hook.write_text(f"printf '{HOSTILE}'; head -c 1000000 /dev/zero | tr '\\\\0' 'y'\n")
    text = world.plan.read_text()
    world.plan.write_text(re.sub(r"on  = .*", f'on  = {{ command = ["sh", "{hook}"] }}', text))
    assert world.through("window").code == 0
    leader, follower = pty.openpty()
    runner = subprocess.Popen(
        [sys.executable, "-m", "switchover", "run", str(world.plan), "--yes"],
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        seen += chunk
    os.close(leader)
    assert runner.wait(timeout=60) == 0, seen[-500:]
    assert b"done" in seen
    assert not set(seen) & set(b"\x1b\x07\x00\x9b")
    assert "\u202e" not in seen.decode(errors="replace")
    assert "\x1b" not in world.plan.read_text()


def test_a_watcher_sees_the_run_to_its_end(world: World) -> None:
    world.prepare()
    runner = subprocess.Popen(
        [sys.executable, "-m", "switchover", "run", str(world.plan), "--yes", "--through", "cutover"],
        env=world.env(),
        stdout=subprocess.DEVNULL,
    )
    while not (run := world.progress().run) or run.outcome:
        time.sleep(0.02)
    watched = world.command("status", "--follow")
    assert runner.wait(timeout=60) == 0
    assert "cutover open-target done" in watched.out
    assert "ended" in watched.out


def test_a_changed_target_makes_the_steps_stale_and_bars_the_cutover(world: World) -> None:
    world.prepare()
    text = world.plan.read_text()
    world.plan.write_text(text.replace('to          = "127.0.0.32"', 'to          = "127.0.0.33"'))
    states = {state.name: state for state in world.progress().steps}
    assert states[StepName.LOWER_TTL].status is StepStatus.STALE
    assert "127.0.0.32" in states[StepName.READINESS].why
    assert world.command("run", "--yes").code == 1


def test_the_calendar_file_names_the_window_in_its_zone(world: World) -> None:
    from icalendar import Calendar

    world.prepare()
    folder = world.plan.with_name("shop.toml.d")
    calendar = Calendar.from_ical((folder / "window.ics").read_bytes())
    (event,) = calendar.walk("VEVENT")
    from switchover.plan.file import load

    window = load(world.plan).spec.window
    assert window is not None
    assert event["dtstart"].dt == window.opens
    assert event["dtend"].dt == window.closes
    assert "shop.test" in (folder / "notice.txt").read_text()
    recovery = folder / "runbook.md"
    assert recovery.read_text().startswith("# Recovery plan: ")
    assert recovery.stat().st_mode & 0o777 == 0o600


def test_check_looks_at_everything_and_changes_nothing(world: World) -> None:
    world.reset()
    before = world.plan.read_bytes(), world.state()
    ended = world.command("check")
    assert "both servers are fit for the copy" in ended.out
    assert ended.code == 1  # nothing has been rehearsed, so the forecast is unknown, and unknown counts as no
    assert (world.plan.read_bytes(), world.state()) == before


def test_a_hostile_table_name_is_moved_and_named_without_a_single_escape(world: World) -> None:
    name = "[@click=app.quit()]a[/] b \x1b]0;owned\x07\x1b[31m\u202e; DROP TABLE x; -- " + "'\\n"
    quoted = '"' + name.replace('"', '""') + '"'
    world.prepare()
    world.sql("old", f"CREATE TABLE {quoted} (id int PRIMARY KEY, t text); INSERT INTO {quoted} VALUES (1, 'x')")
    change = world.lab.folder / "fault.py"
    copy = f"switchover_copy_{world.progress().plan_id[:12]}"
    server = f"host=127.0.0.1 port={world.lab.new.port} user=admin password={world.lab._admin} dbname={copy}"
    statement = f"UPDATE {quoted} SET t = 'y'"
    change.write_text(f"import psycopg\npsycopg.connect({server!r}, autocommit=True).execute({statement!r})\n")
    ended = world.through("finish", fault=f"before:{change}:cutover/compare-final/intent")
    change.unlink()
    assert ended.code == 1
    assert "[@click=app.quit()]" in ended.err
    everything = ended.out + ended.err + world.plan.read_text() + world.command("report").out
    assert not set(everything) & set("\x1b\x07\u202e")
    ended = world.through("finish")
    assert ended.code == 0, ended.err
    assert world.sql("new", f"SELECT t FROM {quoted}") == [("x",)]


def test_a_neighbour_database_whose_name_is_no_utf8_disturbs_nothing(world: World) -> None:
    world.prepare()
    bad = b'"bad\xff\xfe\x1b[31m"'
    ascii_only = "CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    for which in ("old", "new"):
        with world.lab.connect(which, "postgres") as connection:
            connection.autocommit = True
            connection.execute(ascii_only)
        with world.lab.connect(which, "bytes") as connection:
            connection.autocommit = True
            connection.execute(b"CREATE DATABASE " + bad)
    try:
        ended = world.through("finish")
    finally:
        for which in ("old", "new"):
            with world.lab.connect(which, "bytes") as connection:
                connection.autocommit = True
                connection.execute(b"DROP DATABASE " + bad)
            with world.lab.connect(which, "postgres") as connection:
                connection.autocommit = True
                connection.execute("DROP DATABASE bytes WITH (FORCE)")
    assert ended.code == 0, ended.err
    assert world.progress().finished


def survey(world: World) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "switchover", "dns", "--plan", str(world.plan), "--json"],
        env=world.env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return dict(json.loads(ended.stdout))


def test_the_survey_follows_the_plan_from_before_to_cut(world: World) -> None:
    world.reset()
    before = survey(world)
    assert (before["expected"]["phase"], before["t0"], before["proved"]) == ("before", None, False)
    assert {row["state"] for row in before["authoritative"]} == {"old"}
    world.prepare()
    lowered = survey(world)
    facts = next(state.facts for state in world.progress().steps if state.name is StepName.LOWER_TTL)
    assert (lowered["expected"]["phase"], {row["state"] for row in lowered["authoritative"]}) == ("lowered", {"low"})
    assert datetime.fromisoformat(lowered["t0"]) == datetime.fromisoformat(str(facts["t0"])).replace(
        microsecond=int(lowered["t0"][20:23]) * 1000
    )
    assert world.through("verify").code == 0
    cut = survey(world)
    assert (cut["expected"]["phase"], {row["state"] for row in cut["authoritative"]}) == ("cut", {"new"})
    assert datetime.fromisoformat(cut["safe"]) > datetime.fromisoformat(lowered["safe"])


def test_a_run_killed_while_it_watches_watches_again_before_it_believes(world: World) -> None:
    """The record is right by then; that it stays so is looked at for as long as ever."""
    world.reset()
    assert world.command("run", "--through", "rehearsal").code == 0
    runner = subprocess.Popen(
        [sys.executable, "-m", "switchover", "run", str(world.plan), "--through", "lower-ttl", "--events"],
        env=world.env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    while "addresses serve it" not in runner.stdout.readline():
        pass
    runner.kill()
    runner.stdout.close()
    runner.wait()
    assert world.command("run", "--through", "lower-ttl").code == 0
    entries = [entry for entry in world.entries() if entry.action.startswith("set-ttl ")]
    assert [entry.what.value for entry in entries] == ["intent", "intent", "done"]
    rows = entries[-1].data["result"]["servers"]  # type: ignore[index,call-overload]
    assert all(row["probes"] >= 3 and row["proved"] for row in rows)
    facts = next(state.facts for state in world.progress().steps if state.name is StepName.LOWER_TTL)
    assert facts["original_ttl"] == {"shop.test": 2}
