"""Step 6: health as users see it for long enough, the old answer gone, nobody left on the source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.resolvers import HOLDS_OLD, Expected, named, sample
from switchover.engine.action import Action, ActionFailed, Seen
from switchover.engine.step import Step
from switchover.plan.decide import replicates, step_of
from switchover.plan.journal import Draft, What
from switchover.plan.outline import FIRST_WRITE, StepName
from switchover.plan.progress import Passed
from switchover.postgres.replication.written import rows_written
from switchover.postgres.sessions import clients
from switchover.steps.caches import old_answer_gone
from switchover.steps.current import caught_up, lag_facts
from switchover.steps.links import links
from switchover.steps.opening import change_facts, written_since
from switchover.steps.outage import metered
from switchover.web.health import Soak, soak
from switchover.words import count

if TYPE_CHECKING:
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.engine.runner import Runner
    from switchover.plan.journal import Json
    from switchover.steps.context import Context


def build(context: Context, runner: Runner) -> Step:
    """Nothing is changed: every action only looks."""
    live = replicates(context.progress())
    return Step(
        StepName.VERIFY,
        actions=(
            _soak_action(context),
            _resolvers_action(context),
            _silent_action(context),
            *((_counted_action(context, runner), _current_action(context)) if live else ()),
            *(() if live else (_writes_action(context, runner),)),
        ),
        around=lambda: metered(context, runner, StepName.VERIFY),
    )


def _soak_action(context: Context) -> Action:
    """Public resolution and the pinned address, side by side; time not watched by this run does not count."""
    verify = context.spec.verify
    watched: Facts = {}

    async def resolve(name: str) -> str | None:
        """The address as users get it: from the plan's resolver, or from the first that answers."""
        for resolver in named([str(context.resolver)] if context.resolver else context.spec.dns.resolvers):
            answer = await ask(resolver.addresses[0], name, "A", recursion=True)
            if answer.values:
                return answer.values[0]
        return None

    async def observe() -> Seen:
        return Seen.done(**watched) if watched else Seen.todo()

    async def apply(live: Live) -> Facts:
        how = Soak(verify.soak.total_seconds(), verify.every.total_seconds(), verify.allow_failures)
        result = await soak(
            context.spec.health, how, pinned=context.spec.dns.to, resolve=resolve, on_progress=live.progress
        )
        facts = result.to_json()
        if not result.ok:
            raise ActionFailed(
                f"{count(result.failures, 'failure')} in {count(result.probes, 'probe')}: {result.first_failure}"
            )
        watched.update(facts)
        return {}

    return Action(
        "soak",
        "health checks for the soak time, pinned and as users resolve it",
        observe,
        apply,
        does=tuple(f"GET {check.url}" for check in context.spec.health),
        deadline_s=verify.soak.total_seconds() * 2 + 120,
        interruptible=True,
    )


def _resolvers_action(context: Context) -> Action:
    dns = context.spec.dns
    looked: Facts = {}

    async def observe() -> Seen:
        gone = old_answer_gone(context.progress(), dns.low_ttl)
        if looked and datetime.now(UTC) >= gone:
            return Seen.done(**looked)
        return Seen.todo(gone=gone.isoformat())

    async def apply(live: Live) -> Facts:
        views: list[Json] = []
        gone = old_answer_gone(context.progress(), dns.low_ttl)
        expected = Expected(frozenset({dns.from_}), frozenset({dns.to}), bound=gone)
        for name in dns.names:
            for view in await sample(named(dns.resolvers), name, expected, 2):
                views.append(
                    {
                        "resolver": view.name,
                        "name": name,
                        "state": view.state.value,
                        "expires": view.expires.isoformat() if view.expires else None,
                    }
                )
                live.log(f"{view.name}: {name} {view.state.value}")
        looked.update(
            resolvers=views,
            old=sum(1 for view in views if isinstance(view, dict) and view["state"] in HOLDS_OLD),
        )
        return {}

    return Action(
        "resolvers",
        "ask public resolvers; the authoritative proof and the TTL are what counts",
        observe,
        apply,
        does=("ask each resolver of the list twice for each name",),
        deadline_s=120,
        interruptible=True,
    )


