"""What has happened: journal entries, their hash chain and their text form in the plan file."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class What(StrEnum):
    """The kinds of entry."""

    CREATED = "created"  # first entry: data.plan_id (uuid4 hex), data.version (of the tool)
    RUN = "run"  # a runner took the plan: run, pid, boot, epoch, version, through
    ENDED = "ended"  # that runner ended: run, outcome ("done", "no", "not-yet", "unknown"), reason
    BEGIN = "begin"  # a step starts: attempt, actions = [{id, title, does = [..], undoes}]
    GATES = "gates"  # gates looked at: gates = [{name, ok (true/false/absent = unknown), evidence, fix}]
    HELD = "held"  # waits: key, reason, kind ("time", "person", "edit"), until (RFC 3339, optional)
    INTENT = "intent"  # about to touch the world: before = facts seen by observe
    DONE = "done"  # proved: proof, result, seconds
    ALREADY = "already"  # observe found it as wanted: proof
    FAILED = "failed"  # reason, seconds. With action "": the step as a whole
    UNKNOWN = "unknown"  # reason, seen: a person must look
    COMPLETE = "complete"  # the step is done: digest (of what it relies on), facts, seconds
    UNDO = "undo"  # about to undo an action
    UNDONE = "undone"  # undone and proved: proof. With action "": the step as a whole
    UNDO_FAILED = "undo-failed"  # reason
    DECIDED = "decided"  # a person: hold (key), choice ("go", "abort"), note
    ATTESTED = "attested"  # a person: item, note, about (what it speaks of), link, owner, expires (a day)
    EVIDENCE = "evidence"  # a side file: file, sha256, kind, and a summary
    NOTE = "note"  # text
    RECOVERED = "recovered"  # a torn tail was cut off: file, bytes, sha256
    STOPPED = "stopped"  # a signal asked the run to stop: signal


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


FIRST = "sha256:"
"""What the first entry is chained to."""

LARGEST = 2**53
"""Integers beyond this are written as strings: not every reader of TOML or JSON keeps them whole."""


class NotAnEntry(ValueError):
    """The text is not a whole entry of this chain."""


def seal(draft: Draft, seq: int, at: datetime, who: str, before: str) -> Entry:
    """The draft with its place in the chain after ``before``; its values cleaned to what the file can hold."""
    data = clean(dict(draft.data))
    assert isinstance(data, dict)  # a dict is cleaned to a dict
    at = at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)
    entry = Entry(seq, at, plain(who, 200), plain(draft.step, 100), plain(draft.action, 300), draft.what, data, "")
    return replace(entry, chain=chain_of(entry, before))


def chain_of(entry: Entry, before: str) -> str:
    """The hash over the previous chain and the entry's canonical JSON; shows accidents, not forgery."""
    body = [entry.seq, _stamp(entry.at), entry.who, entry.step, entry.action, str(entry.what), entry.data]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def clean(value: Json) -> Json:
    """The value as TOML can hold it: no None, no NaN, no lone surrogate, no integer beyond 2^53."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= LARGEST else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return plain(str(value), 1 << 16)
        case dict():
            return {plain(str(key), 200): clean(each) for key, each in value.items() if each is not None}
        case list() | tuple():
            return [clean(each) for each in value if each is not None]
        case _:
            return plain(str(value))


def to_toml(entry: Entry) -> str:
    """The entry as a ``[[journal]]`` block: one key a line, strings on one line, the chain last."""
    return (
        "[[journal]]\n"
        f"seq    = {entry.seq}\n"
        f"at     = {_stamp(entry.at)}\n"
        f"who    = {_value(entry.who)}\n"
        f"step   = {_value(entry.step)}\n"
        f"action = {_value(entry.action)}\n"
        f"what   = {_value(str(entry.what))}\n"
        f"data   = {_value(dict(entry.data))}\n"
        f"chain  = {_value(entry.chain)}\n"
    )


def from_toml(block: str, before: str) -> Entry:
    """Read one block; raises NotAnEntry unless it is whole and its own hash over ``before`` verifies."""
    if not block.endswith("\n"):
        raise NotAnEntry("it does not end with its line")
    try:
        raw = tomllib.loads(block)["journal"][0]
        entry = Entry(
            raw["seq"],
            raw["at"],
            raw["who"],
            raw["step"],
            raw["action"],
            What(raw["what"]),
            raw["data"],
            raw["chain"],
        )
        right = chain_of(entry, before)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotAnEntry(plain(str(error))) from None
    if entry.chain != right:
        raise NotAnEntry("its hash does not fit")
    return entry


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _value(value: Json) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # a JSON string without raw control characters is a TOML basic string
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            return (
                "{ " + ", ".join(f"{_value(key)} = {_value(each)}" for key, each in value.items()) + " }"
                if value
                else "{}"
            )
        case list():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case _:
            raise AssertionError(f"not cleaned: {value!r}")
