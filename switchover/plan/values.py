"""The words a plan is written in: durations, addresses, connection texts, and how the environment comes into them."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

_DURATION = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
_HOST = re.compile(r"^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_KEY = re.compile(r"(?i)\b(password|sslpassword)\s*=")


class MissingVariable(ValueError):
    """A ``${VAR}`` of the plan is not in the environment."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with each ``${VAR}`` from the environment; raises MissingVariable, naming the variable only."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise MissingVariable(f"the plan needs the environment variable {found[1]}; it is not set")
        return environ[found[1]]

    return _VARIABLE.sub(value, text)


def parse_duration(value: object) -> object:
    """A duration as the plan writes it, such as "48h", "1h30m" or "90s"."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.match(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError('a duration such as "48h", "1h30m" or "90s"')
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _conninfo(text: str) -> str:
    """Refuse a password in a conninfo or URI; the text itself is never repeated."""
    way_out = "use a service file and a passfile (0600), or ${VAR}"
    if _SECRET_KEY.search(text):
        raise ValueError(f"no password in a plan: {way_out}")
    if text.startswith(("postgres://", "postgresql://")):
        authority = text.split("://", 1)[1].split("/", 1)[0]
        userinfo = text.split("://", 1)[1].rpartition("@")[0] if "@" in text else ""
        query = dict(parse_qsl(text.partition("?")[2]))
        if ":" in userinfo or {"password", "sslpassword"} & set(query) or ("@" not in authority and "@" in text):
            raise ValueError(f"no password in a plan: {way_out}")
    elif "=" not in text and not _VARIABLE.search(text):
        raise ValueError('a conninfo such as "service=shop_old" or a postgresql:// URI')
    return text


def _host(name: str) -> str:
    name = name.rstrip(".").lower()
    if not _HOST.match(name):
        raise ValueError('a host name such as "shop.example.com"')
    return name


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError('an IPv4 address such as "203.0.113.10"') from None


RESOLVER_FORMS = "ip, ip:port, tls://ip#name or https://host/path"


def _resolver(text: str) -> str:
    scheme, found, rest = text.partition("://")
    at = re.sub(r"^\[(.*)\](:\d+)?$|^([^:]+):\d+$", r"\1\3", (rest if found else scheme).partition("#")[0])
    if found and scheme == "https" and rest.partition("/")[0]:
        return text
    if not found or scheme == "tls":
        with contextlib.suppress(ValueError):
            ip_address(at)
            return text
    raise ValueError(f"a resolver: {RESOLVER_FORMS}")


def key_path(text: str) -> str:
    if ".." in text.split("/"):
        raise ValueError("a path without '..'")
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda value: int(value.total_seconds()), return_type=int),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["48h", "1h30m", "90s"]}),
]
Conninfo = Annotated[str, AfterValidator(_conninfo)]
Host = Annotated[str, AfterValidator(_host)]
Address = Annotated[str, AfterValidator(_address)]
Resolver = Annotated[str, AfterValidator(_resolver)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


ItemId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Reason = Annotated[str, Field(min_length=8)]
