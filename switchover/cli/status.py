"""``status``, ``report``, ``runbook`` and ``schema``: what the plan file says, without asking the world."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.plan.decide import clocks, has_live_copy, next_key, replicates, way_back, window_clock
from switchover.plan.file import load
from switchover.plan.progress import fold
from switchover.words import duration, glyph, instant

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

LOOK_EVERY_S = 0.25


def status(options: argparse.Namespace) -> int:
    """Print where every step stands; with ``--follow`` print what comes until the run has ended."""
    loaded = load(options.plan)
    progress = fold(loaded.spec, loaded.entries)
    if options.json:
        say(json.dumps(as_json(loaded.spec, progress), indent=2))
    else:
        for line in in_lines(loaded.spec, progress, datetime.now(UTC)):
            say(line)
    if options.follow:
        _follow(options.plan, progress.entries)
    return 0


def report(options: argparse.Namespace) -> int:
    """Print the report."""
    from switchover.report import as_json as report_json
    from switchover.report import make_report, markdown

    loaded = load(options.plan)
    made = make_report(loaded.spec, loaded.entries, fold(loaded.spec, loaded.entries))
    say(markdown(made) if options.format == "md" else report_json(made))
    return 0


def runbook(options: argparse.Namespace) -> int:
    """Print the plan's recovery plan."""
    from switchover.report.runbook import runbook as made

    loaded = load(options.plan)
    say(made(loaded.spec, fold(loaded.spec, loaded.entries), loaded.path.name))
    return 0


def schema(options: argparse.Namespace) -> int:
    """Print the plan file's JSON Schema."""
    from switchover.plan.spec import json_schema

    say(json.dumps(json_schema(), indent=2))
    return 0


def write_reports(path: Path) -> None:
    """Write report and recovery plan beside the plan; 0600, whole or not at all."""
    from switchover.report import as_json as report_json
    from switchover.report import make_report, markdown
    from switchover.report.runbook import runbook as make_runbook

    loaded = load(path)
    progress = fold(loaded.spec, loaded.entries)
    made = make_report(loaded.spec, loaded.entries, progress)
    recovery = make_runbook(loaded.spec, progress, loaded.path.name)
    folder = path.with_name(path.name + ".d")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in (("report.md", markdown(made)), ("report.json", report_json(made)), ("runbook.md", recovery)):
        half = folder / f"{name}.half"
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        half.replace(folder / name)


def in_lines(spec: Spec, progress: Progress, now: datetime) -> list[str]:
    """The whole state in lines for a person."""
    zone = spec.window.zone if spec.window else None
    lines = [f"{spec.name}: {spec.dns.from_} -> {spec.dns.to}"]
    for state in progress.steps:
        took = f"  {duration(state.seconds)}" if state.seconds is not None and state.status == "done" else ""
        lines.append(
            f"  {glyph(state.status)} {state.name:<10} {state.status}{took}" + (f"  {state.why}" if state.why else "")
        )
        lines += [
            f"      {glyph('failed')} {gate.name}: {gate.evidence}" for gate in state.gates if gate.ok is not True
        ]
    if progress.rollback is not None:
        lines.append(
            f"  {glyph(progress.rollback.status)} rollback   {progress.rollback.status}  {progress.rollback.why}"
        )
    key = next_key(spec, progress, now)
    lines.append(f"next: {key.label} ({key.consequence})")
    if progress.hold is not None:
        until = f" until {instant(progress.hold.until, zone)}" if progress.hold.until else ""
        lines.append(f"waits{until}: {progress.hold.reason} [{progress.hold.key}]")
    clock = window_clock(spec, progress, now)
    if clock is not None:
        lines.append(f"window: {clock.says}; latest start {instant(clock.latest_go, zone)}")
    if replicates(progress):
        lines += _live(spec, progress, now)
    lines.append(f"point of no return: {progress.passed}; way back: {way_back(progress).says}")
    if progress.run is not None and not progress.run.outcome:
        lines.append(f"run {progress.run.run} by {progress.run.who} since {instant(progress.run.started, zone)}")
    return lines


def _live(spec: Spec, progress: Progress, now: datetime) -> list[str]:
    """The two clocks, and where the live copy is looked at: this command asks no server."""
    lines = []
    both = clocks(spec, progress, now)
    if both is not None:
        state = " so far" if both.pausing else ", then undone" if both.undone else ""
        lines.append(f"writes paused: {duration(both.paused_s)}{state}, at most {duration(spec.replicate.budget)}")
        if both.reached_s is not None:
            lines.append(f"clients led to the new host after: {duration(both.reached_s)}")
    if has_live_copy(progress) and not progress.finished:
        lines.append("live copy: `switchover lag` asks both servers how far it is behind")
    return lines


def as_json(spec: Spec, progress: Progress) -> dict[str, object]:
    """The whole state for a program."""
    hold = progress.hold
    return {
        "name": spec.name,
        "plan_id": progress.plan_id,
        "entries": progress.entries,
        "head": progress.head,
        "next": progress.next,
        "finished": progress.finished,
        "rolled_back": progress.rolled_back,
        "point_of_no_return": progress.passed,
        "way_back": way_back(progress).kind,
        "clocks": asdict(both) if (both := clocks(spec, progress, datetime.now(UTC))) is not None else None,
        "hold": None
        if hold is None
        else {
            "step": hold.step,
            "key": hold.key,
            "reason": hold.reason,
            "kind": hold.kind,
            "until": hold.until.isoformat() if hold.until else None,
        },
        "run": None
        if progress.run is None
        else {"run": progress.run.run, "who": progress.run.who, "outcome": progress.run.outcome},
        "steps": [
            {
                "name": state.name,
                "status": state.status,
                "why": state.why,
                "attempt": state.attempt,
                "actions": {action.id: action.status for action in state.actions},
                "facts": dict(state.facts),
            }
            for state in (*progress.steps, *([progress.rollback] if progress.rollback else []))
        ],
    }


def _follow(path: Path, seen: int) -> None:
    """Print entries and ticks as they come; the file is looked at, never locked."""
    live = path.with_name(path.name + ".live")
    at = live.stat().st_size if live.exists() else 0
    while True:
        loaded = load(path)
        for entry in loaded.entries[seen:]:
            say(f"{entry.at:%H:%M:%S}Z {entry.step} {entry.action} {entry.what}".replace("  ", " "))
        seen = len(loaded.entries)
        at = _print_ticks(live, at)
        run = fold(loaded.spec, loaded.entries).run
        if run is None or run.outcome:
            return
        time.sleep(LOOK_EVERY_S)


def _print_ticks(live: Path, at: int) -> int:
    if not live.exists():
        return 0
    size = live.stat().st_size
    if size < at:
        at = 0
    with live.open("rb") as file:
        file.seek(at)
        whole, _, _ = file.read().rpartition(b"\n")
    for line in whole.splitlines():
        tick = json.loads(line)
        if tick["kind"] in ("log", "progress"):
            say(f"    {tick['step']} {tick['action']}: {tick['say']}")
    return at + len(whole) + 1 if whole else at
