"""The plan file: read, lock for an append, append. The only module that touches one.

PlanFileError
├── PlanUnreadable   the operator's part has problems, one line each
├── PlanDamaged      a bad entry stands before a good one
├── PlanReplaced     the journal on disk is not the one this run was writing
└── PlanUnwritable   a write failed: no further side effect is allowed
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from switchover.plan.journal import FIRST, Draft, Entry, NotAnEntry, What, from_toml, seal, to_toml
from switchover.plan.lines import key_lines, line_of
from switchover.plan.lock import who_am_i
from switchover.plan.spec import Spec
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = "# ---------------------------------------------------------------- written by switchover; do not edit below"
HEADER = "[[journal]]"
LARGEST = 8 * 1024 * 1024
APPEND_PATIENCE_S = 10.0


class PlanFileError(Exception):
    """Something is wrong with the plan file; the message says what, where and the way out."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the operator's part."""

    file: str
    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        found = f" found {self.found};" if self.found else ""
        return f"{self.file}:{self.line}: {self.key or 'the file'}:{found} {self.allowed}"


class PlanUnreadable(PlanFileError):
    """The operator's part cannot be used; every problem at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PlanDamaged(PlanFileError):
    """An entry that does not verify stands before one that does."""


class PlanReplaced(PlanFileError):
    """The journal on disk does not go on from the last entry this run saw."""


class PlanUnwritable(PlanFileError):
    """An entry could not be written whole and synced."""


@dataclass(frozen=True, slots=True)
class Torn:
    """What follows the last good entry: a write that a crash cut short."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan file as it was read."""

    path: Path
    spec: Spec
    text: str
    """The operator's part, as it stands."""
    entries: tuple[Entry, ...]
    torn: Torn | None
    end: int
    """Bytes up to the end of the last good entry."""


def load(path: Path) -> Loaded:
    """Read a plan file; changes nothing.

    Raises PlanUnreadable with every problem of the operator's part, PlanDamaged naming the entry, and OSError.
    """
    path = path.resolve()
    data = _bytes_of(path)
    top, body = _split(data)
    entries, end, torn = _entries(path, data, len(top), body)
    text = _decoded(path, top)
    return Loaded(path, _spec(path, text), text, entries, torn, end)


def append(path: Path, draft: Draft, *, who: str | None = None) -> Entry:
    """Append one entry, such as a person's decision, whoever else may be writing."""
    return Writer(path, load(path), who or who_am_i()).append(draft)


