"""Step 4: a window that fits the forecast and the caches; notice, calendar file and recovery plan."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from switchover.engine.action import Action, Seen
from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.decide import forecast, low_ttl_fact, undo_s
from switchover.plan.outline import StepName
from switchover.postgres.facts import server_facts
from switchover.report.runbook import runbook
from switchover.words import duration, instant

if TYPE_CHECKING:
    from pathlib import Path

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.spec import Spec, WindowSpec
    from switchover.steps.context import Context


def build(context: Context) -> Step:
    """Gates on the clock, then two files that the operator sends, and the recovery plan of this switchover."""
    spec = context.spec

    async def scheduled() -> Verdict:
        if spec.window is None:
            return Verdict(False, "the plan has no [window]", "add [window] with start, timezone and length")
        now = datetime.now(UTC)
        says = f"{instant(spec.window.opens, spec.window.zone)} for {duration(spec.window.length)}"
        if spec.window.closes <= now:
            return Verdict(False, f"{says}: over since {duration(now - spec.window.closes)}", "set a new window.start")
        return Verdict(True, says)

    async def fits() -> Verdict:
        if spec.window is None:
            return Verdict(None, "no window to fit")
        context.size = (await server_facts(context.source, context.app)).size_bytes
        return _fits(context, spec.window)

    async def safe() -> Verdict:
        return _safe(context, spec.window) if spec.window else Verdict(None, "no window to compare with")

    gates = (
        Gate("the window is set", scheduled),
        Gate("forecast and way back fit the window", fits),
        Gate("caches have forgotten the old TTL before it opens", safe),
    )
    actions: tuple[Action, ...] = ()
    if spec.window is not None:
        notice = _file_action("notice", context.folder / "notice.txt", notice_text(spec))
        calendar = _file_action("calendar", context.folder / "window.ics", calendar_text(spec, context.plan_id))
        text = runbook(spec, context.progress(), context.path.name)
        actions = (notice, calendar, _file_action("runbook", context.folder / "runbook.md", text, "whoever is called"))
    return Step(StepName.WINDOW, gates, actions, facts=lambda: _facts(context))


def _fits(context: Context, window: WindowSpec) -> Verdict:
    progress = context.progress()
    expected = forecast(progress, context.size or 0.0)
    if expected is None:
        return Verdict(None, "no rehearsal to forecast from", "run the rehearsal")
    back = undo_s(progress)
    needs = expected.high_s + back
    says = (
        f"{duration(expected.low_s)} to {duration(expected.high_s)}, and {duration(back)} to go back, "
        f"in {duration(window.length)}"
    )
    if needs > window.length.total_seconds():
        return Verdict(False, says, f"make window.length at least {duration(needs)}")
    return Verdict(True, says)


def _safe(context: Context, window: WindowSpec) -> Verdict:
    progress = context.progress()
    safe, lead = low_ttl_fact(progress, "safe"), low_ttl_fact(progress, "lead_ends")
    if safe is None or lead is None:
        return Verdict(None, "the TTL has not been proved low", "run lower-ttl")
    ready = max(safe, lead)
    says = f"safe from {instant(ready, window.zone)}, opens {instant(window.opens, window.zone)}"
    if ready > window.opens:
        return Verdict(False, says, f"move window.start to {instant(ready, window.zone)} or later")
    return Verdict(True, says)


def _facts(context: Context) -> Facts:
    window = context.spec.window
    if window is None:
        return {}
    return {"opens": window.opens.isoformat(), "closes": window.closes.isoformat(), "size": context.size}


def notice_text(spec: Spec) -> str:
    """What the users of the application are told; plain text to paste."""
    window = spec.window
    assert window is not None  # the gate has looked
    own = f"\n{window.notice}\n" if window.notice else ""
    contact = f"\nQuestions: {window.contact}\n" if window.contact else ""
    return (
        f"Maintenance of {', '.join(spec.dns.names)}\n\n"
        f"From  {instant(window.opens, window.zone)}  ({instant(window.opens)})\n"
        f"To    {instant(window.closes, window.zone)}  ({instant(window.closes)})\n\n"
        "The application moves to a new host. During this time it may not be available. Nothing that was saved "
        f"before is lost.\n{own}{contact}"
    )


def calendar_text(spec: Spec, plan_id: str) -> str:
    """The window as an iCalendar file (RFC 5545), with its time zone."""
    from icalendar import Calendar, Event

    window = spec.window
    assert window is not None  # the gate has looked
    event = Event()
    event.add("uid", f"{plan_id}@switchover")
    event.add("summary", f"Maintenance: {', '.join(spec.dns.names)}")
    event.add("dtstart", window.opens.astimezone(window.zone))
    event.add("dtend", window.closes.astimezone(window.zone))
    event.add("dtstamp", window.opens - timedelta(days=1))
    event.add("description", notice_text(spec))
    event.add("transp", "TRANSPARENT")
    calendar = Calendar()
    calendar.add("prodid", "-//switchover//maintenance window//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add_component(event)
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical()).decode()


def _file_action(kind: str, path: Path, text: str, reader: str = "the users") -> Action:
    wanted = hashlib.sha256(text.encode()).hexdigest()

    async def observe() -> Seen:
        found = _digest(path)
        facts: Facts = {"file": path.name, "sha256": found}
        return Seen.done(**facts) if found == wanted else Seen.todo(**facts)

    async def apply(live: Live) -> Facts:
        _write(path, text)
        live.log(f"wrote {path.name}")
        return {}

    return Action(f"write-{kind}", f"write the {kind} for {reader}", observe, apply, does=(f"write {path.name}",))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Write the file, 0600, whole or not at all."""
    half = path.with_suffix(".half")
    half.touch(mode=0o600)
    half.write_text(text, newline="")
    half.replace(path)
