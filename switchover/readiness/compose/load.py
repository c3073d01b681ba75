"""Compose files from disk to one project, as Compose does it: env file, several files, ``include``, ``extends``.

Nothing outside the root folder is opened, and nothing but plain files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from switchover.readiness.compose.document import LARGEST, read_documents
from switchover.readiness.compose.interpolate import EnvLine, Variables, env_lines, read_env
from switchover.readiness.compose.merge import canonical, merge_file, merge_service
from switchover.readiness.compose.node import ComposeUnreadable, Mark, Node
from switchover.words import count, plain, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    _Name = tuple[Path, str]
    Env = dict[str, str]

MOST_FILES = 100
LONGEST_CHAIN = 64


class EnvFile(NamedTuple):
    """What an entry of a service's ``env_file`` names."""

    name: str
    lines: tuple[EnvLine, ...] = ()
    unread: str = ""
    """Why it was not read; empty when it was."""


@dataclass(slots=True)
class Loaded:
    """One project: the merged tree, and what is needed to speak of it."""

    tree: Node
    documents: list[Node]
    """Each as it was written, with its variables filled in; the schema holds for each."""
    variables: Variables
    lines: dict[str, list[str]]
    """The lines of every Compose file that was read, by its name."""
    env_files: dict[Node, EnvFile]
    """By the entry that names it."""
    by_dotenv: bool = False
    """A ``.env`` beside the first file was read."""


def load(
    files: Sequence[Path],
    env: Mapping[str, str],
    env_file: Path | None = None,
    root: Path | None = None,
    *,
    dotenv: bool = True,
) -> Loaded:
    """Read and merge; ``.env`` beside the first file counts unless ``env_file`` names another.

    ``env`` wins over both, as in Compose. Raises ComposeUnreadable.
    """
    if not files:
        raise ComposeUnreadable("no file is named")
    home = files[0].parent
    reader = _Reader((root or home).resolve())
    dotenv = dotenv and env_file is None and (home / ".env").is_file()
    if env_file is not None or dotenv:
        env = {**reader.env(env_file or home / ".env", env, given=True), **env}
    variables = Variables(env)
    tree = _merged([reader.project(path, variables, given=True) for path in files])
    given = {str(path) for path in files}
    env_files = {}
    for service in tree.table("services").values():
        for node in service.items("env_file"):
            name = node.text("path") or node.text() or ""
            at = home if node.at.file in given else Path(node.at.file).parent
            env_files[node] = reader.env_file(at / name, node.at)
    return Loaded(tree, reader.documents, variables, reader.lines, env_files, dotenv)


def _merged(trees: Sequence[Node]) -> Node:
    tree = trees[0]
    for over in trees[1:]:
        tree = merge_file(tree, over)
    return tree


