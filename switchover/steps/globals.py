"""What a dump of one database leaves behind: roles, memberships, settings and privileges, made on the target first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, Seen
from switchover.postgres.globals import copy_globals, drop_globals
from switchover.postgres.globals.lacking import lacking
from switchover.postgres.globals.read import read_globals
from switchover.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context


def globals_action(context: Context) -> Action:
    """Make what the target lacks; what it has with other values is a finding of the preflight, never changed."""

    async def observe() -> Seen:
        ours = await read_globals(context.source, context.app)
        changes = lacking(ours, await read_globals(context.target, context.app, ours.names))
        if not changes:
            return Seen.done()
        return Seen.todo(says=[change.says for change in changes])

    async def apply(live: Live) -> Facts:
        made = await copy_globals(context.source, context.target, context.app, _note(context, live))
        live.log(f"made {count(len(made), 'thing')} that the target lacked")
        return {"made": [change.says for change in made]}

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        stays = await drop_globals(context.target, context.app, _note(context, live))
        return {"stays": list(stays)}

    return Action(
        "copy-globals",
        "make the roles, settings and privileges that the target lacks",
        observe,
        apply,
        undo,
        does=(
            "CREATE ROLE with the attributes and the password's hash; ALTER ROLE … SET; GRANT role TO role",
            "ALTER DATABASE … SET, GRANT … ON DATABASE, GRANT … ON PARAMETER; what the target has already stays",
        ),
        undoes="what was made is taken away; a role that owns something by then stays, and is named",
        only_tidies=True,
    )


def _note(context: Context, live: Live) -> str:
    """Where the target keeps what this step has made there, for it alone to take away."""
    return f"globals {context.plan_id} {live.step}"
