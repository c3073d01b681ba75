"""What the target has beside the database, held against what the source has: room, settings, standbys, a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.finding import Finding
from switchover.postgres.preflight.check import some
from switchover.postgres.preflight.look import APPLICATION
from switchover.words import plain, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.postgres.preflight.look import Look

SKEW_S = 2.0
LOADS = 10
"""Forced checkpoints in one load that are worth a word."""
MOST_LOG = 64 << 30
"""More max_wal_size than this is advised to nobody."""


def capacity(ours: Look, theirs: Look) -> Iterator[Finding]:
    """Room for what comes, and what else the source's server has."""
    yield from _locks(ours, theirs)
    yield from _log(ours, theirs)
    room = f"{size(ours.facts.size_bytes)} are copied; how much room the target's disk has, no connection can tell"
    fix = "df on the target's host: that much for the data, and half as much for WAL and sorting"
    yield Finding("room", "info", room, fix, "a full disk stops the copy, and whatever else the server holds")
    if theirs.connections < ours.connections:
        says = f"max_connections is {theirs.connections} on the target, {ours.connections} on the source"
        says += f", of which {ours.in_use} are in use now"
        short = ours.in_use > theirs.connections * 0.9
        fix = f"ALTER SYSTEM SET max_connections = {ours.connections}, and restart the target"
        yield Finding("connections", "warn" if short else "info", says, fix, "the application is refused beyond that")
    if theirs.standbys < ours.standbys:
        says = f"{ours.standbys} standbys stream from the source, {theirs.standbys} from the target"
        why = "from the switchover on there is less to fall back to"
        yield Finding("fewer-standbys", "warn", says, "attach standbys to the target before the window", why)
    if (ours.settings.get("archive_mode"), theirs.settings.get("archive_mode")) == ("on", "off"):
        fix = "ALTER SYSTEM SET archive_mode = on with an archive_command, and restart the target"
        why = "the target could not be recovered to a point in time"
        yield Finding("no-archive", "warn", "the source archives its WAL, the target does not", fix, why)
    if (ours.settings.get("data_checksums"), theirs.settings.get("data_checksums")) == ("on", "off"):
        why = "broken pages of the target would go unnoticed"
        fix = "pg_checksums --enable while the target is stopped"
        yield Finding("no-checksums", "info", "the source checks its pages, the target does not", fix, why)


def _locks(ours: Look, theirs: Look) -> Iterator[Finding]:
    """The target has the source's tables one day, and what reads a table locks its indexes too."""
    tables, indexes = ours.relations
    for side, id in ((ours, "lock-room"), (theirs, "target-lock-room")):
        if tables + indexes > side.locks * 0.8:
            says = (
                "a dump, a comparison and a fence each lock every table at once, what reads a table locks its indexes "
            )
            says += f"too, and the lock table of the {side.side} is small: "
            says += f"{tables:,} tables and {indexes:,} indexes, room for {side.locks:,} locks"
            why = "they would end with: out of shared memory (max_locks_per_transaction)"
            fix = "ALTER SYSTEM SET max_locks_per_transaction to twice what it is, and restart the server"
            yield Finding(id, "warn", says, fix, why)


def _log(ours: Look, theirs: Look) -> Iterator[Finding]:
    """How much WAL the target takes in between two checkpoints."""
    mine, other = (int(each.settings.get("max_wal_size", 0)) << 20 for each in (ours, theirs))
    if other < mine or other * LOADS < ours.facts.size_bytes:
        says = f"max_wal_size is {size(other)} on the target, {size(mine)} on the source; "
        says += f"{size(ours.facts.size_bytes)} are copied"
        wanted = max(mine, min(ours.facts.size_bytes // LOADS, MOST_LOG)) >> 20
        fix = f"ALTER SYSTEM SET max_wal_size = '{wanted}MB', and reload; its disk needs that much room"
        why = "each time so much is written a checkpoint is forced, and the load waits for the disk"
        yield Finding("target-wal-size", "info", says, fix, why)


def settings(ours: Look, theirs: Look) -> Iterator[Finding]:
    """What an application finds otherwise."""
    apart = [
        f"{name} is {plain(ours.settings[name], 60) or 'empty'} on the source, "
        f"{plain(theirs.settings[name], 60) or 'empty'} on the target"
        for name in APPLICATION
        if name in ours.settings and name in theirs.settings and ours.settings[name] != theirs.settings[name]
    ]
    if apart:
        fix = "set them on the target as on the source, in postgresql.conf or with ALTER DATABASE … SET"
        why = "the application finds other defaults after the switchover"
        yield Finding("server-settings", "warn", plain(some(apart), 900), fix, why)


def clocks(ours: Look, theirs: Look) -> Iterator[Finding]:
    """Whether both servers' clocks go with ours."""
    off = [each for each in (ours, theirs) if abs(each.skew_s) > SKEW_S]
    if off:
        says = "; ".join(
            f"the clock of the {each.side} is {abs(each.skew_s):.0f} s {'ahead' if each.skew_s > 0 else 'behind'}"
            for each in off
        )
        why = "what the application dates by the server jumps at the switchover, and times in the report do not fit"
        yield Finding("clock-skew", "warn", says, "set up chrony or systemd-timesyncd on that host", why)
