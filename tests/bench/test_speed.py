"""Speed, as ratios of one run:  pytest -o addopts= -s tests/bench"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from switchover.plan.file import Writer, load
from switchover.plan.journal import Draft, What
from tests.plan.conftest import PLAN

NOTE = Draft("cutover", "dump-final", What.DONE, {"proof": {"bytes": 123456789, "tables": 42}, "seconds": 12.345})


def timed(work: Callable[[], object], times: int = 7) -> float:
    """The median of some runs, in seconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def test_append_against_a_bare_write_and_sync(tmp_path: Path) -> None:
    plan = tmp_path / "shop.toml"
    plan.write_text(PLAN)
    bare = os.open(tmp_path / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def sync() -> None:
        os.write(bare, b"x" * 400)
        os.fsync(bare)

    writer = Writer(plan, load(plan))
    ratios = {}
    for size in (1, 10_000):
        while len(writer.entries) < size:
            writer.append(NOTE)
        ratios[size] = timed(lambda: writer.append(NOTE), 101) / timed(sync, 101)
    os.close(bare)
    print(f"\nappend / bare write+fsync: {ratios[1]:.2f} at 1 entry, {ratios[10_000]:.2f} at 10,000")
    assert ratios[10_000] < 3 * ratios[1], "an append must not grow with the journal"


def test_load_of_a_thousand_entries_against_a_bare_parse(tmp_path: Path) -> None:
    plan = tmp_path / "shop.toml"
    plan.write_text(PLAN)
    writer = Writer(plan, load(plan))
    for _ in range(1000):
        writer.append(NOTE)
    text = plan.read_text()
    whole, bare = timed(lambda: load(plan), 5), timed(lambda: tomllib.loads(text), 5)
    print(f"\nload of 1,000 entries: {whole * 1000:.0f} ms, {whole / bare:.2f} of a bare parse")
    assert whole / bare < 3


def test_help_against_an_empty_interpreter() -> None:
    def run(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *argv], stdout=subprocess.DEVNULL, check=True)

    helped, empty = timed(run("-m", "switchover", "--help")), timed(run("-c", "pass"))
    print(f"\n--help: {helped * 1000:.0f} ms, an empty interpreter {empty * 1000:.0f} ms, {helped / empty:.1f} times")


def test_first_paint_against_an_empty_textual_app(tmp_path: Path) -> None:
    from textual.app import App

    from switchover.tui.app import Wizard

    plan = tmp_path / "shop.toml"
    plan.write_text(PLAN)

    def paint(make: Callable[[], App[object]]) -> Callable[[], object]:
        async def go() -> None:
            async with make().run_test(size=(120, 36)) as pilot:
                await pilot.pause()

        return lambda: asyncio.run(go())

    ours, empty = timed(paint(lambda: Wizard(plan)), 5), timed(paint(App), 5)  # type: ignore[arg-type, return-value]
    print(f"\nfirst paint: {ours * 1000:.0f} ms, an empty app {empty * 1000:.0f} ms, {ours / empty:.1f} times")
