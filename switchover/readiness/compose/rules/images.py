"""Which image runs, and whether every node gets the same one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

_FLOATING = frozenset(
    {"", "latest", "stable", "edge", "main", "master", "dev", "develop", "nightly", "lts", "beta", "rc", "next"}
)
_EXACT = re.compile(r"v?\d+\.\d+\.\d+|\d+\.\d+|.*[0-9a-f]{7,}|.*\d{4}[.-]\d{2}", re.IGNORECASE)
_DISTRIBUTION = re.compile(r"(?:alpine|bookworm|bullseye|buster|trixie|debian|ubuntu|noble|jammy|focal|ubi)[\d.]*")
"""Says what the image is built on, not what is in it."""
_BY_CONTENT = re.compile(r"sha256:[0-9a-f]{64}")


def _missing(service: Service) -> Iterator[Hit]:
    if _is_of_variable(service):
        return
    if service.image is None and (service.get("build") is None or service.dialect == "stack"):
        built = ", and a stack builds nothing" if service.get("build") else ""
        if service.get("provider") is None:
            yield (), f"no image{built}"


def _is_built(service: Service) -> bool:
    """Compose builds it; a stack takes no notice of ``build``."""
    return service.dialect == "compose" and service.get("build") is not None


def _is_of_variable(service: Service) -> bool:
    """A variable without value left it without tag or name, which is a finding of its own."""
    node = service.get("image")
    return node is not None and bool(node.source) and (not node.value or str(node.value).endswith(":"))


def _tag(service: Service) -> str | None:
    """The tag that decides which image runs; None where something else does."""
    image = service.image
    return None if image is None or image.digest or _is_built(service) or _is_of_variable(service) else image.tag


def _floating(service: Service) -> Iterator[Hit]:
    tag = _tag(service)
    if tag is not None and tag.lower() in _FLOATING:
        yield ("image",), f"the tag {tag} moves" if tag else "no tag, and so latest"


def _unversioned(service: Service) -> Iterator[Hit]:
    tag = _tag(service)
    if tag and tag.lower() not in _FLOATING and not _EXACT.match(tag) and not _names_version(tag):
        yield ("image",), f"the tag {tag} names no version, and moves as latest does"


def _loose(service: Service) -> Iterator[Hit]:
    tag = _tag(service)
    if tag and not _EXACT.match(tag) and _names_version(tag):
        yield ("image",), f"the tag {tag} names no whole version"


def _names_version(tag: str) -> bool:
    return re.search(r"\d", _DISTRIBUTION.sub("", tag)) is not None


def _digest(service: Service) -> Iterator[Hit]:
    if service.image is not None and service.image.digest and not _BY_CONTENT.fullmatch(service.image.digest):
        yield ("image",), "what follows the @ is no digest"


def _built(service: Service) -> Iterator[Hit]:
    if service.get("build") is not None:
        yield ("build",), "built where it is deployed"


def _unreachable(service: Service) -> Iterator[Hit]:
    image = service.image
    if image is not None and service.get("build") and not image.registry and "/" not in image.name:
        yield ("image",), f"{image.name} is built here and named as if it were one of Docker's own"


def _local(service: Service) -> Iterator[Hit]:
    if service.image is not None and service.image.registry.partition(":")[0] in ("localhost", "127.0.0.1"):
        yield ("image",), f"the registry {service.image.registry} is another one on every node"


RULES = (
    Rule(
        "image-missing",
        "error",
        "error",
        "004-14",
        "Docker refuses the service.",
        "image: registry.example.com/app:1.4.2",
        each(_missing),
    ),
    Rule(
        "image-floating",
        "error",
        "error",
        "004-14",
        "Two nodes, or the same node tomorrow, run different versions, and there is nothing to roll back to.",
        "image: registry.example.com/app:1.4.2, best with @sha256:…",
        each(_floating),
    ),
    Rule(
        "image-unversioned",
        "warn",
        "warn",
        "004-14",
        "Two nodes, or the same node tomorrow, run different versions under one name.",
        "image: registry.example.com/app:1.4.2; nginx:1.27.1-alpine and not nginx:alpine",
        each(_unversioned),
    ),
    Rule(
        "image-loose",
        "info",
        "info",
        "004-14",
        "The same name is another image after the next release.",
        "The whole version, or the digest: 16.4-alpine and not 16-alpine.",
        each(_loose),
    ),
    Rule(
        "image-digest",
        "error",
        "error",
        "004-14",
        "Docker refuses the image.",
        "@sha256: and 64 hexadecimal digits",
        each(_digest),
    ),
    Rule(
        "image-built-here",
        None,
        "warn",
        "004-14",
        "What is built on the production host was tested nowhere, cannot be rolled back to, and takes the host's CPU.",
        "Build and push in CI; here only image:.",
        each(_built),
    ),
    Rule(
        "image-unreachable",
        "error",
        None,
        "004-14",
        "A node that has to pull it asks Docker Hub for an image that is not there, or is somebody else's.",
        "image: registry.example.com/app:1.4.2",
        each(_unreachable),
    ),
    Rule(
        "image-local-registry",
        "warn",
        None,
        "004-14",
        "Every node looks for it on itself.",
        "A registry that every node reaches by the same name.",
        each(_local),
    ),
)
