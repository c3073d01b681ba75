"""What published checklists ask for, item by item, and what of this program answers it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from switchover.readiness.checklist.read import built_in
from switchover.readiness.compose.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

Ask = Literal["required", "recommended", "shown"]


@dataclass(frozen=True, slots=True)
class Seed:
    """One item of a published checklist."""

    id: str
    ask: Ask
    what: str
    rules: tuple[str, ...]
    """Rules of ``switchover lint``."""
    checks: tuple[str, ...]
    """What else of the program looks at it, as "kind name": step, gate, action, finding, topology, command, key."""
    items: tuple[str, ...]
    """Items of the built-in checklist."""

    @property
    def is_answered(self) -> bool:
        return bool(self.rules or self.checks or self.items)


def seed_sources() -> dict[str, str]:
    """The published checklists: the number that their items begin with, and the title."""
    return {each["id"]: each["title"] for each in _data()["sources"]}


def seed_table() -> tuple[Seed, ...]:
    """Every item with what answers it."""
    rules = _by_seed((rule.id, rule.seeds) for rule in RULES)
    items = _by_seed((item.id, item.seeds or ()) for item in built_in().checklist)
    return tuple(
        Seed(
            row["id"],
            row["ask"],
            row["what"],
            tuple(rules.pop(row["id"], ())),
            tuple(row.get("checks", ())),
            tuple(items.pop(row["id"], ())),
        )
        for row in _data()["seed"]
    )


def named_seeds() -> set[str]:
    """Every seed that a rule or an item of the built-in checklist names."""
    by_rules = {each for rule in RULES for each in rule.seeds}
    return by_rules | {seed for item in built_in().checklist for seed in item.seeds or ()}


def seed_markdown() -> str:
    """The table as Markdown, a section a source."""
    rows = seed_table()
    parts = []
    for number, title in seed_sources().items():
        lines = [
            f"| {each.id} | {each.what} | {each.ask} | {_answers(each)} |" for each in rows if each.id[:3] == number
        ]
        head = "| item | asks for | it is | looked at by |\n|---|---|---|---|"
        parts.append("\n".join([f"**{number} {title}**", "", head, *lines]))
    return "\n\n".join(parts) + "\n"


def seed_text() -> str:
    """The table for a terminal."""
    lines = []
    for each in seed_table():
        lines.append(f"{each.id:<7} {each.what} ({each.ask})")
        said = {"rules": each.rules, "checks": each.checks, "checklist": each.items}
        lines += [f"          {kind}: {', '.join(names)}" for kind, names in said.items() if names]
    return "\n".join(lines)


def _answers(seed: Seed) -> str:
    said = (("lint", seed.rules), ("", seed.checks), ("checklist", seed.items))
    return "; ".join(f"{kind} {', '.join(f'`{name}`' for name in names)}".strip() for kind, names in said if names)


def _by_seed(named: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, seeds in named:
        for seed in seeds:
            found.setdefault(seed, []).append(name)
    return found


def _data() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(files("switchover.readiness").joinpath("seeds.toml").read_text())
