"""The recovery plan with a live copy, state by state: rows follow, so that going back can bring them along."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from switchover.plan import names
from switchover.report.runbook import commands, links
from switchover.report.runbook.blocks import page_off, page_on, pointed, servers, settings_of_before, stop_the_program
from switchover.report.runbook.text import section, shell, table
from switchover.words import duration

if TYPE_CHECKING:
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

LISTS = "*the two lists*"
"""What the commands print that show the links of both servers."""


def where(spec: Spec, progress: Progress, plan: str) -> str:
    """Which state one is in: with the program in a line, without it by DNS, databases and links."""
    plan_id = progress.plan_id
    copy, aside = f"`{names.copy_name(plan_id)}`", f"`{names.aside_name(plan_id)}`"
    ahead, back = f"`{names.ahead_name(plan_id)}`", f"`{names.back_name(plan_id)}`"
    old, new = spec.dns.from_, spec.dns.to
    rows = [
        (old, "neither", "none", "may be written to", "before the live copy: A"),
        (old, copy, f"{ahead}, enabled", "may be written to", "before the cutover, or rolled back: A"),
        (old, copy, f"{ahead}, enabled or not, perhaps {back}", "read-only", "during the cutover, not opened: B"),
        (f"{old} or {new}", aside, f"{back}, enabled", "read-only", "opened, the old host follows: C"),
        (f"{old} or {new}", aside, f"{back}, not enabled; perhaps {ahead}", "read-only", "opened, cut short: C 1"),
        (new, f"{aside}, or gone", "none", "read-only, closed or gone", "finished: D"),
    ]
    return section(
        "Where am I?",
        "With the program:",
        shell(
            f"switchover status {shlex.quote(plan)}\nswitchover lag {shlex.quote(plan)}\n"
            f"switchover rollback {shlex.quote(plan)}   # shows what it would do, and asks"
        ),
        "Without it, ask DNS, the target and the source:",
        shell(commands.ask_dns(spec, servers(progress))),
        shell(commands.psql(spec.database.target, commands.ours_there(plan_id))),
        shell(commands.psql(spec.database.source, commands.NOBODY)),
        f"Then list what follows what, on the old server and on the new one; it is asked for again below as {LISTS}:",
        shell(commands.psql(spec.database.source, _see(progress))),
        shell(commands.psql(spec.database.target, _see(progress))),
        table(("DNS gives", "the target's server has", "subscriptions", "the source", "then you are"), rows),
        "The steps: "
        + "; ".join(f"{state.title}: {state.status}" for state in progress.steps)
        + f". Point of no return: {progress.passed}. (As the plan knew it when this was written.)",
    )


def before_the_cutover(spec: Spec, progress: Progress) -> str:
    """A: users are on the old host, and a copy may follow it."""
    ahead, copy = names.ahead_name(progress.plan_id), names.copy_name(progress.plan_id)
    source, target = spec.database.source, spec.database.target
    return section(
        "A. Before the cutover, or after a rollback: the copy follows",
        f"Users are on the old host; there is nothing to go back from. The database `{copy}` on the new server follows "
        "the old one, and users do not notice. **What can hurt them: as long as the slot "
        f"`{ahead}` exists and nobody reads it, the old server keeps all of its write-ahead log, until its disk is "
        "full.** How much it keeps, and whether the slot is in use:",
        shell(commands.psql(source, _see(progress))),
        "If the slot is not in use, the log of the new server says why. If the disk of the old server is filling up "
        "and the cause is not mended at once, give the copy up: it can be made anew, and no user loses anything.",
        "**Giving the copy up, or calling the switchover off.** With the program `switchover rollback`. Without it, in "
        "this order:",
        f"**1. End what may still run.** {stop_the_program(progress)}",
        shell(commands.psql(source, commands.end_ours(progress.plan_id))),
        shell(commands.psql(target, commands.end_ours(progress.plan_id))),
        "**2. The copy follows no more.** If the new server is not there, go on with 3: this can be done later. "
        '"database … does not exist" means that there is no copy: go on with 3 as well.',
        shell(links.unsubscribe(_copy(spec, progress), ahead, tidy=False)),
        "**3. The old server keeps no log for it any more**: slot and publication go, and tables are as they were. "
        '"lock timeout" means that a table is busy: run it once more.',
        shell(links.unpublish(source, ahead, tidy=True)),
        "**4. Drop the copy**, and the scratch copy of the rehearsal:",
        shell(commands.psql(target, commands.drop(copy))),
        shell(commands.psql(target, commands.drop(names.rehearsal_name(progress.plan_id)))),
        f"**5. See that nothing is left**: {LISTS} must list no line.",
        "**6. If the switchover is called off, put the TTLs back:**",
        *pointed(spec, spec.dns.from_, spec.dns.from_, commands.original_ttls(spec, progress)),
    )


def during_the_cutover(spec: Spec, progress: Progress) -> str:
    """B: writes have stopped on the source, nobody has written on the target."""
    ahead, back = names.ahead_name(progress.plan_id), names.back_name(progress.plan_id)
    source, copy = spec.database.source, _copy(spec, progress)
    return section(
        "B. During the cutover, before the target was opened",
        "Users cannot write. Nothing is lost: the old database has everything. The program undoes this by itself "
        f"after {duration(spec.replicate.budget)}; if it was killed, `switchover rollback` does. Without it, in this "
        "order; users are served after 3:",
        f"**1. End what may still run.** {stop_the_program(progress)} Then end its sessions on both servers; the locks "
        "on the old database go with them:",
        shell(commands.psql(source, commands.end_ours(progress.plan_id))),
        shell(commands.psql(spec.database.target, commands.end_ours(progress.plan_id))),
        f"**2. Open the old database again.** {settings_of_before(progress)}",
        shell(commands.psql(source, commands.reopen(progress))),
        "**3. Take the maintenance page off, start the old application.**",
        page_off(spec),
        f"DNS has not been changed; it must give {spec.dns.from_}. Each of these must print the status that stands "
        "behind it:",
        shell(commands.ask_health(spec, spec.dns.from_)),
        "**4. Remove the way back**, which may have been prepared, from the old database and from the copy:",
        shell(links.unsubscribe(source, back, tidy=False)),
        shell(links.unpublish(copy, back, tidy=False)),
        "**5. Let the copy follow again**; now you are in A, and the cutover can be tried again. Or give the copy up, "
        "as in A.",
        shell(links.again(copy, ahead)),
    )


def after_the_opening(spec: Spec, progress: Progress) -> str:
    """C: users write on the target, and the source follows; going back brings every row along."""
    return section(
        "C. After the target was opened",
        "**First think of going forward.** The new host has all data. If what is wrong is the application, a "
        "certificate, a setting or DNS, mend that. Going back is for when the new host cannot be mended in less time "
        "than it takes.",
        "**Going back loses no row** as long as the old database follows the new one, by the subscription "
        f"`{names.back_name(progress.plan_id)}`. With the program: `switchover rollback`. Without it, in this order:",
        *_followed_back(spec, progress),
        *_rows_back(spec, progress),
        *_old_host_again(spec, progress),
    )


def _followed_back(spec: Spec, progress: Progress) -> tuple[str, ...]:
    """The old database follows; a cutover that was cut short is brought so far first."""
    plan_id = progress.plan_id
    ahead, back = names.ahead_name(plan_id), names.back_name(plan_id)
    source, target = spec.database.source, spec.database.target
    return (
        f"**1. Does the old database follow?** There must be the subscription `{back}`, enabled, in the old database; "
        f"the slot `{back}`, in use, on the new server; and nothing of `{ahead}`: see {LISTS}.",
        f"If the subscription `{back}` is not enabled, or something of `{ahead}` is there, the cutover was cut short. "
        f"{stop_the_program(progress)} Then, and only then, run these four. "
        f"If there is no subscription `{back}` at all, the rows cannot come back by themselves: read D.",
        shell(commands.psql(source, commands.end_ours(plan_id))),
        shell(links.unsubscribe(target, ahead, tidy=False)),
        shell(links.unpublish(source, ahead, tidy=False)),
        shell(links.follow(spec, back)),
    )


def _rows_back(spec: Spec, progress: Progress) -> tuple[str, ...]:
    """Nobody writes on the target, and the source has all."""
    plan_id = progress.plan_id
    back = names.back_name(plan_id)
    source, target = spec.database.source, spec.database.target
    return (
        "**2. Maintenance page on, new application off.**",
        page_on(spec),
        "**3. Close the target**, so that nobody writes there any more; what sends its rows to the old host goes on:",
        shell(commands.psql(target, commands.CLOSE)),
        "**4. Wait until the old database has every row.** It must say EVERYTHING HAS ARRIVED. If it stops with an "
        f"error, do not go on: {LISTS} say how much is missing, the log of the old server why. "
        f"{_limited('target')}",
        shell(commands.psql(target, links.of(back, links.ALONE, links.ARRIVED))),
        "The old database must show the same row:",
        shell(commands.psql(source, links.MARKER)),
        "**5. Sequences**: the old database gets the values of the new one.",
        shell(links.sequences(target, source)),
        "**6. The old database follows no more**; then slot and publication of the new one go:",
        shell(links.unsubscribe(source, back, tidy=True)),
        shell(links.unpublish(target, back, tidy=True)),
        "**7. The names back**: the target gets its database of before; the one that users have written becomes "
        f"`{names.copy_name(plan_id)}`, closed. Drop it when nobody needs to look into it any more, as in A 4.",
        shell(commands.psql(target, commands.exchange(names.copy_name(plan_id), names.aside_name(plan_id)))),
    )


def _old_host_again(spec: Spec, progress: Progress) -> tuple[str, ...]:
    """The source takes writes, and DNS leads there."""
    source = spec.database.source
    return (
        f"**8. Open the old database again.** {settings_of_before(progress)}",
        shell(commands.psql(source, commands.reopen(progress))),
        "**9. Point DNS back to the old host.**",
        *pointed(spec, spec.dns.to, spec.dns.from_, commands.low_ttls(spec)),
        f"Every server must give {spec.dns.from_}:",
        shell(commands.ask_dns(spec, servers(progress))),
        "**10. Old application on, maintenance page off.** Each of these must print the status that stands behind it:",
        page_off(spec),
        shell(commands.ask_health(spec, spec.dns.from_)),
        "**11. Materialized views**, which do not follow; users may work meanwhile:",
        shell(commands.psql(source, links.VIEWS)),
        f"Caches may lead users to the new host for up to {duration(spec.dns.low_ttl)} more: keep its application off. "
        "Nothing follows anything now; for another attempt the live copy is made anew.",
    )


def by_hand(spec: Spec, progress: Progress) -> str:
    """Finishing the cutover without the program, by the copy that follows."""
    plan_id = progress.plan_id
    ahead, copy = names.ahead_name(plan_id), _copy(spec, progress)
    source, target = spec.database.source, spec.database.target
    return section(
        "Going forward without the program",
        "When the program is lost and the new host is wanted all the same, from A or B. **From 5 on the old host does "
        "not follow: rows that users write on the new host then would stay behind if you went back.** Settings and "
        "privileges of the target's database itself, and roles, are not carried by these commands.",
        f"**1. End what may still run, and stop writes on the old host.** {stop_the_program(progress)} Maintenance "
        "page on, old application off, then:",
        page_on(spec),
        shell(commands.psql(source, commands.end_ours(plan_id))),
        shell(commands.psql(target, commands.end_ours(plan_id))),
        shell(commands.psql(source, commands.CLOSE)),
        "**2. Remove the way back**, which may have been prepared, and let the copy follow to the end:",
        shell(links.unsubscribe(source, names.back_name(plan_id), tidy=False)),
        shell(links.unpublish(copy, names.back_name(plan_id), tidy=False)),
        shell(links.again(copy, ahead)),
        "**3. Wait until the copy has every row.** It must say EVERYTHING HAS ARRIVED. If it stops with an error, go "
        f"back as in B. {_limited('source')}",
        shell(commands.psql(source, links.of(ahead, links.ALONE, links.ARRIVED))),
        "The copy must show the same row:",
        shell(commands.psql(copy, links.MARKER)),
        "**4. Sequences and materialized views**:",
        shell(links.sequences(source, copy)),
        shell(commands.psql(copy, links.VIEWS)),
        "**5. The copy follows no more**; then slot and publication of the old server go:",
        shell(links.unsubscribe(copy, ahead, tidy=True)),
        shell(links.unpublish(source, ahead, tidy=True)),
        "**6. Open it under the target's name**; from here on users may write there:",
        shell(commands.psql(target, commands.exchange(names.aside_name(plan_id), names.copy_name(plan_id)))),
        "**7. See that the new host answers**, before anybody is sent there; each must print the status that stands "
        "behind it:",
        shell(commands.ask_health(spec, spec.dns.to)),
        "**8. Point DNS to the new host**, then take the maintenance page off:",
        *pointed(spec, spec.dns.from_, spec.dns.to, commands.low_ttls(spec)),
        shell(commands.ask_dns(spec, servers(progress))),
    )


def not_followed(spec: Spec, progress: Progress) -> str:
    """D: the old host is behind, or does not follow any more."""
    plan_id = progress.plan_id
    back = names.back_name(plan_id)
    source, target = spec.database.source, spec.database.target
    return section(
        "D. The old host does not follow any more",
        "After the step Finish, after it was done by hand, or when the reverse copy broke (the slot is lost, a table "
        "was changed): rows written on the new host since then are not on the old one, and going back would leave them "
        "behind. Go forward. To go back all the same, somebody who may decide it has to say so: it is a new switchover "
        "the other way.",
        "**Nothing of a link may stay**, or the new server keeps its write-ahead log for the old one until its disk is "
        f"full. If {LISTS} show anything, end it (the step Finish does the same):",
        shell(links.unsubscribe(source, back, tidy=True)),
        shell(links.unpublish(target, back, tidy=True)),
    )


def _limited(side: str) -> str:
    """What keeps a role that is no superuser from following a closed database."""
    return (
        "(If the log of the server that follows says `too many connections for database`, its role is no superuser, "
        f"and the limit holds it off: on the {side}, `ALTER DATABASE … CONNECTION LIMIT -1`, and once more.)"
    )


def _copy(spec: Spec, progress: Progress) -> str:
    return commands.with_database(spec.database.target, names.copy_name(progress.plan_id))


def _see(progress: Progress) -> str:
    return f"\\set link {names.ahead_name(progress.plan_id)}\n{links.SEE}"
