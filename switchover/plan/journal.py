"""What has happened: journal entries, their hash chain and their text form in the plan file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"


class What(StrEnum):
    """The kinds of entry."""

    CREATED = "created"          # first entry: data.plan_id (uuid4 hex), data.version (of the tool)
    RUN = "run"                  # a runner took the plan: run, pid, boot, epoch, version, through
    ENDED = "ended"              # that runner ended: run, outcome ("done", "no", "not-yet", "unknown"), reason
    BEGIN = "begin"              # a step starts: attempt, actions = [{id, title, does = [..], undoes}]
    GATES = "gates"              # gates looked at: gates = [{name, ok (true/false/absent = unknown), evidence, fix}]
    HELD = "held"                # waits: key, reason, kind ("time", "person", "edit"), until (RFC 3339, optional)
    INTENT = "intent"            # about to touch the world: before = facts seen by observe
    DONE = "done"                # proved: proof, result, seconds
    ALREADY = "already"          # observe found it as wanted: proof
    FAILED = "failed"            # reason, seconds. With action "": the step as a whole
    UNKNOWN = "unknown"          # reason, seen: a person must look
    COMPLETE = "complete"        # the step is done: digest (of what it relies on), facts, seconds
    UNDO = "undo"                # about to undo an action
    UNDONE = "undone"            # undone and proved: proof. With action "": the step as a whole
    UNDO_FAILED = "undo-failed"  # reason
    DECIDED = "decided"          # a person: hold (key), choice ("go", "abort"), note
    ATTESTED = "attested"        # a person: item, note
    EVIDENCE = "evidence"        # a side file: file, sha256, kind, and a summary
    NOTE = "note"                # text
    RECOVERED = "recovered"      # a torn tail was cut off: file, bytes, sha256
    STOPPED = "stopped"          # a signal asked the run to stop: signal


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a place in the chain."""

    step: str
    action: str
    what: What
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    seq: int
    at: datetime
    """UTC, milliseconds."""
    who: str
    """user@host"""
    step: str
    action: str
    what: What
    data: Mapping[str, Json]
    chain: str
    """``sha256:`` and the hex digest over the previous chain and this entry."""
