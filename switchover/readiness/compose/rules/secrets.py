"""Passwords, keys and tokens: never in the file, never in the environment."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.node import Node
    from switchover.readiness.compose.node import Path as Place
    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

LONGEST = 4096
"""So much of a value is looked at."""

_NAME = re.compile(
    r"(?:^|[_.-])(?:password|passwd|passphrase|pwd|pass|secret|token|credentials?|auth_key|access_key|role_key|private_key|"
    r"api_?key|app_?key|secret_?key|encryption_?key|signing_?key|master_?key|salt)(?:[_.-]?(?:\d+|base|hash|value))?$",
    re.IGNORECASE,
)
_HARMLESS_VALUE = re.compile(r"(?:true|false|yes|no|on|off|none|null|\d|/[\w./-]*|\*+)", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|"
    r"sk_live_[A-Za-z0-9]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}|"
    r"AIza[\w-]{30,})|\${1,2}(?:apr1|2[aby]|[56y])\${1,2}[\w./$]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@$]*:([^\s/@$]+)@", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*(?::?[-?+][^}]*)?\}?")
_DEFAULT = re.compile(r"\$\{[A-Za-z_]\w*:?-([^}$]+)\}")
_OPTION = re.compile(
    r"--?(?:\w+-)*(?:password|passwd|requirepass|secret|token|api-key)[= ]([^\s$-][^\s]*)", re.IGNORECASE
)
_NAMED = re.compile(r"""([\w.-]+)["']?[ \t]*[:=][ \t]*""")
_SAID = re.compile(r"""--?[\w-]*(?:password|passwd|requirepass|secret|token|api-key)["',=\s]+""", re.IGNORECASE)
_EMPTY_ALLOWED = re.compile(r"(?:MYSQL_|MARIADB_)?(?:ROOT_)?ALLOW_EMPTY_(?:ROOT_)?PASSWORD")
_URL_OF_VARIABLE = re.compile(r"://[^\s/:@]*:\$\{?\w+[^\s/@]*@")
_VARIABLE_ALONE = re.compile(r"""["']?\$(?:\w+|\{\w+\})["'\]},\s]*""")


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret; one that names a file does not."""
    return not name.upper().endswith(("_FILE", "_PATH")) and _NAME.search(name[-LONGEST:]) is not None


def hidden(line: str) -> str:
    """A line of the file with everything hidden that may be a secret; rather too much than too little."""
    line = _IN_URL.sub(lambda found: found[0][: -len(found[1]) - 1] + "•" * len(found[1]) + "@", line)
    line = _TOKEN.sub(lambda found: "•" * len(found[0]), line)
    named = (found.end() for found in _NAMED.finditer(line) if is_secret_name(found[1]))
    said = (found.end() for found in _SAID.finditer(line))
    start = min((*named, *said), default=len(line))
    rest = line[start:]
    return line if _VARIABLE_ALONE.fullmatch(rest) else line[:start] + "•" * len(rest)


def _pairs(service: Service) -> Iterator[tuple[Place, str, Node]]:
    for where in (("environment",), ("labels",), ("deploy", "labels"), ("build", "args")):
        for name, node in service.node.table(*where).items():
            yield (*where, name), name, node


def _commands(service: Service) -> Iterator[tuple[Place, str]]:
    for where in (("command",), ("entrypoint",), ("healthcheck", "test")):
        node = service.get(*where)
        if node is not None:
            yield where, " ".join((each_.source or each_.text() or "") for each_ in node.items())[:LONGEST]


def _literal(service: Service) -> Iterator[Hit]:
    """The value itself is never said."""
    for path, name, node in _pairs(service):
        text = (node.source or node.text() or "")[:LONGEST]
        if path[0] in ("environment", "build") and is_secret_name(name) and _is_literal(node, text):
            yield path, f"the value of {plain(name, 80)} stands in the file"
        elif _shows(text):
            yield path, f"{plain(name, 80)} has a password or a token in it"
    for path, text in _commands(service):
        if _shows(text) or (_OPTION.search(text) and not _VARIABLE.search(_OPTION.search(text)[1])):  # type: ignore[index]
            yield path, "the command has a password or a token in it"


def _is_literal(node: Node, text: str) -> bool:
    if node.source:
        default = _DEFAULT.fullmatch(text)
        text = default[1] if default else _VARIABLE.sub("", text)
        return bool(text) and default is not None and not _HARMLESS_VALUE.fullmatch(text)
    return bool(text) and not _HARMLESS_VALUE.fullmatch(text)


def _shows(text: str) -> bool:
    return _TOKEN.search(text) is not None or _IN_URL.search(text) is not None


def _no_password(service: Service) -> Iterator[Hit]:
    for name, node in service.node.table("environment").items():
        value = (node.text() or "").lower()
        is_trust = name == "POSTGRES_HOST_AUTH_METHOD" and value == "trust"
        if is_trust or (_EMPTY_ALLOWED.fullmatch(name) and value in ("yes", "true", "1")):
            yield ("environment", name), "the database lets everybody in without a password"


def _in_environment(service: Service) -> Iterator[Hit]:
    for name, node in service.node.table("environment").items():
        text = node.source or node.text() or ""
        is_handed_over = is_secret_name(name) and (node.source or node.value is None)
        if (is_handed_over and not _is_literal(node, text[:LONGEST])) or _URL_OF_VARIABLE.search(text[:LONGEST]):
            yield ("environment", name), f"{plain(name, 80)} is handed over in the environment"


def _top_level(project: Project) -> Iterator[Found]:
    for name, secret in project.tree.table("secrets").items():
        content = secret.get("content")
        if content is not None and not content.source:
            yield Found("", ("secrets", name, "content"), f"the secret {name} stands in the file")
    for name, config in project.tree.table("configs").items():
        text = config.get("content")
        if text is not None and _shows((text.source or text.text() or "")[:LONGEST]):
            yield Found("", ("configs", name, "content"), f"the config {name} has a password or a token in it")


def _open_file(project: Project) -> Iterator[Found]:
    for name, secret in project.tree.table("secrets").items():
        file = secret.text("file")
        if not file:
            continue
        try:
            mode = (Path(secret.mark("file").file).parent / file).stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and mode & 0o077:
            said = f"the file of the secret {name} can be read by others: mode {stat.S_IMODE(mode):04o}"
            yield Found("", ("secrets", name, "file"), said)


RULES = (
    Rule(
        "secret-literal",
        "error",
        "error",
        "000-18, 002-X4",
        "Whoever may read the repository, a backup of it or `docker inspect` has it, and it can only be changed by "
        "changing the file.",
        "secrets: [db_password], and the image's …_FILE variable pointing to /run/secrets/db_password",
        each(_literal),
    ),
    Rule(
        "secret-literal-top",
        "error",
        "error",
        "000-18, 002-X4",
        "Whoever may read the repository has it.",
        "external: true, or file: outside the repository",
        _top_level,
    ),
    Rule(
        "secret-in-environment",
        "warn",
        "warn",
        "000-18, 004-12",
        "The environment is shown by `docker inspect`, inherited by every child process and printed in crash reports.",
        "secrets: [db_password], and the image's …_FILE variable pointing to /run/secrets/db_password",
        each(_in_environment),
    ),
    Rule(
        "database-no-password",
        "error",
        "warn",
        "004-12, 004-13",
        "Whatever reaches the network of the database owns its data.",
        "A password from secrets; POSTGRES_HOST_AUTH_METHOD: scram-sha-256",
        each(_no_password),
    ),
    Rule(
        "secret-file-open",
        "warn",
        "error",
        "004-12",
        "Every user of the machine has the secret; under Compose the container sees the file with this very mode.",
        "chmod 600, and not in the repository",
        _open_file,
    ),
)
