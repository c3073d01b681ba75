"""Which releases are still mended, and which are known to be unsafe.

https://www.postgresql.org/support/versioning/ and https://www.postgresql.org/support/security/
"""

from __future__ import annotations

from datetime import date

END_OF_LIFE = {
    12: date(2024, 11, 21),
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}

YEAR_OLD = {12: 22, 13: 23, 14: 20, 15: 15, 16: 11, 17: 7, 18: 1}
"""The minor releases of 13 November 2025, a year before this was written; of a version that has ended the last."""

SAFE_CLIENT = {14: 24, 15: 19, 16: 15, 17: 11, 18: 6}
"""The first minor release whose pg_dump, pg_restore and psql hold against a hostile source: CVE-2025-8714,
CVE-2025-8715 and CVE-2026-18408."""


SKIPS_MARKS = {14: 25, 15: 20, 16: 16, 17: 12, 18: 7}
"""The first minor release whose pg_dump knows the marks that servers of November 2026 leave on columns."""


def is_ended(major: int, today: date) -> bool:
    """Whether the major version gets no fixes any more; one we do not know of is newer than we are, or long gone."""
    end = END_OF_LIFE.get(major)
    return major < min(END_OF_LIFE) if end is None else today > end


def is_old(major: int, minor: int) -> bool:
    """Whether a server of this release lacks the fixes of a year."""
    return minor < YEAR_OLD.get(major, 0)


def is_unsafe(major: int, minor: int) -> bool:
    """Whether client programs of this release lack the known fixes."""
    return major < min(SAFE_CLIENT) or minor < SAFE_CLIENT.get(major, 0)


def skips_marks(major: int, minor: int) -> bool:
    """Whether pg_dump of this release leaves the servers' own marks out of a dump."""
    return major >= min(SKIPS_MARKS) and minor >= SKIPS_MARKS.get(major, 0)
