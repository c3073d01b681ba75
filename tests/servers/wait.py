"""Waiting for what a real server does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0
LOOK_EVERY_S = 0.02


def until(happens: Callable[[], object], what: str) -> None:
    """Look until it is so; fails, with what was waited for, when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(LOOK_EVERY_S)
