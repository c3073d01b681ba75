"""A placement constraint, as swarmkit reads it."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"\s*((?:node|engine)\.[\w.\-/]+)\s*(==|!=)\s*(.+?)\s*", re.DOTALL)


class Constraint(NamedTuple):
    """``node.role != manager``"""

    name: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Constraint | None:
        """None for what is no constraint."""
        found = _FORM.fullmatch(text)
        return cls(found[1], found[2], found[3]) if found else None

    @property
    def is_for_managers(self) -> bool:
        """Only managers meet it."""
        return (self.name, self.sign, self.value.lower()) in (
            ("node.role", "==", "manager"),
            ("node.role", "!=", "worker"),
        )

    @property
    def is_for_workers(self) -> bool:
        """Only workers meet it."""
        return (self.name, self.sign, self.value.lower()) in (
            ("node.role", "==", "worker"),
            ("node.role", "!=", "manager"),
        )
