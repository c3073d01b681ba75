"""TSIG keys read from the files that BIND and Knot tools write, and tokens of APIs. No secret enters an error.

KeyUnreadable is the one error here: it names the file, what is wrong with it, and what helps.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.name
import dns.tsig

from switchover.dns.message import BadName, clean_name
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALGORITHMS = ("hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1", "hmac-md5")
_LARGEST = 64 * 1024


class KeyUnreadable(Exception):
    """The key file cannot be used."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Bytes that show themselves to nobody."""

    raw: bytes = field(repr=False)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A TSIG key (RFC 8945)."""

    name: str
    algorithm: str
    secret: Secret

    def for_dnspython(self) -> dns.tsig.Key:
        """The key as dnspython wants it."""
        algorithm = "hmac-md5.sig-alg.reg.int" if self.algorithm == "hmac-md5" else self.algorithm
        return dns.tsig.Key(dns.name.from_text(self.name), self.secret.raw, algorithm)


def read_key(path: Path, name: str | None = None) -> TsigKey:
    """Read the key called ``name``, or the first, from a BIND or Knot file or the output of ``keymgr -t``.

    Raises KeyUnreadable, also for a file that others than its owner may read.
    """
    keys = list(parse_keys(_read(path), str(path)))
    if not keys:
        raise KeyUnreadable(
            f'{path} holds no TSIG key; expected key "name" {{ algorithm hmac-sha256; secret "…"; }}; '
            "or a key section of Knot (id, algorithm, secret)"
        )
    if name is None:
        return keys[0]
    wanted = clean_name(name)
    for key in keys:
        if key.name == wanted:
            return key
    raise KeyUnreadable(f"{path} holds no key {wanted}; it holds {', '.join(key.name for key in keys)}")


def read_token(path: Path) -> Secret:
    """Read an API's token, alone in a file; raises KeyUnreadable, also for a file that others may read."""
    token = _read(path).strip()
    if not token or not token.isascii() or any(char.isspace() for char in token):
        raise KeyUnreadable(f"{path} should hold the API's token and nothing else: one line, without spaces")
    return Secret(token.encode())


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise KeyUnreadable(f"key file {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyUnreadable(f"key file {path} may be read or written by others (mode {mode:04o}): chmod 600 {path}")
    if len(data) > _LARGEST:
        raise KeyUnreadable(f"{path} is larger than {_LARGEST} bytes: it is no key file")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise KeyUnreadable(f"{path} is not text: it is no key file") from None


def parse_keys(text: str, where: str) -> Iterator[TsigKey]:
    """Every key in the text, in its order; ``where`` names the text in errors."""
    if re.search(r"\bkey\s+(\"[^\"]*\"|[^\s{\"]+)\s*\{", _without_comments(text)):
        return _bind_keys(_without_comments(text), where)
    return _knot_keys(text, where)


def _without_comments(text: str) -> str:
    """Without ``/* */``, ``//`` and ``#`` comments; a secret may hold ``//`` and keeps it."""
    token = re.compile(r'"[^"\n]*"|(?<![^\s;{}])(?:/\*.*?\*/|//[^\n]*|#[^\n]*)', re.DOTALL)
    return token.sub(lambda match: match[0] if match[0].startswith('"') else " ", text)


_BIND_KEY = re.compile(r'\bkey\s+(?:"([^"]*)"|([^\s{"]+))\s*\{([^}]*)\}')
_BIND_FIELD = re.compile(r'\b(algorithm|secret)\s+(?:"([^"]*)"|([^\s;"]+))\s*;')


def _bind_keys(text: str, where: str) -> Iterator[TsigKey]:
    for quoted, bare, body in _BIND_KEY.findall(text):
        fields = {kind: one or other for kind, one, other in _BIND_FIELD.findall(body)}
        yield _key(quoted or bare, fields, where)


_KNOT_FIELD = re.compile(r"^\s*(-\s+)?(id|algorithm|secret)\s*:\s*(.*?)\s*$")


def _knot_keys(text: str, where: str) -> Iterator[TsigKey]:
    """The items of Knot's ``key:`` section; items of other sections have an id too, but no secret."""
    fields: dict[str, str] = {}
    for raw in (*text.splitlines(), "- id:"):
        line = re.sub(r"(^|\s)#.*$", "", raw)
        found = _KNOT_FIELD.match(line)
        if (found and found[1]) or re.match(r"^\S.*:\s*$", line):
            if "secret" in fields:
                yield _key(fields.get("id", ""), fields, where)
            fields = {}
        if found:
            fields[found[2]] = found[3].strip("\"'")


def _key(name: str, fields: dict[str, str], where: str) -> TsigKey:
    try:
        clean = clean_name(name) if name else ""
    except BadName:
        clean = ""
    if not clean:
        raise KeyUnreadable(f"{where}: a key without a usable name")
    algorithm = fields.get("algorithm", "hmac-sha256").lower().rstrip(".").removesuffix(".sig-alg.reg.int")
    if algorithm not in ALGORITHMS:
        raise KeyUnreadable(
            f"{where}: key {clean} has algorithm {plain(algorithm, 40)!r}; known are {', '.join(ALGORITHMS)}"
        )
    if not fields.get("secret"):
        raise KeyUnreadable(f"{where}: key {clean} has no secret")
    try:
        raw = base64.b64decode(fields["secret"], validate=True)
    except (binascii.Error, ValueError):
        raise KeyUnreadable(f"{where}: the secret of key {clean} is not base64") from None
    return TsigKey(clean, algorithm, Secret(raw))
