"""What production asks for that no program can prove: items, packs of items, and how each stands."""

from switchover.readiness.checklist.judge import Checklist, Standing, Status, judge
from switchover.readiness.checklist.read import ChecklistUnreadable, read_items
from switchover.readiness.checklist.sign import Statement, last_day, sign

__all__ = [
    "Checklist",
    "ChecklistUnreadable",
    "Standing",
    "Statement",
    "Status",
    "judge",
    "last_day",
    "read_items",
    "sign",
]
