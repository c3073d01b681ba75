"""What is said of a rolling update: settings, chart, what is lost, failing images, what to change."""

from __future__ import annotations

import textwrap
from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text

from switchover.readiness.rollout.chart import chart
from switchover.readiness.rollout.settings import FirstCheck, Image, Order
from switchover.readiness.rollout.swarm import simulate
from switchover.words import count, duration, glyph, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.rollout.advice import Change
    from switchover.readiness.rollout.settings import Rollout
    from switchover.readiness.rollout.study import Proposal, Study, Trial
    from switchover.readiness.rollout.timeline import Timeline

_IMAGES = {
    Image.EXITS: "ends before it is ready",
    Image.REFUSES: "refuses connections",
    Image.HANGS: "never answers",
}


def text(
    found: Study, width: int, *, image: Image = Image.WORKS, assumed: bool = False, ascii_only: bool = False
) -> Text:
    """The whole answer, no line wider than ``width``; ``image`` is the one that the chart shows."""
    lines = [*_settings(found, assumed=assumed), Text()]
    if image is Image.WORKS:
        lines.append(chart(found.now.timeline, found.now.requests, width, ascii_only=ascii_only))
    else:
        lines.append(Text(f"a new image that {_IMAGES[image]}:", "bold"))
        lines.append(chart(simulate(found.now.settings, image), None, width, ascii_only=ascii_only))
    lines += [Text(), *_outcome(found, ascii_only=ascii_only), Text(), *_failures(found, ascii_only=ascii_only)]
    lines += [Text(), *_advice(found, ascii_only=ascii_only)]
    return Text("\n").join(line for each in lines for line in _wrapped(each, width))


def _wrapped(line: Text, width: int) -> list[Text]:
    """One line stays one where it fits; else it goes on below its first word after the indent."""
    if "\n" in line.plain or line.cell_len <= width:
        return [line]
    indent = " " * (len(line.plain) - len(line.plain.lstrip()) + 2)
    style = line.spans[0].style if line.spans else line.style
    return [Text(each, style) for each in textwrap.wrap(line.plain, width, subsequent_indent=indent)]


def _settings(found: Study, *, assumed: bool) -> Iterator[Text]:
    settings = found.now.settings
    start = f"start in {duration(settings.startup_s)}" + (" (assumed)" if assumed else "")
    yield Text.assemble(
        (plain(found.service), "bold"), f": {count(settings.replicas, 'replica')} that {start}; {_update(settings)}"
    )
    yield Text(f"  {_probes(settings)}")
    yield from (Text(f"  {line}") for line in _balancer(settings))


def _update(settings: Rollout) -> str:
    update = settings.update
    at_a_time = f"{update.parallelism} at a time" if update.parallelism else "all at once"
    return f"{update.order}, {at_a_time}, delay {duration(update.delay_s)}"


def _probes(settings: Rollout) -> str:
    check = settings.healthcheck
    if check is None:
        return "container health check: none in the file; one in the image is not seen"
    period = f", start period {duration(check.start_period_s)}" if check.start_period_s else ""
    return f"container health check: every {duration(check.interval_s)}, {check.retries} retries{period}"


def _balancer(settings: Rollout) -> Iterator[str]:
    balancer = settings.balancer
    if balancer.by_vip:
        yield "load balancer: Docker's virtual address, told by the engine"
        return
    yield f"load balancer: Traefik, asks Docker every {duration(balancer.poll_s)}"
    if balancer.check is None:
        yield "load balancer's check: none"
        return
    first = "at once" if balancer.first_check is FirstCheck.AT_ONCE else "after one interval"
    every = duration(balancer.check.interval_s)
    yield f"load balancer's check: {plain(balancer.check.path, 60)} every {every}, the first {first}"


def _outcome(found: Study, *, ascii_only: bool) -> Iterator[Text]:
    now = found.now
    yield Text("A new image that works", "bold")
    yield _line("capacity", _capacity(now.timeline), good=now.lossless, ascii_only=ascii_only)
    yield _line("requests", _requests(now), good=now.requests.mean_s == 0, ascii_only=ascii_only)
    length = f"docker says {now.timeline.outcome} after {duration(now.timeline.decided_s)}"
    yield Text(f"  length    {length}; at most {count(now.timeline.most, 'container')} at a time")
    if found.worse_than_defaults:
        says = f"worse than with Docker's defaults, where {_seconds(found.defaults.requests.mean_s)} of traffic fail"
        yield _line("defaults", says, good=False, ascii_only=ascii_only)


