"""``attest`` and ``decide``: a person's statement or decision, journaled."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.cli.trouble import WrongUse
from switchover.plan.file import append, load
from switchover.plan.journal import Draft, What
from switchover.plan.progress import fold
from switchover.words import plain

if TYPE_CHECKING:
    import argparse
    from datetime import date

    from switchover.plan.journal import Entry


def attest(options: argparse.Namespace) -> int:
    """Sign one item of the plan's checklist."""
    from switchover.readiness.checklist import Statement, judge, read_items, sign

    loaded = load(options.plan)
    items = {item.id: item for item in read_items(loaded.spec, loaded.path.parent)}
    if options.item not in items:
        raise WrongUse(f"the plan has no checklist item {plain(options.item)!r}; it has: {', '.join(items) or 'none'}")
    if not options.note.strip():
        raise WrongUse("a note is needed: what was looked at, or a link")
    item, now = items[options.item], datetime.now(UTC)
    (standing,) = judge(loaded.spec, [item], fold(loaded.spec, loaded.entries), now).standings
    if not standing.signable:
        raise WrongUse(f"nobody signs {item.id}: {standing.says}")
    said = Statement(item.id, options.note, options.link, options.owner, _expires(options.expires, now))
    _told(options, append(options.plan, sign(loaded.spec, item, said)))
    return 0


def _expires(text: str, now: datetime) -> date | None:
    from switchover.readiness.checklist import last_day

    try:
        return last_day(text, now)
    except ValueError as error:
        raise WrongUse(f"--expires {error}") from None


def decide(options: argparse.Namespace) -> int:
    """Answer a hold that waits for a person."""
    loaded = load(options.plan)
    progress = fold(loaded.spec, loaded.entries)
    key = progress.hold.key if progress.hold is not None else ""
    running = next((state for state in progress.steps if state.status == "running"), None)
    if running is not None and options.choice == "abort":
        key = f"go:{running.name}:{running.attempt}"
    if options.hold != key:
        waits = f"it waits for {key}" if key else "it waits for nobody"
        raise WrongUse(f"the plan does not wait for {plain(options.hold)!r}; {waits}")
    data = {"hold": options.hold, "choice": options.choice, "note": plain(options.note)}
    step = options.hold.split(":")[1] if ":" in options.hold else ""
    _told(options, append(options.plan, Draft(step, "", What.DECIDED, data)))
    return 0


def _told(options: argparse.Namespace, entry: Entry) -> None:
    if options.json:
        say(json.dumps({"seq": entry.seq, "what": entry.what, "who": entry.who, "data": dict(entry.data)}))
    else:
        say(f"recorded as entry {entry.seq}, by {entry.who}")
