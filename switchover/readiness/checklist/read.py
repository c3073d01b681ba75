"""The items of a plan: those of its packs, and its own."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import ValidationError

from switchover.plan.production import BUILT_IN
from switchover.plan.spec import ChecklistItem, Pack
from switchover.words import plain

if TYPE_CHECKING:
    from pathlib import Path

    from switchover.plan.spec import Spec

LARGEST = 1 << 20


class ChecklistUnreadable(Exception):
    """A pack cannot be used, or the plan names an item that none has; every problem in a line of its own."""


def read_items(spec: Spec, folder: Path) -> tuple[ChecklistItem, ...]:
    """The items in the order of the packs, then the plan's own; a plan's item changes what it says of a pack's.

    ``folder`` is the plan's. Raises ChecklistUnreadable.
    """
    found: dict[str, tuple[str, ChecklistItem]] = {}
    problems = []
    for name in spec.readiness.packs if spec.readiness is not None else ():
        for item in (built_in() if name == BUILT_IN else _read(folder, name)).checklist:
            if item.id in found:
                problems.append(f"{name}: item {item.id} is in {found[item.id][0]} too; an id stands for one item")
            found[item.id] = name, item
    items = {id: item for id, (_, item) in found.items()}
    for item in spec.checklist:
        items[item.id] = _changed(items[item.id], item) if item.id in items else item
    problems += _unknown(spec, items)
    if problems:
        raise ChecklistUnreadable("\n".join(problems))
    return tuple(items.values())


def _changed(item: ChecklistItem, by: ChecklistItem) -> ChecklistItem:
    return item.model_copy(update={name: getattr(by, name) for name in by.model_fields_set})


@lru_cache(maxsize=1)
def built_in() -> Pack:
    """The pack that comes with the program."""
    text = files("switchover.readiness.checklist").joinpath(f"{BUILT_IN}.toml").read_text()
    return Pack.model_validate(tomllib.loads(text))


def _read(folder: Path, name: str) -> Pack:
    path = folder / name
    try:
        if not path.is_file():
            raise ChecklistUnreadable(f"{name}: there is no such file beside the plan")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ChecklistUnreadable(f"{name}: leads out of the plan's folder")
        if path.stat().st_size > LARGEST:
            raise ChecklistUnreadable(f"{name}: is larger than 1 MB")
        return Pack.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ChecklistUnreadable(f"{name}: {plain(str(error), 200)}") from None
    except ValidationError as error:
        raise ChecklistUnreadable("\n".join(_problem(name, each) for each in error.errors())) from None


def _problem(name: str, error: object) -> str:
    assert isinstance(error, dict)  # pydantic's own shape
    where = ".".join(str(part) for part in error["loc"])
    return f"{name}: {where}: {plain(str(error['msg']).removeprefix('Value error, '), 200)}"


def _unknown(spec: Spec, items: dict[str, ChecklistItem]) -> list[str]:
    """Names of items that there are not: a slip there would leave the right item as it is."""
    wanted = spec.readiness
    if wanted is None:
        return []
    named = {
        "required": wanted.required,
        "owners": tuple(wanted.owners),
        "not_applicable": tuple(wanted.not_applicable),
        "waived": tuple(wanted.waived),
    }
    return [
        f"readiness.{key}: no checklist has an item {id!r}"
        for key, ids in named.items()
        for id in ids
        if id not in items
    ]
