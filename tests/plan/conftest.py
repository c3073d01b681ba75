"""A plan file that is right in every line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """\
version = 1
name    = "acme-shop"   # the operator's own words

[database]
source = "service=shop_old"
target = "service=shop_new"

[dns]
names   = ["shop.example.com", "www.shop.example.com"]
from    = "203.0.113.10"
to      = "198.51.100.20"

[window]
start    = 2026-12-05T22:00:00
timezone = "America/Toronto"
length   = "2h"

[[health]]
name   = "front page"
url    = "https://shop.example.com/health"
expect = { status = 200, contains = "ok" }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(PLAN)
    return path
