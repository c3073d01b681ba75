"""What the tests of a live copy share: writes of every kind, what may be left behind, and the report's pauses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.world import World

LEFT = (
    "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication "
    "UNION ALL SELECT subname FROM pg_subscription UNION ALL SELECT roname FROM pg_replication_origin "
    "UNION ALL SELECT 'identity of ' || relname FROM pg_class WHERE relkind = 'r' AND relreplident = 'f' "
    "UNION ALL SELECT 'markers' FROM pg_class WHERE relname = 'marker'"
)


def write(world: World, which: str, first: int) -> None:
    """Rows of every kind on one side, as its application would write them: with and without a key, and sequences."""
    world.sql(
        which,
        "SET ROLE shop; "
        f"INSERT INTO customers (name, email) SELECT 'n' || n, 'e{first}-' || n || '@shop.test' "
        "FROM generate_series(1, 20) n; "
        f"INSERT INTO orders (token, customer, sku) SELECT 't{first}-' || n, n, 'SKU-' || n "
        "FROM generate_series(1, 20) n; "
        f"INSERT INTO visits SELECT now(), '/{first}', n FROM generate_series(1, 20) n; "
        "UPDATE visits SET ms = ms + 1 WHERE ms < 5; DELETE FROM visits WHERE ms = 7; "
        "UPDATE products SET stock = stock + 1; DELETE FROM orders WHERE id % 17 = 3",
    )


def left(world: World, which: str) -> list[tuple[object, ...]]:
    return world.sql(which, LEFT)


def pauses(world: World) -> list[dict[str, Any]]:
    said: dict[str, Any] = json.loads(world.command("report", "--format", "json").out)
    return list(said["pauses"])


@contextmanager
def stalled_at(world: World, which: str, where: str) -> Iterator[tuple[str, int]]:
    """The fault that stops a side's walsender at a journal entry, and its pid; it goes on afterwards."""
    stall = world.lab.folder / "stall.py"
    pid = int(str(world.sql(which, "SELECT active_pid FROM pg_replication_slots WHERE active")[0][0]))
    stall.write_text(f"import os, signal; os.kill({pid}, signal.SIGSTOP)")
    try:
        yield f"before:{stall}:{where}", pid
    finally:
        os.kill(pid, signal.SIGCONT)


def lose_changes(world: World, which: str) -> None:
    """Let the slot on a side exceed what it may hold, while the other server is away."""
    with world.away("new" if which == "old" else "old"):
        for setting in ("SET max_slot_wal_keep_size = '1MB'", "RESET max_slot_wal_keep_size"):
            alter(world, which, setting)
            for _ in range(4):
                world.sql(which, "SELECT pg_logical_emit_message(true, 'x', 'x')", "postgres")
                world.sql(which, "SELECT pg_switch_wal()", "postgres")
            world.sql(which, "CHECKPOINT", "postgres")
    assert world.sql(which, "SELECT wal_status FROM pg_replication_slots", "postgres") == [("lost",)]


def alter(world: World, which: str, setting: str) -> None:
    """Change a setting of a server, and let it be in force."""
    with world.lab.connect(which, "postgres") as session:
        session.autocommit = True
        session.execute(f"ALTER SYSTEM {setting}".encode())
        session.execute("SELECT pg_reload_conf()")
