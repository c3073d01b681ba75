"""A check: a query whose every row is one thing found, and what that means; run as data, not as code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import psycopg

from switchover.postgres.finding import Finding
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from switchover.postgres.finding import Severity

Side: TypeAlias = Literal["source", "target"]
SHOWN = 8
"""Things named in a finding; of the others the number."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to one server; no row means that all is well."""

    id: str
    severity: Severity
    query: str
    """Each row names one thing; a second column, where there is one, is the statement that mends it.

    Run with ``search_path = pg_catalog``.
    """
    says: str
    """What was found, before the names."""
    why: str
    fix: str = ""
    since: int = 0
    """The first version that can answer, as ``server_version_num``."""
    before: int = 10_000_000
    """The first version that needs no asking any more."""
    needs: str = ""
    """The predefined role without whose privileges the answer would be empty."""
    given: str = ""
    """A condition in SQL without which there is nothing to ask, such as a table of some extension."""


async def run_checks(session: AsyncConnection, side: Side, checks: Iterable[Check]) -> list[Finding]:
    """Ask each in turn; what the role may not look at is named in a finding of its own, and counts as unknown."""
    found, unseen = [], []
    for check in checks:
        if check.since <= session.info.server_version < check.before:
            if check.given and not await _is_so(session, check.given):
                continue
            if not await _sees(session, check.needs):
                unseen.append(check.id)
                continue
            try:
                rows = await (await session.execute(check.query.encode())).fetchall()
            except psycopg.errors.InsufficientPrivilege:
                unseen.append(check.id)
                continue
            if rows:
                found.append(_finding(check, rows))
    return [*found, *_unseen(side, unseen, session.info.user)]


async def _sees(session: AsyncConnection, needs: str) -> bool:
    if not needs:
        return True
    return await (await session.execute("SELECT pg_has_role(%s, 'USAGE')", (needs,))).fetchone() == (True,)


async def _is_so(session: AsyncConnection, condition: str) -> bool:
    return await (await session.execute(f"SELECT {condition}".encode())).fetchone() == (True,)


def _finding(check: Check, rows: list[tuple[str, ...]]) -> Finding:
    names = [plain(str(row[0]), 200) for row in rows]
    fixes = [plain(row[1], 500) for row in rows if len(row) > 1 and row[1]]
    fix = "; ".join(dict.fromkeys(fixes[:SHOWN])) if fixes else check.fix
    return Finding(check.id, check.severity, f"{check.says}: {some(names)}", fix, check.why)


def _unseen(side: Side, ids: list[str], role: str) -> list[Finding]:
    if not ids:
        return []
    says = f"{plain(role, 100)} may not look on the {side}: {', '.join(ids)}"
    why = "whether these hold is not known"
    return [Finding(f"{side}-unseen", "info", says, f'GRANT pg_monitor TO "{plain(role, 100)}"', why)]


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
