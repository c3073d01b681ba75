"""The client programs of the operator's machine: whether they fit both servers, and are safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.finding import Finding
from switchover.postgres.preflight.check import Check
from switchover.postgres.preflight.supported import SAFE_CLIENT, is_unsafe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.postgres.facts import ServerFacts
    from switchover.postgres.programs import Release

TOOLS = "set database.bin to the target's tools"

MARKED = Check(
    "marked-columns",
    "block",
    """SELECT format('%s columns', count(*)) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.oid >= 16384 AND a.attoptions::text LIKE '%pg_attver=%' HAVING count(*) > 0""",
    "the source marks columns with an option of its own (pg_attver), which these client programs do not know",
    'pg_dump would write it down, and the restore end with: unrecognized parameter "pg_attver"',
    "install client tools as new as the source's minor release (from 15.20, 16.16, 17.12, 18.7 on)",
)
"""Asked of every source; of concern where pg_dump is older than that."""


def client_findings(releases: dict[str, Release | None], ours: ServerFacts, theirs: ServerFacts) -> Iterator[Finding]:
    """pg_dump must know the source, and what pg_restore sends must be known to the target."""
    missing = [name for name, release in releases.items() if release is None]
    if missing:
        why = "they do the copying"
        yield Finding(
            "no-client", "block", f"no {', '.join(missing)} found", "install the client tools, or set database.bin", why
        )
        return
    there = {name: release for name, release in releases.items() if release is not None}
    major = there["pg_dump"].major
    if major < ours.major:
        why = "pg_dump refuses a server of a newer major version"
        yield Finding("old-client", "block", f"pg_dump {major} cannot dump a server {ours.major}", TOOLS, why)
    if major > theirs.major:
        says = f"pg_restore {major} may send settings that a server {theirs.major} does not know"
        yield Finding("new-client", "block", says, TOOLS, "the restore would end at its first statement")
    if len(set(there.values())) > 1:
        says = ", ".join(f"{name} is {release}" for name, release in there.items())
        why = "an archive may have a form that the other does not know"
        yield Finding("mixed-clients", "warn", says, "install them from one package", why)
    if is_unsafe(major, there["pg_dump"].minor):
        safe = f"{major}.{SAFE_CLIENT[major]}" if major in SAFE_CLIENT else f"{max(SAFE_CLIENT)}"
        says = f"the client programs are {there['pg_dump']}; known holes are mended from {safe} on"
        why = "a superuser of the source could run commands here or on the target by what a dump holds (CVE-2026-18408)"
        yield Finding("unsafe-client", "warn", says, "install the newest minor release of the client tools", why)
