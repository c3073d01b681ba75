"""What of a plan is another than it was, as a person reads it."""

from __future__ import annotations

import pytest

from switchover.plan.drift import changes
from switchover.plan.journal import Json


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ({"length": 3600}, {"length": 7200}, "window.length was 1h, is 2h"),
        (
            {"start": "2026-12-05T22:00:00", "timezone": "UTC"},
            {"start": "2026-12-06T22:00:00", "timezone": "UTC", "contact": "help@shop.example.com"},
            "window.start was 2026-12-05T22:00:00, is 2026-12-06T22:00:00; "
            "window.contact was not set, is help@shop.example.com",
        ),
        (["a", "b"], [], "window was a, b, is not set"),
        (None, {"length": 7200, "on": {"command": ["x", "y"]}}, "window was not set, is length 2h on command x, y"),
        ({"on": True}, {"on": False}, "window.on was yes, is no"),
        ({"n": 3600}, {"n": 3600.5}, "window.n was 3600, is 3600.5"),
    ],
)
def test_a_change_is_said_key_by_key_and_in_words(was: Json, now: Json, says: str) -> None:
    assert changes({"window": was}, {"window": now}) == f"changed since: {says}"
    assert changes({"window": now}, {"window": now}) == ""
