"""A dump restored on the other version is the same, and stays the program's own doing."""

from __future__ import annotations

from pathlib import Path

from switchover.children import Children
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.copy import Tools, analyze, dump, restore
from switchover.postgres.scratch import create_copy
from tests.postgres.conftest import APP, Pair, silent
from tests.postgres.zoo import ZOO


def tools(pair: Pair, jobs: int = 2) -> Tools:
    return Tools(jobs, str(pair.target.cluster.bin), APP, Children())


async def test_the_zoo_is_the_same_after_dump_and_restore(pair: Pair, tmp_path: Path) -> None:
    owner, reader = f"own_{pair.tag}", f"read_{pair.tag}"
    for side in (pair.source, pair.target):
        side.role(owner)
        side.role(reader)
    pair.source.run(ZOO.format(o=owner, r=reader))
    await dump(pair.source.db, tmp_path / "dump", tools(pair), snapshot=None, on_progress=silent)
    copy = f"copy_{pair.tag}"
    await create_copy(pair.target.db, copy, pair.plan_id, APP)
    db = pair.target.db.named(copy)
    await restore(tmp_path / "dump", db, tools(pair), on_progress=silent)
    await analyze(db, APP)
    result = await compare(pair.source.db, db, APP, on_progress=silent)
    assert result.differences == ()
    assert result.verdict is Verdict.SAME