def _silent_action(context: Context) -> Action:
    """Nobody uses the source any more."""

    async def observe() -> Seen:
        left = await clients(context.source, context.app, context.app_prefix)
        facts: Facts = {
            "clients": [
                f"{each.user} {each.application_name} from {each.address or 'the host itself'}" for each in left
            ]
        }
        return Seen.todo(**facts) if left else Seen.done(**facts)

    async def apply(live: Live) -> Facts:
        left = await clients(context.source, context.app, context.app_prefix)
        who = "; ".join(
            f"{each.user} {each.application_name} from {each.address or 'the host itself'}" for each in left
        )
        raise ActionFailed(f"still connected to the source: {who}. Point them to the new host, then run again")

    return Action("source-silent", "nobody is left on the source", observe, apply, does=("read pg_stat_activity",))


def _counted_action(context: Context, runner: Runner) -> Action:
    """The old host is kept current, so nothing can be compared: the target's own counters tell what was written."""
    looked: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**looked) if looked else Seen.todo()

    async def apply(live: Live) -> Facts:
        now = (await rows_written(context.target, context.app)).to_json()
        actions = step_of(context.progress(), StepName.CUTOVER).actions
        counted = next((each.result.get("counted") for each in actions if each.id == "prepare-back"), None)
        looked.update(at=datetime.now(UTC).isoformat(timespec="seconds"))
        if not isinstance(counted, dict):  # a run that was killed took the count with it
            return {}
        written: dict[str, Json] = {key: int(str(now[key])) - int(str(counted[key])) for key in now}
        wrote = any(value != 0 for value in written.values())
        if wrote and context.progress().passed is not Passed.YES:
            runner.journal.append(Draft(StepName.VERIFY, "", What.EVIDENCE, {"kind": FIRST_WRITE}))
        changes: list[Json] = [{"table": "all tables, by the server's counters", **written}] if wrote else []
        looked.update(changes=changes)
        return {}

    return Action(
        "written",
        "count the rows written on the target since it opened",
        observe,
        apply,
        does=("read pg_stat_user_tables",),
        interruptible=True,
    )


def _current_action(context: Context) -> Action:
    """The way back is open: the old host has everything but the last moments."""
    looked: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**looked) if looked else Seen.todo()

    async def apply(live: Live) -> Facts:
        looked["lag"] = lag_facts(await caught_up(context, (await links(context)).back, live))
        return {}

    return Action(
        "kept-current",
        "see that the old host is kept current",
        observe,
        apply,
        does=("read pg_replication_slots, pg_stat_replication and pg_stat_subscription",),
        deadline_s=3600,
        interruptible=True,
    )


def _writes_action(context: Context, runner: Runner) -> Action:
    """Which tables users have written on the target since it opened: whether the point of no return is passed."""
    looked: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**looked) if looked else Seen.todo()

    async def apply(live: Live) -> Facts:
        written = await written_since(context)
        if written and context.progress().passed is not Passed.YES:
            seen: dict[str, Json] = {
                "kind": FIRST_WRITE,
                **({"table": written.tables[0].table} if written.tables else {}),
            }
            runner.journal.append(Draft(StepName.VERIFY, "", What.EVIDENCE, seen))
        looked.update(**change_facts(written), at=datetime.now(UTC).isoformat(timespec="seconds"))
        return {}

    return Action(
        "written",
        "count the rows written on the target since it opened",
        observe,
        apply,
        does=(
            "compare the target with the fenced source: schema and sequences, and row by row by primary key where "
            "tables differ",
        ),
        deadline_s=86400,
        interruptible=True,
    )
