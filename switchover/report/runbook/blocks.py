"""Blocks and sentences that several states need: the records, the maintenance page, what is known of before."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.report.escape import escape
from switchover.report.runbook import commands
from switchover.report.runbook.text import block, shell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.plan.progress import Progress
    from switchover.plan.spec import CommandSpec, Spec


def pointed(spec: Spec, old: str, new: str, ttls: Mapping[str, int]) -> tuple[str, str]:
    """The records as they must be, and how they are changed by what keeps them."""
    return block(commands.records(spec, new, ttls)), _change(spec, old, new, ttls)


def _change(spec: Spec, old: str, new: str, ttls: Mapping[str, int]) -> str:
    kind = spec.dns.provider.kind
    if kind == "rfc2136":
        return (
            "With a key in BIND's format (for one in Knot's use `knsupdate`); it changes nothing unless the record is "
            f"still {old}:\n\n" + shell(commands.nsupdate(spec, old, new, ttls))
        )
    keeper = f" ({escape(spec.dns.provider.service)})" if spec.dns.provider.service else ""
    where_ = {"manual": "by hand, in the console of whoever keeps the zone", "command": "with your own program"}
    return f"Change them {where_.get(kind, f'in the console of {kind}')}{keeper}."


def settings_of_before(progress: Progress) -> str:
    """Where the source's settings of before are known from."""
    if commands.knows_before(progress):
        return "These are its settings of before, from the journal:"
    return (
        'Its settings of before are in the plan file, in the entry with `action = "fence-source"` and '
        '`what   = "intent"`, under `before`; these are right if the database had none of its own:'
    )


def stop_the_program(progress: Progress) -> str:
    """Which process may still be at work."""
    if progress.run is None or progress.run.outcome:
        return "If `switchover` still runs anywhere, stop it (Ctrl-C, once) and wait until it has ended."
    return f"The program runs, or was killed, as process {progress.run.pid} of {escape(progress.run.who)}: stop it."


def page_on(spec: Spec) -> str:
    """The maintenance page on."""
    return _command(spec.maintenance.on, "The plan has no command for it.")


def page_off(spec: Spec) -> str:
    """The maintenance page off."""
    return _command(spec.maintenance.off, "The plan has no command for it; start by hand what was stopped by hand.")


def _command(command: CommandSpec | None, otherwise: str) -> str:
    return shell(shlex.join(command.command)) if command is not None else otherwise


def servers(progress: Progress) -> tuple[str, ...]:
    """The authoritative servers' addresses, as far as a step has seen them."""
    found: dict[str, None] = {}
    for name in (StepName.LOWER_TTL, StepName.CUTOVER):
        for action in step_of(progress, name).actions:
            for facts in (action.before, action.proof, action.result):
                found.update(dict.fromkeys(_addresses(facts)))
    return tuple(found)


def _addresses(facts: Mapping[str, object]) -> list[str]:
    rows = facts.get("servers")
    return (
        [str(row["address"]) for row in rows if isinstance(row, dict) and row.get("address")]
        if isinstance(rows, list)
        else []
    )
