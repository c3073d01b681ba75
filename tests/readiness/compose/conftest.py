"""A file in a folder of its own, and what the rules find in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchover.readiness.compose.lint import Verdict, Wanted, lint

Judge = Callable[..., Verdict]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Lint these texts, merged in their order; ``also`` are further files by name."""

    def judged(
        *texts: str, also: dict[str, str] | None = None, env: dict[str, str] | None = None, **more: Any
    ) -> Verdict:
        for name, text in (also or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        files = []
        for number, text in enumerate(texts):
            files.append(tmp_path / f"{number}.yml")
            files[-1].write_text(text)
        return lint(Wanted(files, env=env or {}, **more))

    return judged
