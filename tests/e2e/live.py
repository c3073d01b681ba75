"""What the tests of a live copy share: writes of every kind, what may be left behind, and the report's pauses."""

from __future__ import annotations

import json
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