@dataclass(slots=True)
class Writer:
    """Appends entries in turn with every other writer, and keeps the journal as it stands on disk."""

    path: Path
    loaded: Loaded
    who: str = field(default_factory=who_am_i)
    entries: list[Entry] = field(init=False)
    _inode: tuple[int, int] = field(init=False, default=(0, 0))
    _end: int = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.path.resolve()
        self.entries = list(self.loaded.entries)
        self._end = self.loaded.end

    def append(self, draft: Draft) -> Entry:
        """Write one entry, synced, after whatever others have appended meanwhile.

        Raises PlanReplaced when the file no longer holds what this writer last saw, and PlanUnwritable when the
        entry is not safely on disk; after either, no further side effect is allowed.
        """
        with _turn(self.path):
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                raise PlanUnwritable(f"{self.path.name} cannot be opened: {error.strerror}") from None
            try:
                self._catch_up(fd)
                return self._write(fd, draft)
            finally:
                os.close(fd)

    def _catch_up(self, fd: int) -> None:
        """Adopt what others appended; cut off a torn tail, keeping it aside."""
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) == self._inode and found.st_size == self._end:
            return
        data = os.pread(fd, LARGEST * 4, 0)
        top, body = _split(data)
        entries, end, torn = _entries(self.path, data, len(top), body)
        mine = self.entries[-1].chain if self.entries else None
        if mine is not None and (len(entries) < len(self.entries) or entries[len(self.entries) - 1].chain != mine):
            raise PlanReplaced(
                f"{self.path.name} no longer holds entry {self.entries[-1].seq} as it was written: the file was "
                "replaced by an older or another one. Nothing more was done; put the newer file back"
            )
        self.entries[:] = entries
        self._inode, self._end = (found.st_dev, found.st_ino), end
        if torn is not None:
            self._recover(fd, torn)

    def _recover(self, fd: int, torn: Torn) -> None:
        name = f"{self.path.name}.torn-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        with _writing(self.path):
            aside = os.open(self.path.with_name(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write_all(aside, torn.data)
                os.fsync(aside)
            finally:
                os.close(aside)
            os.ftruncate(fd, torn.at)
        self._end = torn.at
        digest = "sha256:" + hashlib.sha256(torn.data).hexdigest()
        self._write(fd, Draft("", "", What.RECOVERED, {"file": name, "bytes": len(torn.data), "sha256": digest}))

    def _write(self, fd: int, draft: Draft) -> Entry:
        before = self.entries[-1].chain if self.entries else FIRST
        entry = seal(draft, len(self.entries) + 1, datetime.now(UTC), self.who, before)
        block = to_toml(entry)
        if not self.entries:
            block = _opening(fd, self._end) + block
        with _writing(self.path):
            try:
                os.lseek(fd, self._end, os.SEEK_SET)
                _write_all(fd, block.encode())
                os.fsync(fd)
            except OSError:
                with contextlib.suppress(OSError):  # the torn rest is recognised by its hash all the same
                    os.ftruncate(fd, self._end)
                raise
        found = os.fstat(fd)
        self._inode, self._end = (found.st_dev, found.st_ino), found.st_size
        self.entries.append(entry)
        return entry


def _opening(fd: int, end: int) -> str:
    """What goes between the operator's part and the first entry."""
    last = os.pread(fd, len(MARKER) + 2, max(0, end - len(MARKER) - 2)).decode(errors="replace")
    newline = "" if last.endswith("\n") else "\n"
    return newline if MARKER in last else f"{newline}\n{MARKER}\n"


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the append lock, a file beside the plan that nothing renames, for one append."""
    fd = os.open(path.with_name(path.name + ".append"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + APPEND_PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PlanUnwritable(f"another process has been appending to {path.name} for 10 s") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlanUnwritable(
            f"{path.name} could not be written: {error.strerror}. Nothing more was done; make room or mend the disk, "
            "then run again"
        ) from None


def _write_all(fd: int, data: bytes) -> None:
    """Write every byte; a full disk gives short writes before it gives an error."""
    while data:
        data = data[os.write(fd, data) :]


def _bytes_of(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PlanUnreadable((Problem(path.name, 1, "", "", "is not a regular file"),))
    if found.st_mode & stat.S_IWOTH:
        raise PlanUnreadable((Problem(path.name, 1, "", "", "anyone may write to it: chmod o-w first"),))
    if found.st_size > LARGEST:
        raise PlanUnreadable((Problem(path.name, 1, "", f"{found.st_size} bytes", "at most 8 MiB is read"),))
    return path.read_bytes()


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The operator's part, and the journal from its first header on."""
    marker = data.find(MARKER.encode())
    line = f"\n{HEADER}\n".encode()
    start = data.find(line, max(marker, 0))
    if data.startswith(line[1:]):
        return b"", data
    if start < 0:
        return data, b""
    return data[: start + 1], data[start + 1 :]


def _entries(path: Path, data: bytes, start: int, body: bytes) -> tuple[tuple[Entry, ...], int, Torn | None]:
    """Read block by block; an entry counts only if its own hash verifies.

    What follows the last good entry is a torn write when it begins as an entry does; anything else there was
    put in by hand, and is refused rather than cut off.
    """
    entries: list[Entry] = []
    before, at = FIRST, start
    blocks = _blocks(body)
    for index, block in enumerate(blocks):
        whole, rest = _whole(block)
        last = index + 1 == len(blocks)
        try:
            entry = from_toml(whole.decode(), before)
        except (NotAnEntry, UnicodeDecodeError) as error:
            if last:
                return tuple(entries), at, Torn(at, data[at:])
            line = data[:at].count(b"\n") + 1
            raise PlanDamaged(
                f"{path.name}:{line}: journal entry {index + 1} is damaged ({error}), and others follow it. "
                "Nothing is read from here on; take the file from a backup or from the last commit"
            ) from None
        entries.append(entry)
        before, at = entry.chain, at + len(whole)
        if rest.strip(b"\0") and not (last and HEADER.encode().startswith(rest)):
            line = data[:at].count(b"\n") + 1
            found = plain(rest.strip().split(b"\n")[0], 60)
            raise PlanUnreadable((Problem(path.name, line, found, "", "stands below the marker; move it up"),))
        if rest:
            return tuple(entries), at, Torn(at, data[at:])
    return tuple(entries), at, None


def _whole(block: bytes) -> tuple[bytes, bytes]:
    """The block up to the end of its chain line, which every entry ends with, and what follows."""
    chain = block.find(b"\nchain  = ")
    end = block.find(b"\n", chain + 1) + 1 if chain >= 0 else 0
    return (block[:end], block[end:]) if end else (block, b"")


def _blocks(body: bytes) -> list[bytes]:
    """The journal cut before every header line; values are one-line strings, so none can fake one."""
    parts = (b"\n" + body).split(f"\n{HEADER}\n".encode())
    blocks = [f"{HEADER}\n".encode() + part + b"\n" for part in parts[1:]]
    if blocks:
        blocks[-1] = blocks[-1][:-1]
    return blocks


def _decoded(path: Path, top: bytes) -> str:
    try:
        return top.decode()
    except UnicodeDecodeError as error:
        line = top[: error.start].count(b"\n") + 1
        raise PlanUnreadable((Problem(path.name, line, "", "bytes that are not UTF-8", "save it as UTF-8"),)) from None


def _spec(path: Path, text: str) -> Spec:
    above, _, below = text.partition(MARKER)
    if below.strip():
        line = above.count("\n") + 2
        raise PlanUnreadable(
            (
                Problem(
                    path.name,
                    line,
                    plain(below.strip().split("\n")[0], 60),
                    "",
                    "stands below the marker; move it up",
                ),
            )
        )
    try:
        raw = tomllib.loads(above)
    except tomllib.TOMLDecodeError as error:
        raise PlanUnreadable((_syntax(path, above, str(error)),)) from None
    try:
        return Spec.model_validate(raw)
    except ValidationError as error:
        lines = key_lines(above)
        found = error.errors(include_url=False)
        inner = [each["loc"] for each in found]
        told = [each for each in found if not _only_follows(each["loc"], each["type"], inner)]
        problems = [_problem(path, lines, each) for each in told]
        raise PlanUnreadable(tuple(sorted(problems, key=lambda each: each.line))) from None


def _only_follows(loc: tuple[int | str, ...], kind: str, inner: list[tuple[int | str, ...]]) -> bool:
    """Whether "too short" is said of a list only because its entries have problems of their own."""
    return kind == "too_short" and any(other[: len(loc)] == loc and other != loc for other in inner)


def _syntax(path: Path, text: str, message: str) -> Problem:
    import re

    found = re.search(r"at line (\d+)", message)
    line = int(found[1]) if found else text.count("\n") + 1
    return Problem(path.name, line, "", "", f"is not TOML: {plain(message, 200)}")


def _problem(path: Path, lines: dict[tuple[str | int, ...], int], error: object) -> Problem:
    assert isinstance(error, dict)  # pydantic's own shape
    where = tuple(part for part in error["loc"] if part != "from_")
    key = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in where).replace(".[", "[")
    message = str(error["msg"]).removeprefix("Value error, ")
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return Problem(path.name, line_of(lines, where), key, "", "is not a key of this table")
    if kind == "missing":
        return Problem(path.name, line_of(lines, where), key, "", "is missing")
    shown = "" if isinstance(given, (dict, list)) or "password" in message else plain(repr(given), 60)
    return Problem(path.name, line_of(lines, where), key, shown, f"allowed: {message}" if shown else message)
