"""The recovery plan of one switchover: for a person at night who has never seen this program."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.plan import names
from switchover.plan.decide import replicates
from switchover.report.escape import escape
from switchover.report.runbook import commands, live, sections
from switchover.report.runbook.text import section

if TYPE_CHECKING:
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

__all__ = ["runbook"]


def runbook(spec: Spec, progress: Progress, plan: str) -> str:
    """The whole text, as Markdown; ``plan`` is the plan file's name. A pure function of its arguments."""
    begun = bool(progress.plan_id)
    progress = progress if begun else replace(progress, plan_id="0" * 12)
    with_copy = replicates(progress)
    states = live if with_copy else sections
    parts = [
        f"# Recovery plan: {escape(spec.name)}\n",
        _what(spec, plan, with_copy),
        sections.who(spec, progress),
        states.where(spec, progress, plan),
        states.before_the_cutover(spec, progress),
        states.during_the_cutover(spec, progress),
        states.after_the_opening(spec, progress),
        *([live.not_followed(spec, progress)] if with_copy else []),
        states.by_hand(spec, progress),
        sections.later(spec, progress, plan),
        section(
            "Names that belong to this switchover",
            "Everything that it makes on the database servers bears its id; nothing else there is its own.",
            *_ours(progress.plan_id, with_copy),
            "" if begun else "The plan has not been run yet: it gets its id, shown here as zeros, when it is.",
        ),
        _notes(),
    ]
    return "\n".join(part for part in parts if part)


def _ours(plan_id: str, with_copy: bool) -> tuple[str, ...]:
    """What the plan makes on the servers, a line each."""
    ahead, back = names.ahead_name(plan_id), names.back_name(plan_id)
    made = (
        (
            f"- `{names.copy_name(plan_id)}`: the copy, as long as the target has not been opened, and after a return",
            f"- `{ahead}`: publication and slot in the old database, subscription in the copy, which follows",
            f"- `{back}`: publication and slot in the new database, subscription in the old one, which follows",
            "- `REPLICA IDENTITY FULL` on tables without a key, as long as something follows",
            "- the schema `switchover` in the old database and in the new one: markers, notes, one row of the run",
        )
        if with_copy
        else (
            f"- `{names.copy_name(plan_id)}`: the copy that has not been opened yet",
            f"- `{names.kept_name(plan_id, 1)}`: what users wrote on the target before a rollback",
            "- the schema `switchover` with one row, in the target's database",
        )
    )
    return (
        f"- `{names.rehearsal_name(plan_id)}`: scratch copy of a rehearsal; may be dropped at any time",
        f"- `{names.aside_name(plan_id)}`: the target's database of before, set aside",
        f"- sessions whose application_name begins with `{names.session_prefix(plan_id)}`",
        *made,
    )


def _what(spec: Spec, plan: str, with_copy: bool) -> str:
    hosts = [escape(name) for name in spec.dns.names]
    whose = "its" if len(hosts) == 1 else "their"
    behind = (
        "Rows that users write on the new host follow to the old one, until the step Finish ends that: before it, "
        "going back loses nothing; after it, going back leaves those rows behind."
        if with_copy
        else "Rows that users write on the new host are not on the old one. That is the one thing that cannot be put "
        "back: before it, going back loses nothing; after it, going back leaves those rows behind."
    )
    return (
        f"{', '.join(hosts)} and {whose} PostgreSQL database move from the old host {spec.dns.from_} to the new host "
        f"{spec.dns.to}. The old database is the *source*, the new one the *target*. "
        "This text says what to do when something goes wrong, with the program and without it. Commands are run in "
        f"the folder of the plan file {commands_of(plan)}, on a machine that reaches both databases, as the person "
        "whose service and password files (`~/.pg_service.conf`, `~/.pgpass`) know them.\n\n"
        f"{behind}\n"
    )


def commands_of(plan: str) -> str:
    """The plan's name as code."""
    return f"`{escape(plan)}`" if "`" not in plan else escape(plan)


def _notes() -> str:
    return section(
        "About the commands",
        '- `:"DBNAME"` is put in by psql: the database that it is connected to.',
        '- "is being accessed by other users" means that somebody came back in between: run the block once more.',
        f"- `{commands.READ_ONLY} = on` keeps honest sessions from writing; a superuser, and whoever sets it off, "
        "is not held by it. Stop the old application too.",
        "- After anything was done by hand, do not run this plan with the program again without looking: it looks at "
        "what there is before each action, and stops where it does not understand.",
    )
