"""What PostgreSQL may do to us, worded for the operator.

PostgresError
├── BadConninfo   the connection text cannot be read; it is never repeated
├── Unreachable   no session could be opened, or it was lost: what happened meanwhile is not known
├── Refused       the server understood and said no
├── Occupied      another run holds the advisory lock
├── Superseded    a newer run has taken over
├── CopyFailed    pg_dump or pg_restore broke
├── FenceFailed   writes could not be stopped, or the settings not put back
└── ReplicationFailed  the live copy could not be made, or does not go on
    └── NotDrained     the other side did not get everything in time
"""

from __future__ import annotations

from switchover.words import plain


class PostgresError(Exception):
    """The base of what this package raises; its text is cleaned, for servers and users have a part in it."""

    def __init__(self, says: str) -> None:
        super().__init__(plain(says))


class BadConninfo(PostgresError):
    """The connection text cannot be read."""


class Unreachable(PostgresError):
    """No session, or it was lost."""


class Refused(PostgresError):
    """The server said no."""


class Occupied(PostgresError):
    """Another run holds the advisory lock."""


class Superseded(PostgresError):
    """A newer run has taken over; this one stops."""


class CopyFailed(PostgresError):
    """A client program broke."""


class FenceFailed(PostgresError):
    """The fence is not what it must be."""


class ReplicationFailed(PostgresError):
    """The live copy could not be made, or does not go on."""


class NotDrained(ReplicationFailed):
    """The other side did not get everything in time, or nobody can say that it did."""
