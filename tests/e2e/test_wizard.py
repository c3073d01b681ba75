"""The wizard on a real terminal, driven as a person does, over a real switchover."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time

import pytest

from tests.e2e.world import World


class Terminal:
    """A tmux session: what a person would see and press."""

    def __init__(self, world: World, columns: int, rows: int) -> None:
        self.name = f"switchover-test-{columns}"
        command = shlex.join([sys.executable, "-m", "switchover", str(world.plan)])
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), f"{command}; sleep 60", env=world.env())

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        argv = ["tmux", "-L", self.name, *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def see(self, pattern: str, patience_s: float = 60) -> str:
        """Wait until the screen shows it; the screen is asked again and again, as eyes do."""
        deadline = time.monotonic() + patience_s
        while True:
            screen = self._tmux("capture-pane", "-p")
            if re.search(pattern, screen):
                return screen
            assert time.monotonic() < deadline, f"never saw {pattern!r}:\n{screen}"
            time.sleep(0.1)

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.mark.parametrize(("columns", "rows"), [(120, 36), (80, 24)])
def test_a_whole_cutover_through_the_wizard(world: World, columns: int, rows: int) -> None:
    world.prepare()
    terminal = Terminal(world, columns, rows)
    try:
        terminal.see("⏎ start the cutover")
        terminal.press("Enter")
        terminal.see("Type +demo-shop")
        time.sleep(0.6)  # the dialog is deaf for half a second, on purpose
        terminal.press("demo-shop", "Enter")
        terminal.see("running")
        terminal.see("⏎ start verify")
        terminal.press("Enter")
        terminal.see("⏎ start finish")
        terminal.press("Enter")
        terminal.see("y does it")
        time.sleep(0.6)
        terminal.press("y")
        terminal.see("nothing left to do")
        terminal.press("r")
        terminal.see("users are on the new host")
    finally:
        terminal.close()
    assert world.progress().finished
