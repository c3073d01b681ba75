from __future__ import annotations

from tests.postgres.conftest import Pair


def test_each_pair_is_fresh_on_16_and_18(pair: Pair) -> None:
    assert "16" in str(pair.source.run("select version()"))
    assert "18" in str(pair.target.run("select version()"))
