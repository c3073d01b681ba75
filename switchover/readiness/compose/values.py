"""What the short texts of a Compose file mean: durations, sizes, ports, mounts, images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switchover.readiness.compose.node import Node

_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|w|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
_LONGEST = 64
"""No number, duration or size is longer; longer texts are never matched."""


@lru_cache(maxsize=1024)
def seconds(text: str | None, *, bare: bool = False) -> float | None:
    """The seconds of a duration such as "1m30s"; None when it is none. ``bare`` takes a number alone as seconds."""
    if text is None or len(text) > _LONGEST:
        return None
    if text == "0" or (bare and text.isascii() and text.isdigit()):
        return float(text)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


@lru_cache(maxsize=1024)
def size_of(text: str | None) -> int | None:
    """The bytes of a size such as "512M", in Docker's powers of two; None when it is none."""
    found = _SIZE.fullmatch(text) if text is not None and len(text) <= _LONGEST else None
    return int(float(found[1]) * _SCALE[found[2].lower()]) if found else None


def number(text: str | None) -> float | None:
    """A number as Compose takes it, bare or quoted; None when it is none."""
    try:
        return float(text) if text is not None and len(text) <= _LONGEST else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Port:
    """A port, short or long syntax."""

    target: str
    published: str = ""
    ip: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"

    @classmethod
    def parse(cls, node: Node) -> Port:
        """``8080:80/tcp``, ``127.0.0.1:8080:80``, ``80``, or a table."""
        if isinstance(node.value, dict):
            given = {key: node.text(key) or "" for key in ("target", "published", "protocol", "mode")}
            return cls(
                given["target"],
                given["published"],
                node.text("host_ip") or "",
                given["protocol"] or "tcp",
                given["mode"] or "ingress",
            )
        rest, _, protocol = (node.text() or "").partition("/")
        rest, _, target = rest.rpartition(":")
        ip, _, published = rest.rpartition(":")
        return cls(target, published, ip.strip("[]"), protocol or "tcp")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount, short or long syntax."""

    kind: str
    """volume, bind, tmpfs, npipe, cluster or image"""
    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, node: Node) -> Mount:
        """``name:/path:ro``, ``./folder:/path``, ``/path`` or a table."""
        if isinstance(node.value, dict):
            kind, source = node.text("type") or "volume", node.text("source") or ""
            return cls(kind, source, node.text("target") or "", node.is_true("read_only"))
        text = node.text() or ""
        drive = _WINDOWS.match(text)
        source, _, rest = (text[2:] if drive else text).partition(":")
        source = text[:2] + source if drive else source
        if not rest:
            return cls("volume", "", source)
        target, _, options = rest.partition(":")
        kind = "bind" if drive or source.startswith((".", "/", "~", "\\")) else "volume"
        return cls(kind, source, target, "ro" in options.split(","))

    @property
    def is_docker(self) -> bool:
        """Docker's socket."""
        return self.source.endswith(("docker.sock", "docker.socket"))


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name, taken apart."""

    registry: str
    """Empty where Docker Hub is meant."""
    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Image:
        """``registry:5000/team/app:1.2@sha256:…``"""
        rest, _, digest = text.partition("@")
        first, slash, _ = rest.partition("/")
        registry = first if slash and ("." in first or ":" in first or first == "localhost") else ""
        rest = rest[len(registry) + 1 :] if registry else rest
        name, _, tag = rest.partition(":")
        return cls(registry, name, tag, digest)

    @property
    def program(self) -> str:
        """The last part of the name: ``postgres`` of ``docker.io/library/postgres``."""
        return self.name.rpartition("/")[2]
