"""A link: replication in one direction, and the one name that all of its parts bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from switchover.plan import names
from switchover.postgres.connect import database_name

if TYPE_CHECKING:
    from switchover.postgres.connect import Database

_OURS_ALONE = {"application_name", "fallback_application_name", "replication", "options", "connect_timeout"}
"""Keywords that a subscription sets itself, or that are about sessions of ours."""


@dataclass(frozen=True, slots=True)
class Link:
    """From where to where, and the name of its publication, its slot and its subscription."""

    publisher: Database
    subscriber: Database
    name: str
    through: Database
    """The publisher as the subscriber's own server reaches it, which is seldom the way we do."""

    @property
    def leads_back(self) -> bool:
        """Whether it keeps the old side current, once the new one is written."""
        return self.name.endswith(names.BACK)

    @property
    def has_password(self) -> bool:
        return "password" in dict(self.through.params)


def forward(source: Database, target: Database, plan_id: str, through: Database | None = None) -> Link:
    """From the old side to the new one; ``through`` is the source as the target's host reaches it."""
    return Link(source, target, names.ahead_name(plan_id), through or source)


def backward(source: Database, target: Database, plan_id: str, through: Database | None = None) -> Link:
    """From the new side back to the old one; ``through`` is the target as the source's host reaches it."""
    return Link(target, source, names.back_name(plan_id), through or target)


async def conninfo(link: Link, app: str) -> str:
    """What the subscription connects with; it waits 10 s for the publisher at most. May hold a password."""
    params = {key: value for key, value in link.through.params if key not in _OURS_ALONE}
    if not {"dbname", "service"} & params.keys():
        params["dbname"] = await database_name(link.publisher, app)
    return make_conninfo("", **params, connect_timeout="10")
