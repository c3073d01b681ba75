"""How the checklist looks: text made from how each item stands, without a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from switchover.readiness.availability import spent_by_window, target_words
from switchover.readiness.checklist import Status
from switchover.readiness.checklist.judge import score, score_words
from switchover.tui.draw import STYLES, bar, mark
from switchover.tui.grid import cut
from switchover.words import glyph, instant, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchover.plan.spec import Spec
    from switchover.readiness.checklist import Checklist, Standing

FILTERS: dict[str, Callable[[Standing], bool]] = {
    "all": lambda each: True,
    "to sign": lambda each: each.signable and not each.stands,
    "required and missing": lambda each: each.required and not each.stands and each.status is not Status.NOT_APPLICABLE,
    "signed or waived": lambda each: each.status in (Status.SIGNED, Status.WAIVED),
}
"""Which items are shown, by the word that stands above them."""

WORD = max(len(status) for status in Status)
GRADE = len("required")


def title(spec: Spec, found: Checklist, shown: str, width: int, *, ascii_only: bool) -> Text:
    """The score over all, what the availability allows, and which items are shown."""
    stand, of = score([each for each in found.standings if each.required])
    first = Text.assemble(
        (" readiness  ", "bold"), (bar(stand, of, ascii_only=ascii_only), "cyan"), f" {score_words(found)}"
    )
    said = [] if shown == "all" else [f"shown: {shown}"]
    if spec.readiness is not None:
        said.append(target_words(spec.readiness.availability))
        spent = spent_by_window(spec)
        said += [spent] if spent else []
    else:
        said.append("the plan has no [readiness]: only its own items")
    second = Text(" " + "; ".join(said), "dim")
    for line in (first, second):
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join([first, second])


def heading(found: Checklist, category: str) -> Text:
    """A category and its score."""
    stand, of = score(found.of(category))
    return Text.assemble((category, "bold"), f"  {stand} of {of}")


def row(each: Standing, width: int, *, ascii_only: bool) -> Text:
    """One item: mark, title, whether it is required, and the word for how it stands."""
    grade = "required" if each.required else ""
    room = width - 2 - 2 - GRADE - 2 - WORD
    text = Text.assemble(
        mark(each.status, ascii_only=ascii_only), " ", cut(_line(each.item.title), room, ascii_only=ascii_only)
    )
    lacks = each.required and not each.stands and each.signable
    text.append(f"  {grade:<{GRADE}}", "bold yellow" if lacks else "")
    return text.append(f"  {each.status}", STYLES[each.status])


def detail(each: Standing) -> Text:
    """The item in full: how it stands, why it matters, what its evidence may be, who signed it."""
    item = each.item
    lines = [Text.assemble((_line(item.title), "bold"), f"  {item.id}")]
    lines.append(Text.assemble((f"{each.status}: ", STYLES[each.status]), plain(each.says, 600)))
    if item.why:
        lines.append(Text(f"Why: {plain(item.why, 300)}"))
    if item.evidence:
        lines.append(Text(f"Evidence: {plain(item.evidence, 300)}"))
    said = []
    if each.owner:
        said.append(f"owner {plain(each.owner, 80)}")
    if each.signed is not None:
        said.append(f"signed {instant(each.signed.at)}")
    if each.expires is not None:
        said.append(f"until {each.expires}")
    if item.about:
        said.append(f"speaks of {', '.join(item.about)}")
    if item.seeds:
        said.append(f"asked by {', '.join(item.seeds)}")
    if said:
        lines.append(Text("; ".join(said), "dim"))
    return Text("\n").join(lines)


def next_line(each: Standing | None, *, readable: bool = True) -> Text:
    """What the main key does with the item."""
    if not readable:
        return Text(" the checklist cannot be read: correct the plan, or the file that it names")
    if each is None:
        return Text(" nothing to show; f shows other items")
    if each.signable:
        return Text.assemble((" ⏎ sign ", "bold reverse"), " your name and what you looked at go into the plan")
    return Text.assemble((f" {each.status} ", "bold"), f" {plain(each.says, 200)}; nobody signs this")


def about(*, ascii_only: bool) -> Text:
    """What the marks mean, for the help."""
    means = {
        Status.SIGNED: "somebody has looked, and said so",
        Status.SHOWN: "by a step that is done, or by the plan's topology",
        Status.WAIVED: "missing, and accepted with a reason in the plan",
        Status.NOT_APPLICABLE: "makes no sense here, with a reason in the plan",
        Status.OPEN: "nobody has signed it",
        Status.STALE: "signed, but what it speaks of has changed",
        Status.EXPIRED: "its last day is over",
        Status.LATER: "a step of the switchover will show it",
        Status.FAILS: "what shows it says no",
    }
    text = Text("\nMarks\n", "bold")
    for status, says in means.items():
        text.append(f"  {glyph(status, ascii_only=ascii_only)} {status:<{WORD}}  {says}\n")
    text.append(
        "\nRequired items bar readiness and cutover until they are signed, or waived with a reason in the plan\n"
        "([readiness.waived]). A signature stops counting when its day is over, or when what it speaks of changes.\n"
    )
    return text


def _line(text: str) -> str:
    return " ".join(plain(text, 200).split())
