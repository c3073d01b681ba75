"""The operator's own program changes the record: it gets one JSON document on stdin and ends with a code.

The document, on one line::

    {"op": "read" | "check" | "apply", "zone": "example.com", "owner": "www.example.com", "type": "A",
     "old": {"values": ["192.0.2.10"], "ttl": 3600} | null, "new": … | null, "plan_id": "…"}

``old`` and ``new`` are null where there is no such record, and always for ``read``. ``plan_id`` is the SHA-256, in
hexadecimal, of the rest of the document as JSON with sorted keys and no spaces, in UTF-8.

====  ==========================================================================================
code  means
====  ==========================================================================================
0     done. ``read``: prints the record as its keeper has it, {"values": […], "ttl": n} or null, and
      nothing else; ``check``: apply would be let in, nothing has been changed; ``apply``: the record
      is ``new``, also where it already was
3     conflict: the record is not ``old``; nothing has been changed
4     unknown: ``apply`` may or may not have changed it; ``read``: it cannot be told
else  refused: nothing has been changed; the first lines on stderr say why and are shown
====  ==========================================================================================

The program runs in the plan's folder, without a shell, in a group of its own that is ended with it and after the
deadline. Whatever it says, the record is read again after ``apply``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.dns.message import Rrset
from switchover.dns.providers import (
    Capabilities,
    Change,
    ChangeConflict,
    ChangeRefused,
    Unreachable,
)
from switchover.dns.providers.swap import Lost, swap
from switchover.words import plain

if TYPE_CHECKING:
    from pathlib import Path

_DONE, _CONFLICT, _UNKNOWN = 0, 3, 4
_MOST = 256 * 1024
"""Bytes of output that are kept; the rest is read and dropped."""
_TTL_MAX = 2**31 - 1


class _Ended(Exception):
    """The program did not end by itself in time."""


@dataclass(frozen=True, slots=True)
class _Result:
    code: int
    printed: bytes
    said: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program of the operator's, which knows how the zone is kept."""

    command: tuple[str, ...]
    zone: str
    folder: Path
    timeout_s: float = 60

    @property
    def name(self) -> str:
        return "command"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=None,
            says=f"{self._program} changes the record, as the program does it: whether somebody else's change "
            "at the same moment is noticed is up to it; what it did is read back",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The call and the document it gets."""
        return (
            f"run     {plain(' '.join(self.command), 300)}",
            f"in      {self.folder}",
            f"stdin   {_document('apply', change)}",
            "then    read back what has become of it",
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as the program reads it from the zone's keeper."""
        nothing = Change(self.zone, owner, rdtype, (), 0, (), 0)
        try:
            result = await self._run("read", nothing)
        except _Ended as error:
            raise Unreachable(f"{owner} could not be read: {error}") from None
        if result.code == _DONE:
            return self._understand(result.printed, rdtype)
        refusal = Unreachable if result.code == _UNKNOWN or result.code < 0 else ChangeRefused
        raise refusal(f"{owner} {rdtype} could not be read: {self._ending(result)}")

    async def check(self, change: Change) -> str:
        """Let the program say whether it could; it must end with 0, and the record must be the old one."""
        seen = await self.read(change.owner, change.rdtype)
        if seen != change.old:
            raise self._conflict(change, seen)
        try:
            result = await self._run("check", change)
        except _Ended as error:
            raise Unreachable(f"the change of {change.owner} could not be checked: {error}") from None
        if result.code == _CONFLICT:
            raise self._conflict(change, seen, f" {self._ending(result)}")
        if result.code != _DONE:
            raise ChangeRefused(f"the check of {change.owner} failed: {self._ending(result)}")
        return (
            f"{self._program} says that it can change {change.owner}, "
            f"and the record is {change.old or 'absent'} as expected"
        )

    async def apply(self, change: Change) -> None:
        """Let the program change it; the record read back decides what happened."""
        await swap(self.name, change, lambda: self.read(change.owner, change.rdtype), lambda: self._apply(change))

    async def _apply(self, change: Change) -> str:
        try:
            return self._ending(await self._run("apply", change))
        except _Ended as error:
            raise Lost(str(error)) from None

    @property
    def _program(self) -> str:
        return plain(self.command[0] if self.command else "", 200)

    def _ending(self, result: _Result) -> str:
        if result.code < 0:
            how = f"was killed by {_signal(-result.code)}"
        else:
            meaning = {_DONE: " (done)", _CONFLICT: " (conflict)", _UNKNOWN: " (unknown)"}.get(result.code, "")
            how = f"ended with code {result.code}{meaning}"
        return f"{self._program} {how}" + (f": {result.said}" if result.said else " and said nothing on stderr")

    def _conflict(self, change: Change, seen: Rrset | None, more: str = "") -> ChangeConflict:
        return ChangeConflict(
            f"{change.owner} {change.rdtype} is {seen or 'absent'} as {self._program} reads it; the plan expects "
            f"{change.old or 'absent'}, to become {change.new or 'absent'}.{more}",
            seen,
        )

    def _understand(self, printed: bytes, rdtype: str) -> Rrset | None:
        try:
            return _record(printed, rdtype)
        except (ValueError, RecursionError) as error:
            shown = plain(printed, 120) or "nothing"
            raise Unreachable(
                f'{self._program} ended with 0 but its output is not {{"values": […], "ttl": n}} or null '
                f"({plain(str(error), 100)}): {shown}"
            ) from None

    async def _run(self, op: str, change: Change) -> _Result:
        """Run the program to its end. Raises Unreachable if it cannot be started, _Ended on the deadline."""
        if not self.command:
            raise Unreachable("the plan names no command")
        try:
            child = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = plain((isinstance(error, OSError) and error.strerror) or str(error), 100)
            raise Unreachable(f"{self._program} could not be started in {self.folder}: {why}") from None
        try:
            async with asyncio.timeout(self.timeout_s):
                printed, said = await _talk(child, f"{_document(op, change)}\n".encode())
        except TimeoutError:
            raise _Ended(f"{self._program} ran past its deadline of {self.timeout_s:g} s and was ended") from None
        finally:
            await _end(child)
        assert child.returncode is not None  # it has been waited for
        return _Result(child.returncode, printed, _first_lines(said))


