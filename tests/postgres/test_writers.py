"""The fence against a fleet of writers; twenty such cutovers are in tests/campaign/test_writers.py."""

from __future__ import annotations

import pytest

from tests.postgres.conftest import Pair
from tests.postgres.fleet import Cutover


@pytest.mark.parametrize(("superuser", "undone"), [(True, False), (False, True)])
async def test_every_acknowledged_write_is_on_the_live_side_once(pair: Pair, superuser: bool, undone: bool) -> None:
    """Carried through with a superuser's plan; undone with an owner's, and every setting as it was."""
    cutover = Cutover(pair, superuser=superuser, undone=undone)
    await cutover.run()
    assert cutover.writes > 0
