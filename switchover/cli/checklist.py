"""``checklist``: what production asks for, category by category, and how each item stands."""

from __future__ import annotations

import json
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.plan.file import load
from switchover.plan.progress import fold
from switchover.readiness.availability import allowed_downtime, slower_than_asked, spent_by_window, target_words
from switchover.readiness.checklist import judge, read_items
from switchover.readiness.checklist.judge import score, score_words
from switchover.readiness.topology import single_points
from switchover.words import glyph, plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec
    from switchover.readiness.checklist import Checklist, Standing

WIDTH = 110


def checklist(options: argparse.Namespace) -> int:
    """Print every item; 0 when every required one stands, or is shown by a step to come."""
    loaded = load(options.plan)
    items = read_items(loaded.spec, loaded.path.parent)
    progress = fold(loaded.spec, loaded.entries)
    found = judge(loaded.spec, items, progress, datetime.now(UTC))
    if options.json:
        say(json.dumps(_as_json(loaded.spec, found), indent=2))
    else:
        for line in _lines(loaded.spec, progress, found):
            say(line)
    return 1 if found.missing or found.failing else 0


def _lines(spec: Spec, progress: Progress, found: Checklist) -> Iterator[str]:
    if spec.readiness is not None:
        yield target_words(spec.readiness.availability)
    yield from (each for each in (spent_by_window(spec), slower_than_asked(spec, progress)) if each)
    alone = single_points(spec)
    if alone:
        yield f"alone of its kind, as the plan declares it: {', '.join(alone)}"
    for category in found.categories:
        stand, of = score(found.of(category))
        yield f"\n{category}  {stand} of {of}"
        for each in found.of(category):
            yield from _item(each)
    yield f"\n{score_words(found)}; {len(found.missing)} wait for a person"


def _item(each: Standing) -> Iterator[str]:
    grade = "required" if each.required else "recommended"
    owner = f", owner {plain(each.owner, 60)}" if each.owner else ""
    yield f"  {glyph(each.status)} {each.item.id}: {plain(each.item.title, 200)} ({grade}{owner})"
    says = f"{each.status}: {plain(each.says, 400)}"
    yield textwrap.fill(says, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _as_json(spec: Spec, found: Checklist) -> dict[str, object]:
    target = spec.readiness.availability if spec.readiness is not None else None
    return {
        "availability": target,
        "allowed_downtime_s": allowed_downtime(target).total_seconds() if target is not None else None,
        "missing": [each.item.id for each in found.missing],
        "items": [
            {
                "id": each.item.id,
                "category": each.category,
                "title": each.item.title,
                "required": each.required,
                "status": each.status,
                "says": each.says,
                "owner": each.owner,
                "signed_by": each.signed.who if each.signed else None,
                "signed_at": each.signed.at.isoformat() if each.signed else None,
                "link": each.signed.link if each.signed else "",
                "expires": each.expires.isoformat() if each.expires else None,
                "seeds": list(each.item.seeds or ()),
            }
            for each in found.standings
        ],
    }