def _document(op: str, change: Change) -> str:
    rest = {
        "op": op,
        "zone": change.zone,
        "owner": change.owner,
        "type": change.rdtype,
        "old": _as_json(change.old),
        "new": _as_json(change.new),
    }
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**rest, "plan_id": hashlib.sha256(canonical.encode()).hexdigest()}, ensure_ascii=False)


def _as_json(rrset: Rrset | None) -> dict[str, object] | None:
    return {"values": list(rrset.values), "ttl": rrset.ttl} if rrset is not None else None


def _record(printed: bytes, rdtype: str) -> Rrset | None:
    """The record a program printed; raises ValueError with what is wrong."""
    said = json.loads(printed)
    if said is None:
        return None
    values, ttl = (said.get("values"), said.get("ttl")) if isinstance(said, dict) else (None, None)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError("no list of values")
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 <= ttl <= _TTL_MAX:
        raise ValueError("no TTL in whole seconds")
    if rdtype in ("A", "AAAA"):
        return Rrset(tuple(str(ipaddress.ip_address(value)) for value in values), ttl)
    return Rrset(tuple(plain(value, 1100) for value in values), ttl)


async def _talk(child: asyncio.subprocess.Process, document: bytes) -> tuple[bytes, bytes]:
    """Hand the document over and collect what is printed, until the program ends."""
    assert child.stdin is not None  # pipes were asked for
    assert child.stdout is not None
    assert child.stderr is not None
    printed, said = bytearray(), bytearray()
    async with asyncio.TaskGroup() as group:
        readers = [
            group.create_task(_keep(child.stdout, printed)),
            group.create_task(_keep(child.stderr, said)),
        ]
        child.stdin.write(document)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a program need not read it
            await child.stdin.drain()
        child.stdin.close()
        await _exited(child)
        await asyncio.wait(readers, timeout=1)  # what it left running may hold the outputs open for ever
        for reader in readers:
            reader.cancel()
    return bytes(printed), bytes(said)


async def _keep(stream: asyncio.StreamReader, kept: bytearray) -> None:
    while chunk := await stream.read(65536):
        kept += chunk[: _MOST - len(kept)]


def _first_lines(said: bytes) -> str:
    lines = [line.strip() for line in plain(said, 1000).splitlines() if line.strip()]
    return plain(" / ".join(lines[:3]), 400)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _end(child: asyncio.subprocess.Process) -> None:
    """End what is left of the program's group: politely if it still runs, then for certain."""
    if child.returncode is None:
        _signal_group(child, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await _exited(child)
    _signal_group(child, signal.SIGKILL)
    await _exited(child)
    child._transport.close()  # type: ignore[attr-defined]  # or it stays until the outputs are closed


async def _exited(child: asyncio.subprocess.Process) -> None:
    """Wait for the program alone; ``child.wait`` would wait for whoever holds its outputs too."""
    while child.returncode is None:  # noqa: ASYNC110  there is no event for it
        await asyncio.sleep(0.01)


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