@dataclass(slots=True)
class _Reader:
    root: Path
    documents: list[Node] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    _env_files: dict[Path, EnvFile] = field(default_factory=dict)
    _trees: dict[Path, Node] = field(default_factory=dict)
    _under_way: list[Path] = field(default_factory=list)
    _made: dict[_Name, Node] = field(default_factory=dict)

    def text(self, path: Path, *, given: bool = False, named: Mark | None = None) -> bytes:
        """The bytes of a plain file; ``given`` by the operator it may be anywhere."""
        place = f"{named}: " if named is not None else ""
        shown = plain(str(path), 200)
        try:
            if not given and not _resolved(path, named).is_relative_to(self.root):
                raise ComposeUnreadable(f"{place}{shown} lies outside {self.root}; --root FOLDER allows more")
            with open(path, "rb", opener=_unblocked) as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    raise ComposeUnreadable(f"{place}{shown}: not a plain file")
                if about.st_size > LARGEST:
                    raise ComposeUnreadable(
                        f"{place}{shown}: {size(about.st_size)}; more than {size(LARGEST)} is no Compose file"
                    )
                return file.read(LARGEST + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ComposeUnreadable(f"{place}{shown}: {reason or 'cannot be read'}") from None

    def env(self, path: Path, outer: Mapping[str, str], *, given: bool = False, named: Mark | None = None) -> Env:
        """The variables of an env file."""
        return read_env(self.text(path, given=given, named=named).decode("utf-8", "replace"), outer)

    def env_file(self, path: Path, named: Mark) -> EnvFile:
        """What a service's ``env_file`` names; that one cannot be read is no reason to refuse the project."""
        if path not in self._env_files:
            shown = plain(str(path), 200)
            try:
                if len(self._env_files) >= MOST_FILES:
                    raise ComposeUnreadable(f"more than {count(MOST_FILES, 'file')}")
                lines = tuple(env_lines(self.text(path, named=named).decode("utf-8", "replace")))
                self._env_files[path] = EnvFile(shown, lines)
            except ComposeUnreadable as error:
                self._env_files[path] = EnvFile(shown, unread=str(error).removeprefix(f"{named}: "))
        return self._env_files[path]

    def project(self, path: Path, variables: Variables, *, given: bool = False, named: Mark | None = None) -> Node:
        """A file with what it includes, and its services with what they extend."""
        whole = _resolved(path, named)
        if whole in self._under_way:
            raise ComposeUnreadable(f"{named}: {plain(str(path), 200)} includes itself")
        self._under_way.append(whole)
        tree = self.tree(path, variables, given=given, named=named)
        services = {
            name: self._extended(path, tree, name, variables) if isinstance(node.value, dict) else node
            for name, node in tree.table("services").items()
        }
        if services:
            old = tree.value["services"]
            tree = Node({**tree.value, "services": Node(services, old.at, old.keys)}, tree.at, tree.keys)
        parts = [part for item in tree.items("include") for part in self._included(item, path, variables)]
        self._under_way.pop()
        return _merged([*parts, tree])

    def tree(self, path: Path, variables: Variables, *, given: bool = False, named: Mark | None = None) -> Node:
        """A file alone, its documents merged, its services in canonical form."""
        whole = _resolved(path, named)
        if whole not in self._trees:
            if len(self._trees) >= MOST_FILES:
                raise ComposeUnreadable(f"{named}: more than {count(MOST_FILES, 'file')}")
            text = self.text(path, given=given, named=named)
            found = read_documents(text, str(path), variables.expand)
            if not found:
                raise ComposeUnreadable(f"{path}: empty; a Compose file begins with `services:`")
            self.lines[str(path)] = text.decode("utf-8", "replace").splitlines()
            self.documents += found
            self._trees[whole] = _merged([canonical(document) for document in found])
        return self._trees[whole]

    def _included(self, item: Node, home: Path, variables: Variables) -> list[Node]:
        """``include``: a path, or a table with one or several that are merged."""
        named = item.items("path") if isinstance(item.value, dict) else [item]
        paths = [home.parent / (node.text() or "") for node in named]
        env_files = item.items("env_file")
        inner = variables
        if env_files or (paths and (paths[0].parent / ".env").is_file() and paths[0].parent != home.parent):
            values = dict(variables.values)
            beside = [home.parent / (node.text() or "") for node in env_files] or [paths[0].parent / ".env"]
            for path in beside:
                values = {**self.env(path, values, named=item.at), **values}
            inner = Variables(values, variables.unset, variables.required, variables.bad)
        trees = [self.project(path, inner, named=item.at) for path in paths]
        return [_merged(trees)] if trees else []

    def _extended(self, path: Path, tree: Node, name: str, variables: Variables, above: tuple[_Name, ...] = ()) -> Node:
        """The service on top of the one it extends, that one's own extension included."""
        service = tree.value["services"].value[name]
        here = (path.resolve(), name)
        extends = service.get("extends")
        if extends is None:
            return service  # type: ignore[no-any-return]
        if here not in self._made:
            if here in above or len(above) >= LONGEST_CHAIN:
                raise ComposeUnreadable(f"{extends.at}: {_chain((*above, here))}")
            file, wanted = extends.text("file"), extends.text("service") or extends.text() or ""
            there = path.parent / file if file else path
            other = self.tree(there, variables, named=extends.mark("file")) if file else tree
            found = other.get("services", wanted)
            if found is None or not isinstance(found.value, dict):
                where = f" in {plain(file, 200)}" if file else ""
                raise ComposeUnreadable(f"{extends.at}: no service {plain(wanted, 80)!r}{where} to extend")
            base = self._extended(there, other, wanted, variables, (*above, here))
            self._made[here] = merge_service(_without(base, "extends"), service)
        return self._made[here]


def _resolved(path: Path, named: Mark | None) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a name with NUL, a ring of links
        raise ComposeUnreadable(f"{named}: {plain(str(path), 200)} is no name of a file") from None


def _without(node: Node, name: str) -> Node:
    return Node({key: each for key, each in node.value.items() if key != name}, node.at, node.keys)


def _chain(names: Sequence[_Name]) -> str:
    if names[-1] not in names[:-1]:
        return f"more than {LONGEST_CHAIN} services extend one another"
    return "the service extends itself: " + " -> ".join(plain(name, 80) for _, name in names)


def _unblocked(path: str, flags: int) -> int:
    """A FIFO without a writer must not make us wait."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
