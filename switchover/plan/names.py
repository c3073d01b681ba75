"""What a plan calls its own things on the servers: by the plan's id, so that no two plans meet."""

from __future__ import annotations

import re

LINK = "switchover_"
"""What the name of every part of every plan's links starts with."""
BACK = "_back"
"""What those end with by which the old host follows the new one."""


def session_prefix(plan_id: str) -> str:
    """What the application_name of every session of this plan's runs starts with."""
    return f"switchover/{_short(plan_id)}/"


def copy_name(plan_id: str) -> str:
    """The database on the target server that the final copy is restored into before it takes the name."""
    return f"switchover_copy_{_short(plan_id)}"


def aside_name(plan_id: str) -> str:
    """Where the target's database of before waits while the copy bears its name."""
    return f"switchover_before_{_short(plan_id)}"


def rehearsal_name(plan_id: str) -> str:
    """The scratch database of the rehearsal."""
    return f"switchover_rehearsal_{_short(plan_id)}"


def kept_name(plan_id: str, attempt: int) -> str:
    """The database that keeps what users wrote on the target; named by the attempt, so none is ever overwritten."""
    return f"switchover_kept_{_short(plan_id)}_{attempt}"


def ahead_name(plan_id: str) -> str:
    """The publication, the slot and the subscription by which the copy follows the old host."""
    return f"{LINK}{_short(plan_id)}"


def back_name(plan_id: str) -> str:
    """Those by which the old host follows the new one."""
    return f"{ahead_name(plan_id)}{BACK}"


def _short(plan_id: str) -> str:
    """The first letters of the id, and nothing that means something to SQL or a shell."""
    return re.sub(r"[^0-9A-Za-z]", "", plan_id)[:12]
