"""How propagation looks: text made from (picture, now), without a screen.

What the authoritative servers give is the gate; what resolvers hold colours the picture, never more.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from switchover.tui.draw import STYLES, mark
from switchover.tui.grid import Row, grid
from switchover.words import clock, count, duration, instant, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from switchover.tui.feed import Feed
    from switchover.tui.picture import Cache, Oddity, Picture, Server

WORDS = {
    "ok": "answers",
    "new": "new",
    "old": "old",
    "low": "low TTL",
    "other": "other",
    "mixed": "mixed",
    "both": "both",
    "stale": "stale",
    "floor": "too long",
    "nodata": "no data",
    "nxdomain": "no name",
    "servfail": "SERVFAIL",
    "refused": "refused",
    "filtered": "filtered",
    "lame": "lame",
    "cache": "a cache",
    "bogus": "bogus",
    "broken": "broken",
    "timeout": "no answer",
    "no-route": "no route",
}
SILENT = ("timeout", "no-route", "refused", "filtered")
"""What a resolver says nothing of the record with."""
HOLDS_OLD = ("old", "mixed", "both", "stale", "floor")
MEANINGS = (
    ("done", "what the plan expects by now: the low TTL before the cut, the new address after it"),
    ("todo", "a cache holds the old address while it still may"),
    ("stale", "old, mixed or both: not yet, or not any more, what is expected"),
    ("warn", "stale or too long: a cache that keeps the old address beyond its TTL"),
    ("failed", "wrong: another address, no such name, a server that cannot answer for the zone"),
    ("unknown", "no answer, or no route from here: says nothing, and counts as no"),
)
KINDS = {"error": "failed", "warn": "warn", "info": "todo"}
LABEL = 15
ROOMY = 98

Part = tuple[str, str]
"""Words and their style."""


def clocks(picture: Picture | None, now: datetime, zone: ZoneInfo | None) -> Text:
    """T0, the safe instant, the exposure: the three lines that everything else explains."""
    return Text("\n").join(
        Text.assemble((f" {label:<{LABEL}}", "bold"), *parts)
        for label, parts in (
            ("T0", _t0(picture)),
            ("safe instant", _safe(picture, now, zone)),
            ("exposure", _exposure(picture, now)),
        )
    )


def _t0(picture: Picture | None) -> list[Part]:
    if picture is None:
        return [("not known yet", "bold")]
    if not picture.phase:
        return [("none", "bold"), ("  no plan expects a change of this name", "")]
    what = "the new address" if picture.phase == "cut" else "the low TTL"
    if picture.t0 is None:
        return [("not yet", "bold yellow"), (f"  {_good(picture, what)}", "")]
    if not picture.proved:
        return [(instant(picture.t0), "bold yellow"), ("  not proved", "")]
    if picture.weaker:
        return [(instant(picture.t0), "bold yellow"), ("  proved earlier; not to be seen now", "")]
    if not all(server.good or server.waived for server in picture.servers):
        good = sum(server.good for server in picture.servers)
        return [
            (instant(picture.t0), "bold yellow"),
            (f"  proved earlier; now {good} of {len(picture.servers)} give it", ""),
        ]
    return [(instant(picture.t0), "bold green"), (f"  proved: every server gives {what}", "")]


def _good(picture: Picture, what: str) -> str:
    """How many addresses give what they shall."""
    counted = [server for server in picture.servers if not server.waived]
    good = sum(server.good for server in counted)
    enough = "; not for long enough yet" if counted and good == len(counted) else ""
    return f"{good} of {len(counted)} addresses give {what}{enough}"


def _safe(picture: Picture | None, now: datetime, zone: ZoneInfo | None) -> list[Part]:
    if picture is None:
        return [("not known yet", "bold")]
    if picture.safe is None:
        return [("not known", "bold"), ("  before T0 there is none" if picture.phase else "", "")]
    left = (picture.safe - now).total_seconds()
    at = moment(picture.safe, now) + (f" ({clock(picture.safe, zone)})" if zone is not None else "")
    if left > 0:
        return [(f"in {countdown(left)}", "bold cyan"), (f"  at {at}", "")]
    return [("passed", "bold green"), (f"  {countdown(-left)} ago, at {at}", "")]


def _exposure(picture: Picture | None, now: datetime) -> list[Part]:
    seconds = exposed_s(picture, now) if picture is not None else None
    if picture is None or seconds is None:
        return [("not known yet", "bold")]
    if picture.phase != "cut":
        act = "if you cut now" if picture.phase else "if it changed now"
        return [(f"{act}, caches may keep the old address for up to ", ""), (countdown(seconds), "bold yellow")]
    if picture.safe is not None and seconds <= 0:
        return [("none", "bold green"), ("  caches that obey TTLs have dropped the old address", "")]
    rest = " more" if picture.safe is not None else " after T0"
    return [("caches may keep the old address for up to ", ""), (countdown(seconds), "bold yellow"), (rest, "")]


def exposed_s(picture: Picture, now: datetime) -> float | None:
    """For how many seconds from ``now`` caches may keep the old address; None when that is not known."""
    if picture.safe is None:
        return picture.exposure_s
    floor = 0 if picture.phase == "cut" else picture.low_ttl or 0
    return max(float(floor), (picture.safe - now).total_seconds())


def countdown(seconds: float) -> str:
    """A span in whole seconds, rounded up: nothing runs out early."""
    return duration(-int(-seconds // 1))


def title(names: Sequence[str], name: str, feed: Feed, now: datetime, width: int) -> Text:
    """Whose picture it is, and how old it is."""
    first = Text.assemble(" propagation of ", (name or "nothing", "bold"))
    if len(names) > 1 and name in names:
        first.append(f"   {names.index(name) + 1} of {len(names)}: left, right")
    picture = feed.pictures.get(name)
    second = Text(" ")
    if picture is None or picture.at is None:
        second.append("nothing seen yet", "bold")
    else:
        second.append(f"asked {duration(int(max(0.0, (now - picture.at).total_seconds())))} ago", "bold")
    if picture is not None and picture.round is not None:
        second.append(f", round {picture.round}")
    second.append(_following(picture, feed, now))
    return _fitted([first, second], width)


def _following(picture: Picture | None, feed: Feed, now: datetime) -> str:
    """When the next round may be expected, by the pace of those before."""
    if feed.ended:
        return ", no next one: the asking has ended"
    if picture is None:
        return ", the first round is being asked"
    gap = feed.gaps.get(picture.name)
    if gap is None or picture.at is None:
        return ", the next is on its way"
    left = gap - (now - picture.at).total_seconds()
    return f", next in about {countdown(left)}" if left > 0 else ", next any moment"


def notices(picture: Picture | None, feed: Feed, *, ascii_only: bool) -> Text:
    """What must not be overlooked: an ended child, a weaker look, findings far below; empty when there is nothing."""
    found: list[Part] = []
    if feed.ended:
        found.append(("failed", f"asking {feed.ended}. r asks again; the plan is as it was"))
    if picture is not None and picture.weaker:
        found.append(("warn", f"weaker: {picture.weaker}"))
    errors = [each.name for each in picture.oddities if each.severity == "error"] if picture is not None else []
    if errors:
        found.append(("failed", f"{count(len(errors), 'error')} below: {', '.join(errors[:6])}"))
    if feed.ignored:
        found.append(("unknown", f"{count(feed.ignored, 'line')} from the asking made no sense"))
    return Text("\n").join(
        Text.assemble(" ", mark(kind, ascii_only=ascii_only), " ", (says, STYLES[kind])) for kind, says in found
    )


def servers(picture: Picture, now: datetime, width: int, *, ascii_only: bool) -> Text:
    """The authoritative addresses: the gate."""
    zone = f" of {picture.zone}" if picture.zone else ""
    lines = [Text.assemble((f"Authoritative servers{zone}", "bold"), ": the gate; only they prove")]
    if picture.primary and width >= ROOMY:
        lines[0].append(f" (primary {picture.primary})")
    lines += [Text(alias) for alias in picture.aliases]
    rows = [_server(each, picture, now) for each in picture.servers]
    lines += grid(("server", "address", "says", "TTL", "serial", "since"), rows, width, ascii_only=ascii_only)
    if not rows:
        lines.append(Text("none was seen", STYLES["unknown"]))
    return _fitted(lines, width)


def _server(server: Server, picture: Picture, now: datetime) -> Row:
    return Row(
        _server_kind(server, picture),
        _word(server.state),
        (
            server.host or "?",
            server.address,
            (", ".join(server.values) or server.says)[:60],
            str(server.ttl) if server.ttl is not None else "",
            str(server.serial) if server.serial is not None else "",
            moment(server.since, now) if server.since is not None else "",
        ),
        "accepted in the plan as it is" if server.waived else "",
    )


def _server_kind(server: Server, picture: Picture) -> str:
    """Good, not yet, wrong or unknown; what is right depends on whether the address has been changed."""
    right = {"": "ok", "cut": "new"}.get(picture.phase, "low")
    if server.good or server.state == right:
        return "done"
    if server.state in ("timeout", "no-route"):
        return "unknown"
    return "stale" if server.state in ("old", "low", "ok") else "failed"


def resolvers(picture: Picture, now: datetime, width: int, *, ascii_only: bool) -> Text:
    """Public resolvers: colour. Those that hold the old address come first, those that say nothing in one line."""
    told = [each for each in picture.caches if each.state not in SILENT]
    counted = Counter(_word(each.state) for each in told)
    says = ", ".join(f"{number} {word}" for word, number in counted.most_common())
    lines = [Text.assemble(("Resolvers", "bold"), f", colour, never the gate: {says or 'none says anything'}")]
    rows = [_cache(each, picture, now) for each in sorted(told, key=_weight)]
    lines += grid(("resolver", "address", "left", "until"), rows, width, ascii_only=ascii_only)
    for state in SILENT:
        names = [each.name for each in picture.caches if each.state == state]
        if names:
            who = ", ".join(dict.fromkeys(names))
            lines.append(Text(f"? {len(names)} {WORDS[state]}: {who}", "dim"))
    if not picture.caches:
        lines.append(Text("none was asked", "dim"))
    return _fitted(lines, width)


def _weight(cache: Cache) -> int:
    return 0 if cache.state in HOLDS_OLD else 2 if cache.state == "new" else 1


def _cache(cache: Cache, picture: Picture, now: datetime) -> Row:
    left = until = ""
    if cache.until is not None:
        seconds = (cache.until - now).total_seconds()
        left = countdown(seconds) if seconds > 0 else "ran out"
        until = moment(cache.until, now)
    return Row(
        _cache_kind(cache.state, cut=picture.phase == "cut"),
        _word(cache.state),
        (cache.name, cache.address, left, until),
        cache.says if cache.state not in ("new", "old", "ok") else "",
    )


def _cache_kind(state: str, *, cut: bool) -> str:
    """Before the cut the old address is what a cache should hold; after it, it is what has to run out."""
    match state:
        case "new":
            return "done" if cut else "stale"
        case "old" | "ok":
            return "stale" if cut else "todo"
        case "mixed" | "both":
            return "stale"
        case "stale" | "floor":
            return "warn"
        case "other" | "nxdomain" | "nodata" | "servfail":
            return "failed"
        case _:
            return "unknown"


def findings(oddities: Sequence[Oddity], width: int, *, ascii_only: bool) -> Text:
    """What is odd, the worst first, and what to do."""
    if not oddities:
        return Text.assemble(("Findings", "bold"), ": none")
    lines = [Text.assemble(("Findings", "bold"), f": {len(oddities)}")]
    order = [*KINDS]
    for each in sorted(oddities, key=lambda each: order.index(each.severity) if each.severity in KINDS else -1):
        lines += _finding(each, KINDS.get(each.severity, "unknown"), width, ascii_only=ascii_only)
    return Text("\n").join(lines)


def _finding(oddity: Oddity, kind: str, width: int, *, ascii_only: bool) -> list[Text]:
    says = f"{oddity.severity or 'unknown'}: {oddity.name}: {oddity.evidence}"
    first, *more = textwrap.wrap(says, max(20, width - 2))
    lines = [Text.assemble(mark(kind, ascii_only=ascii_only), f" {first}"), *(Text(f"  {line}") for line in more)]
    return lines + [Text(f"    {line}", "bold") for line in textwrap.wrap(oddity.fix, max(20, width - 4))]


def first_round(name: str, started: datetime, now: datetime, argv: Sequence[str]) -> Text:
    """What is being asked while nothing has come yet, and since when."""
    asking = duration(int(max(0.0, (now - started).total_seconds())))
    words = " ".join(argv[3:]) if argv[1:2] == ["-m"] else ""
    return Text.assemble(
        (f"Asking for {asking}", "bold"),
        f" about {name}: which servers decide about it, then each of their addresses, three times, then the public "
        "resolvers. The first round takes some seconds; a silent server makes it longer.",
        (f"\n\nswitchover {words}" if words else "", "dim"),
    )


def about(*, ascii_only: bool) -> Text:
    """What the words and marks of this screen mean."""
    text = Text("  up/down  scroll      also page up, page down, home, end\n")
    text.append("\nWords\n", "bold")
    text.append(
        "  T0            since when no authoritative server hands out the old record any more\n"
        "  safe instant  T0 and the old TTL: when the last cache that obeys has forgotten it\n"
        "  exposure      how long caches may keep the old address if one cuts now\n"
    )
    text.append("\nMarks\n", "bold")
    for kind, says in MEANINGS:
        text.append_text(Text.assemble("  ", mark(kind, ascii_only=ascii_only), f" {says}\n"))
    return text.append(
        "\nThe authoritative servers are the gate: the plan goes on only by what they all give. Resolvers are a few\n"
        "caches of many: they colour the picture. A process of its own asks; it ends when this screen is left.\n"
    )


def next_line(picture: Picture | None, now: datetime) -> Text:
    """Where this stands, what comes next, and that no key here changes anything."""
    badge, says = _next(picture, now)
    return Text.assemble(
        (f" {badge} ", "bold reverse"),
        f" {says}\n",
        " Only looks: no key here changes anything. q goes back and ends the asking.",
    )


def _next(picture: Picture | None, now: datetime) -> Part:
    if picture is None:
        return "asking", "next: the first round's picture"
    safe = picture.safe is not None and picture.safe <= now
    match picture.phase:
        case "before":
            return "before", "next: the low TTL at every server; the step Lower the TTL does it"
        case "lowered" if safe:
            return "lowered", "the safe instant has passed; the plan's screen has what else is waited for"
        case "lowered":
            return "lowered", "next: the safe instant; to cut earlier costs the exposure above"
        case "cut" if picture.t0 is None:
            return "cut", "next: the new address at every server; keep the old host up"
        case "cut" if not safe:
            return "cut", "next: the safe instant; keep the old host up until then"
        case "cut":
            return "cut", "caches that obey are done; others may still lead to the old host"
        case _:
            return "no plan", "nothing is expected of this name"


def _fitted(lines: Sequence[Text], width: int) -> Text:
    """One line stays one line."""
    for line in lines:
        if line.cell_len > width:
            line.truncate(width)
    return Text("\n").join(lines)


def _word(state: str) -> str:
    return WORDS.get(state, state[:12] or "unknown")