def _line(head: str, says: str, *, good: bool, ascii_only: bool) -> Text:
    state, style = ("done", "green") if good else ("failed", "bold red")
    return Text.assemble((glyph(state, ascii_only=ascii_only), style), f" {head:<9} {says}")


def _capacity(timeline: Timeline) -> str:
    if not timeline.takes:
        return f"{timeline.outcome}, and not updated: the health check gives up before a container has started"
    if not timeline.lost_s:
        return f"all {timeline.replicas} serve at every moment"
    times = {1: "once", 2: "twice"}.get(timeline.dips, f"{timeline.dips} times")
    return (
        f"down to {timeline.fewest} of {timeline.replicas}, {times}; {timeline.lost_s:.0f} replica-seconds lost; "
        f"all after {duration(timeline.all_serve_s)}"
    )


def _requests(trial: Trial) -> str:
    found = trial.requests
    if not found.worst_s:
        return "none fails"
    outage = f"; for up to {_seconds(found.outage_s)} every one" if found.outage_s else ""
    return f"{_seconds(found.mean_s)} of traffic fail, {_seconds(found.worst_s)} at worst{outage}"


def _failures(found: Study, *, ascii_only: bool) -> Iterator[Text]:
    yield Text("A new image that fails", "bold")
    for image, timeline in found.failing.items():
        whole = timeline.fewest == timeline.replicas
        yield _line(image, f"{_IMAGES[image]}: {_end(timeline)}", good=whole, ascii_only=ascii_only)


def _end(timeline: Timeline) -> str:
    serving = timeline.capacity[-1][1]
    noticed = f"noticed after {duration(timeline.stopped_s)}" if isfinite(timeline.stopped_s) else "never noticed"
    lowest = f"{timeline.fewest} of {timeline.replicas} serve"
    then = f" at the lowest, {serving} in the end" if serving != timeline.fewest else ""
    return f"{noticed}, {timeline.outcome}; {lowest}{then}"


def _advice(found: Study, *, ascii_only: bool) -> Iterator[Text]:
    if found.mended is None:
        yield Text("No change known here keeps all replicas serving; start-first and a health check did not.", "bold")
        return
    if not found.now.lossless:
        yield Text("To lose no capacity, change", "bold")
        yield from _proposal(found.mended, ascii_only=ascii_only)
    yield from _caution(found)
    if found.shortest is None:
        yield Text("Whatever the settings, for a moment every request fails: the balancer learns too late.", "bold")
    elif found.shortest.changes:
        yield Text("Shortest that loses none, the balancer seeing each batch before the next", "bold")
        yield from _proposal(found.shortest, ascii_only=ascii_only)
    else:
        yield Text("None that loses nothing, the balancer seeing each batch before the next, is shorter.", "bold")
    for says, trial in found.informed.items():
        yield Text(f"  with {says}: {_requests(trial)}")


def _proposal(proposal: Proposal, *, ascii_only: bool) -> Iterator[Text]:
    wide = max((len(change.key) for change in proposal.changes), default=0)
    for change in proposal.changes:
        yield _change(change, wide, ascii_only=ascii_only)
    timeline = proposal.trial.timeline
    yield Text(f"  then {timeline.outcome} after {duration(timeline.decided_s)}; {_requests(proposal.trial)}")


def _change(change: Change, wide: int, *, ascii_only: bool) -> Text:
    arrow = "->" if ascii_only else "→"
    return Text.assemble("  ", (f"{change.key:<{wide}}", "cyan"), f"  {change.now} {arrow} ", (change.to, "bold"))


def _caution(found: Study) -> Iterator[Text]:
    """What start-first asks for, where it would be new."""
    if found.mended is not None and found.now.settings.update.order is not Order.START_FIRST:
        most = found.mended.trial.timeline.most
        yield Text(
            f"  start-first only where old and new may run side by side: no host-mode port, no volume that one alone "
            f"may write, room for {most} containers"
        )


def _seconds(value: float) -> str:
    return duration(value if value < 10 else round(value))
