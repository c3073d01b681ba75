"""What a connection can tell of both servers before anything is copied: every finding with its reason and its mend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.postgres.preflight.activity import SOURCE_CLIENTS, activity
from switchover.postgres.preflight.attached import ATTACHED
from switchover.postgres.preflight.between import between
from switchover.postgres.preflight.clients import MARKED, client_findings
from switchover.postgres.preflight.health import SOURCE_ONLY, TARGET_ONLY, health
from switchover.postgres.preflight.look import look
from switchover.postgres.preflight.objects import OBJECTS
from switchover.postgres.preflight.production import PRODUCTION
from switchover.postgres.preflight.sequences import SEQUENCES
from switchover.postgres.preflight.superuser import SUPERUSER_ONLY
from switchover.postgres.preflight.supported import skips_marks
from switchover.postgres.programs import COPYING, client_release
from switchover.postgres.together import both

if TYPE_CHECKING:
    from switchover.postgres.connect import Database
    from switchover.postgres.finding import Finding

SOURCE = (
    *(*OBJECTS, *SEQUENCES, *ATTACHED),
    *(*health("source"), *SOURCE_ONLY),
    *(*activity("source"), *SOURCE_CLIENTS),
)
TARGET = (*health("target"), *TARGET_ONLY, *PRODUCTION, *activity("target"))
CONDITIONAL = (SUPERUSER_ONLY, MARKED)
"""Asked of the source, and of concern only with some targets and some client programs."""


async def preflight(source: Database, target: Database, app: str, *, bin: str | None) -> tuple[Finding, ...]:
    """Look at both sides at once, and hold them against each other; nothing is changed.

    Roles, settings and privileges are told by ``global_findings``, the fence by ``fence_findings``. Raises
    Unreachable and Refused.
    """
    ours, theirs = await both(look("source", source, app, (*SOURCE, *CONDITIONAL)), look("target", target, app, TARGET))
    releases = {name: await client_release(name, bin) for name in COPYING}
    dumps = releases["pg_dump"]
    needless = {SUPERUSER_ONLY.id} if theirs.facts.superuser else set()
    needless |= {MARKED.id} if dumps is None or skips_marks(dumps.major, dumps.minor) else set()
    own = [each for each in ours.findings if each.id not in needless]
    today = datetime.now(UTC).date()
    return (
        *between(ours, theirs, today),
        *client_findings(releases, ours.facts, theirs.facts),
        *own,
        *theirs.findings,
    )
