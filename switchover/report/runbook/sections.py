"""The recovery plan, state by state: how to know that one is in it, and what to do then."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from switchover.plan import names
from switchover.plan.decide import forecast, replicates, step_of, undo_s
from switchover.plan.outline import StepName
from switchover.report.escape import code, escape
from switchover.report.runbook import commands
from switchover.report.runbook.blocks import page_off, page_on, pointed, servers, settings_of_before, stop_the_program
from switchover.report.runbook.text import section, shell, table
from switchover.words import duration, instant

if TYPE_CHECKING:
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

PEOPLE = ("on-call-window", "rollback-known", "recovery-people", "contacts", "on-call-rotation")
"""Items of the checklist whose signatures say whom to call."""


def who(spec: Spec, progress: Progress) -> str:
    """Whom to call, as far as the plan and its signatures say it."""
    rows = [
        (escape(item), escape(signed.owner or signed.who), escape(f"{signed.note} {signed.link}".strip(), 500))
        for item in PEOPLE
        if (signed := progress.attested.get(item)) is not None
    ]
    owners = spec.readiness.owners if spec.readiness is not None else {}
    rows += [(escape(item), escape(owner), "") for item, owner in owners.items() if item not in progress.attested]
    lines = [table(("for", "who", "how"), rows)]
    if spec.window is not None and spec.window.contact:
        lines.append(f"Users ask: {escape(spec.window.contact)}.")
    if progress.run is not None:
        lines.append(f"The program was last run by {escape(progress.run.who)}, process {progress.run.pid}.")
    if not rows:
        lines.append("Nobody has signed who is on call: write the names and telephone numbers here by hand.")
    return section("Who", *lines, _times(spec, progress))


def _times(spec: Spec, progress: Progress) -> str:
    """When, and how long, by the rehearsal."""
    expected = forecast(progress)
    rows = []
    if spec.window is not None:
        rows.append(("the window", f"{_at(spec, 'opens')} to {_at(spec, 'closes')}"))
    if expected is None:
        rows.append(("the cutover", "not known: nothing has been rehearsed"))
    else:
        low, high = duration(round(expected.low_s)), duration(round(expected.high_s))
        says = f"writes pause for {low} to {high}, {duration(spec.replicate.budget)} at most; then DNS"
        says = says if replicates(progress) else f"{low} to {high}, by the rehearsal; then DNS"
        rows.append(("the cutover", says))
        rows.append(("going back before users have written", f"about {duration(round(undo_s(progress)))}"))
    phases = step_of(progress, StepName.REHEARSAL).facts.get("seconds")
    if isinstance(phases, dict):
        measured = (f"{name} {duration(float(str(value)))}" for name, value in phases.items() if value is not None)
        rows.append(("phases of the rehearsal", ", ".join(measured)))
    rows.append(("caches after DNS was changed", f"up to {duration(spec.dns.low_ttl)} where they obey the TTL"))
    return table(("what", "when, how long"), [(name, escape(says, 500)) for name, says in rows])


def where(spec: Spec, progress: Progress, plan: str) -> str:
    """Which state one is in: with the program in a line, without it by three questions."""
    plan_id = progress.plan_id
    copy, aside = names.copy_name(plan_id), names.aside_name(plan_id)
    old, new = spec.dns.from_, spec.dns.to
    rows = [
        (old, "neither", "may be written to", "before the cutover: A"),
        (old, f"perhaps `{copy}`", "read-only or closed", "during the cutover, not opened: B"),
        (f"{old} or {new}", f"`{aside}`", "read-only or closed", "opened: C"),
        (new, f"`{aside}`, or gone", "read-only, closed or gone", "after the cutover: C, later E"),
        (old, f"`{names.kept_name(plan_id, 1)}`", "may be written to", "rolled back; users are on the old host"),
    ]
    return section(
        "Where am I?",
        "With the program:",
        shell(
            f"switchover status {shlex.quote(plan)}\nswitchover rollback {shlex.quote(plan)}   # shows what it would "
            "do, and asks"
        ),
        "Without it, ask DNS, the target and the source:",
        shell(commands.ask_dns(spec, servers(progress))),
        shell(commands.psql(spec.database.target, commands.ours_there(plan_id))),
        shell(commands.psql(spec.database.source, commands.NOBODY)),
        table(("DNS gives", "the target's server has", "the source", "then you are"), rows),
        "The steps: "
        + "; ".join(f"{state.title}: {state.status}" for state in progress.steps)
        + f". Point of no return: {progress.passed}. (As the plan knew it when this was written.)",
    )


def before_the_cutover(spec: Spec, progress: Progress) -> str:
    """A: nothing that users depend on has been touched."""
    original = commands.original_ttls(spec, progress)
    return section(
        "A. Before the cutover",
        "Users are on the old host; there is nothing to go back from. At most the TTL has been lowered and a scratch "
        "copy made. To call the switchover off, put the TTLs back and drop the scratch copy:",
        *pointed(spec, spec.dns.from_, spec.dns.from_, original),
        shell(commands.psql(spec.database.target, commands.drop(names.rehearsal_name(progress.plan_id)))),
    )


def during_the_cutover(spec: Spec, progress: Progress) -> str:
    """B: writes have stopped on the source, nobody has written on the target."""
    return section(
        "B. During the cutover, before the target was opened",
        "Users see the maintenance page. Nothing is lost: the old database has everything. With the program, "
        "`switchover rollback` undoes it. Without it, in this order:",
        "**1. End what may still run.** "
        + stop_the_program(progress)
        + " Then end its sessions on both servers; the locks on "
        "the old database go with them:",
        shell(commands.psql(spec.database.source, commands.end_ours(progress.plan_id))),
        shell(commands.psql(spec.database.target, commands.end_ours(progress.plan_id))),
        "**2. Open the old database again.** " + settings_of_before(progress),
        shell(commands.psql(spec.database.source, commands.reopen(progress))),
        "**3. Take the maintenance page off, start the old application.**",
        page_off(spec),
        "**4. See that users are served by the old host.** DNS has not been changed; it must give "
        f"{spec.dns.from_}. Each of these must print the status that stands behind it:",
        shell(commands.ask_health(spec, spec.dns.from_)),
        "**5. Drop the unopened copy**, when there is time:",
        shell(commands.psql(spec.database.target, commands.drop(names.copy_name(progress.plan_id)))),
    )


def after_the_opening(spec: Spec, progress: Progress) -> str:
    """C and D: the target is open; whether users have written there decides what going back costs."""
    plan_id = progress.plan_id
    kept = names.kept_name(plan_id, 1)
    return section(
        "C. After the target was opened",
        "**First think of going forward.** The new host has all data, compared row by row. If what is wrong is the "
        "application, a certificate, a setting or DNS, mend that. Going back is for when the new host cannot be "
        "mended in less time than it takes.",
        "**Going back.** With the program `switchover rollback` closes the target, counts what users have written "
        "there, says so, and asks. Without it, in this order:",
        "**1. Maintenance page on.**",
        page_on(spec),
        "**2. Close the target**, so that what users wrote stays as it is:",
        shell(commands.psql(spec.database.target, commands.CLOSE)),
        "**3. D. Have users written?** `switchover compare` (with `service=` or URI of source and target) lists every "
        "row that differs. Without it, take it that they have: the point of no return is passed. **Those rows stay "
        f"behind in the database `{kept}`**; they are not merged back by anybody but you. Somebody who may decide "
        "this has to say so now.",
        "**4. Point DNS back to the old host.**",
        *pointed(spec, spec.dns.to, spec.dns.from_, commands.low_ttls(spec)),
        f"Every server must give {spec.dns.from_}:",
        shell(commands.ask_dns(spec, servers(progress))),
        "**5. Set the written database aside**, and give the target its database of before:",
        shell(commands.psql(spec.database.target, commands.exchange(kept, names.aside_name(plan_id)))),
        "**6. Open the old database again.** " + settings_of_before(progress),
        shell(commands.psql(spec.database.source, commands.end_ours(plan_id))),
        shell(commands.psql(spec.database.source, commands.reopen(progress))),
        "**7. Maintenance page off, old application on.**",
        page_off(spec),
        shell(commands.ask_health(spec, spec.dns.from_)),
        f"Caches may lead users to the new host for up to {duration(spec.dns.low_ttl)} more: keep it closed.",
    )


def by_hand(spec: Spec, progress: Progress) -> str:
    """Finishing the cutover without the program."""
    plan_id = progress.plan_id
    return section(
        "Going forward without the program",
        "When the program is lost in the middle and the new host is wanted all the same. Without the program nothing "
        "compares the rows: count at least the large tables on both sides. Settings and privileges of the target's "
        "database itself, and roles, are not carried by these commands.",
        "**1. Stop writes on the old host**: maintenance page on, old application off, then:",
        page_on(spec),
        shell(commands.psql(spec.database.source, commands.CLOSE)),
        "**2. Copy**, into a database that nobody knows (drop a half-made one first, as in B 5). After the limit was "
        "set only a superuser can connect to the source:",
        shell(commands.copy_by_hand(spec, progress)),
        "**3. Open it under the target's name**; from here on users may write there:",
        shell(
            commands.psql(spec.database.target, commands.exchange(names.aside_name(plan_id), names.copy_name(plan_id)))
        ),
        "**4. See that the new host answers**, before anybody is sent there:",
        shell(commands.ask_health(spec, spec.dns.to)),
        "**5. Point DNS to the new host**, then take the maintenance page off:",
        *pointed(spec, spec.dns.from_, spec.dns.to, commands.low_ttls(spec)),
        shell(commands.ask_dns(spec, servers(progress))),
    )


def later(spec: Spec, progress: Progress, plan: str) -> str:
    """E: the new host is production, and something of it fails."""
    kind = "live" if replicates(progress) else "final"
    kept = (
        f"The last backup of the old host is the folder `dump-{kind}` in {code(plan + '.d')}"
        if spec.database.keep_dump and spec.database.copy_ != "stream"
        else "No dump of the old host is kept by this plan"
    )
    return section(
        "E. Later: the new host fails",
        "**The database server is lost.** Replace it by one with the same PostgreSQL version, extensions and settings, "
        "restore the newest backup of the new host, point the application to it. "
        f"{kept}: it lacks everything that users have written since the cutover.",
        _signed(progress, "backups", "Backups of the new host"),
        _signed(progress, "server-replacement", "Replacing the server"),
        "**Rows were deleted by mistake.** Do not go back with the whole database. Restore a backup beside it, under "
        "another name, and copy the rows over.",
        _signed(progress, "point-in-time", "Going back to an earlier moment"),
        "**A setting was changed by mistake.** The journal in the plan file holds what each setting and record was "
        'before: look for `what   = "intent"`, and there for `before`.',
        "**The switchover is finished and the old host is wanted back.** That is a new switchover the other way.",
    )


def _at(spec: Spec, which: str) -> str:
    assert spec.window is not None  # asked only of a plan with a window
    return instant(getattr(spec.window, which), spec.window.zone)


def _signed(progress: Progress, item: str, what: str) -> str:
    signed = progress.attested.get(item)
    return f"{what}: {escape(f'{signed.note} {signed.link}'.strip(), 500)}." if signed is not None else ""
