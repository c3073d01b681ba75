"""What the fence changes, as it was: read, kept in the journal, compared when it is put back."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from switchover.postgres.carry import READ_ONLY, entry
from switchover.postgres.errors import Refused
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.plan.journal import Json

_BEFORE = """
SELECT d.datconnlimit, s.setconfig FROM pg_database d
LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 WHERE d.datname = %s
"""


@dataclass(frozen=True, slots=True)
class FenceBefore:
    """The settings that the fence changes, as they were: what the way back restores, byte for byte."""

    limit: int
    settings: tuple[str, ...] | None
    """The database-wide row of pg_db_role_setting; None when there is none. Of every value but ours a slow hash only:
    applications keep keys in settings of their own, and this goes into the journal."""

    @classmethod
    def from_json(cls, data: dict[str, Json]) -> FenceBefore:
        settings = data.get("settings")
        return cls(
            int(str(data["limit"])),
            tuple(str(each) for each in settings) if isinstance(settings, list) else None,
        )

    def to_json(self) -> dict[str, Json]:
        saved: dict[str, Json] = {"limit": self.limit}
        return saved if self.settings is None else {**saved, "settings": list(self.settings)}

    @property
    def read_only(self) -> str | None:
        """The value of default_transaction_read_only as it is stored, if the database sets one."""
        return entry(self.settings, READ_ONLY)


async def read_fence_before(session: AsyncConnection, name: str) -> FenceBefore:
    """The settings of a database as they are now. Raises Refused when there is none of that name."""
    row = await (await session.execute(_BEFORE, (name,))).fetchone()
    if row is None:
        raise Refused(f"there is no database {plain(name, 100)} on the server any more")
    veiled = [await asyncio.to_thread(_veiled, each) for each in row[1] or ()]
    return FenceBefore(row[0], tuple(veiled) if row[1] is not None else None)


def _veiled(setting: str) -> str:
    name, _, value = setting.partition("=")
    return setting if name == READ_ONLY else f"{name}=#{_slow_hash(name, value)}"


@cache
def _slow_hash(salt: str, value: str) -> str:
    """16 MB and some 50 ms for each guess (scrypt, RFC 7914), in 128 bits.

    A later run must come to the same, and so must the database under another name: there is no key that the
    journal's readers would not have as well.
    """
    return hashlib.scrypt(value.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()
