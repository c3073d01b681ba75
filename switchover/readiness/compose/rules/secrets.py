"""Passwords, keys and tokens: never in the file, never in the environment."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from switchover.readiness.compose.node import Mark
from switchover.readiness.compose.rule import Found, Rule, each
from switchover.readiness.compose.secret import LONGEST, has_secret, is_secret, is_secret_name, written
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.load import EnvFile
    from switchover.readiness.compose.node import Node
    from switchover.readiness.compose.node import Path as Place
    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

_EMPTY_ALLOWED = re.compile(r"(?:MYSQL_|MARIADB_)?(?:ROOT_)?ALLOW_EMPTY_(?:ROOT_)?PASSWORD")
_URL_OF_VARIABLE = re.compile(r"://[^\s/:@]*:\$\{?\w+[^\s/@]*@")
"""``postgres://app:${DB_PASSWORD}@db``"""


def _source(node: Node) -> str:
    return node.source or node.text() or ""


def _pairs(service: Service) -> Iterator[tuple[Place, str, Node]]:
    for where in (("environment",), ("labels",), ("deploy", "labels"), ("build", "args")):
        for name, node in service.table(*where).items():
            yield (*where, name), name, node


def _literal(service: Service) -> Iterator[Hit]:
    """The value itself is never said."""
    for path, name, node in _pairs(service):
        source = _source(node)
        if path[0] in ("environment", "build") and is_secret_name(name) and is_secret(written(source)):
            yield path, f"the value of {plain(name, 80)} stands in the file"
        elif has_secret(source):
            yield path, f"{plain(name, 80)} has a password or a token in it"
    for where in (("command",), ("entrypoint",), ("healthcheck", "test")):
        if has_secret(" ".join(_source(node) for node in service.items(*where))):
            yield where, "the command has a password or a token in it"


def _no_password(service: Service) -> Iterator[Hit]:
    for name, node in service.table("environment").items():
        value = (node.text() or "").lower()
        is_trust = name == "POSTGRES_HOST_AUTH_METHOD" and value == "trust"
        if is_trust or (_EMPTY_ALLOWED.fullmatch(name) and value in ("yes", "true", "1")):
            yield ("environment", name), "the database lets everybody in without a password"


def _in_environment(service: Service) -> Iterator[Hit]:
    for name, node in service.table("environment").items():
        is_handed_over = is_secret_name(name) and (node.source or node.value is None)
        if (is_handed_over and not is_secret(written(_source(node)))) or _URL_OF_VARIABLE.search(
            _source(node)[:LONGEST]
        ):
            yield ("environment", name), f"{plain(name, 80)} is handed over in the environment"


def _env_files(project: Project) -> Iterator[tuple[str, Place, EnvFile]]:
    for service in project.services:
        for number, node in enumerate(service.items("env_file")):
            yield service.name, ("services", service.name, "env_file", number), project.loaded.env_files[node]


def _in_env_file(project: Project) -> Iterator[Found]:
    """The place is in the env file, whose lines are not shown."""
    for service, path, file in _env_files(project):
        for name, source, line in file.lines:
            if (is_secret_name(name) and is_secret(written(source))) or has_secret(source):
                said = f"the value of {plain(name, 80)} stands in the env file"
                yield Found(service, path, said, Mark(file.name, line, 1, 1 + len(name)))


def _env_file_unread(project: Project) -> Iterator[Found]:
    for service, path, file in _env_files(project):
        if file.unread:
            yield Found(service, path, f"not looked at: {file.unread}")


def _top_level(project: Project) -> Iterator[Found]:
    for name, secret in project.tree.table("secrets").items():
        content = secret.get("content")
        if content is not None and is_secret(written(_source(content))):
            yield Found("", ("secrets", name, "content"), f"the secret {name} stands in the file")
    for name, config in project.tree.table("configs").items():
        text = config.get("content")
        if text is not None and has_secret(_source(text)):
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
        "secret-literal-env-file",
        "warn",
        "warn",
        "000-18, 004-12",
        "The file is copied with the project, and its values are shown by `docker inspect` like every environment.",
        "secrets: [db_password], and the image's …_FILE variable pointing to /run/secrets/db_password; at the least "
        "chmod 600, and not in the repository",
        _in_env_file,
    ),
    Rule(
        "env-file-unread",
        "info",
        "info",
        "000-18, 004-12",
        "What it hands to the service nobody has looked at; Docker refuses to start without a file that is named.",
        "Lint where the file is, with --root when it lies outside the folder.",
        _env_file_unread,
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
