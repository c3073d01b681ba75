"""What the operator asks for: one model a TOML table, and one line for every problem."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    model_validator,
)

from switchover.plan.production import ComposeSpec, ReadinessSpec, TopologySpec
from switchover.plan.values import RESOLVER_FORMS, Address, Conninfo, Duration, Host, ItemId, Resolver, Table, key_path

if TYPE_CHECKING:
    from switchover.plan.journal import Json

FORMAT = 1
SHORTEST_LEAD = timedelta(hours=48)
SHORTEST_WINDOW = timedelta(hours=2)
SHORTEST_BUDGET = timedelta(seconds=5)
LONGEST_BUDGET = timedelta(minutes=10)


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("1 to 64 printable characters")
    return text


def _zone_name(text: str) -> str:
    if text not in available_timezones() or ("/" not in text and text != "UTC"):
        raise ValueError('an IANA zone such as "America/Toronto" (abbreviations such as EST have no rules)')
    return text


class DatabaseSpec(Table):
    """Where the data is and where it goes."""

    source: Conninfo = Field(
        description="conninfo or URI of the old database; no password; ${VAR} reads the environment"
    )
    target: Conninfo = Field(description="conninfo or URI of the new database")
    method: Literal["dump", "replicate"] = Field("dump", description="how the data moves")
    copy_: Literal["dump", "stream"] | None = Field(
        None,
        alias="copy",
        description="dump: by way of files, kept as the old host's last backup; stream: from server to server; "
        "default: whichever the rehearsal measured to be faster",
    )
    jobs: int = Field(4, ge=1, le=64, description="how much is copied and compared at the same time")
    bin: str | None = Field(None, description="folder of pg_dump, pg_restore and psql; default: the PATH")
    keep_dump: bool = Field(True, description="keep the dump files as a backup of the old host")
    accept: dict[str, Annotated[str, Field(min_length=8)]] = Field(
        {}, description="warnings of the preflight that are accepted, by name, each with its reason; in the report"
    )

    @model_validator(mode="after")
    def _different(self) -> DatabaseSpec:
        if self.source == self.target:
            raise ValueError("source and target must be two databases; both are the same text")
        return self


class ReplicateSpec(Table):
    """The live copy, for the method of that name."""

    source: Conninfo | None = Field(
        None,
        description="conninfo of the old database as the new host's server reaches it; default: database.source. "
        "A password best stands in a file of that server's account: passfile=…",
    )
    target: Conninfo | None = Field(
        None, description="conninfo of the new database as the old host's server reaches it; default: database.target"
    )
    budget: Duration = Field(
        timedelta(seconds=30), description="how long writes may be paused; after that the cutover undoes itself"
    )
    compare: Duration = Field(
        timedelta(0),
        description="how much of that rows may be compared for once more, small tables first; 16 MB always are",
    )
    patience: Duration = Field(
        timedelta(minutes=10), description="how long the slot may wait for transactions that are writing"
    )
    uncompared: str | None = Field(
        None, min_length=8, description="why the copy is not compared before it follows; repeated in the report"
    )

    @model_validator(mode="after")
    def _sound(self) -> ReplicateSpec:
        if not SHORTEST_BUDGET <= self.budget <= LONGEST_BUDGET:
            raise ValueError("budget must be 5s to 10m")
        if self.compare * 2 > self.budget:
            raise ValueError("compare must leave half of the budget")
        return self


ProviderKind = Literal["manual", "rfc2136", "powerdns", "cloudflare", "route53", "digitalocean", "command", "lexicon"]
_NEEDS: dict[str, tuple[str, ...]] = {
    "rfc2136": ("server", "key_file"),
    "powerdns": ("server", "key_file"),
    "cloudflare": ("key_file",),
    "digitalocean": ("key_file",),
    "command": ("command",),
    "lexicon": ("service",),
}


class ProviderSpec(Table):
    """Who changes the records."""

    kind: ProviderKind = "manual"
    server: str | None = Field(
        None, description="rfc2136: primary that takes the updates, host, ip or ip:port; powerdns: URL of the API"
    )
    key_file: Annotated[str, AfterValidator(key_path)] | None = Field(
        None, description="TSIG key in BIND's or Knot's format, or the API's token alone; 0600, relative to the plan"
    )
    zone: Host | None = Field(None, description="the zone, where discovery must not decide")
    service: str | None = Field(
        None, description="lexicon: the name of its provider; manual: who hosts the zone, so that its limits are known"
    )
    command: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None, description="command: the program and its arguments; gets the change as JSON on stdin"
    )

    @model_validator(mode="after")
    def _complete(self) -> ProviderSpec:
        needs = _NEEDS.get(self.kind, ())
        if not all(getattr(self, key) for key in needs):
            raise ValueError(f'kind "{self.kind}" needs {" and ".join(needs)}')
        return self


class DnsSpec(Table):
    """The names that move, and from where to where."""

    names: Annotated[tuple[Host, ...], Field(min_length=1, strict=False)]
    from_: Address = Field(alias="from", description="the old host's IPv4 address")
    to: Address = Field(description="the new host's IPv4 address")
    low_ttl: int = Field(60, ge=1, le=3600, description="seconds; the TTL during the switchover")
    lead: Duration = Field(SHORTEST_LEAD, description="how long the low TTL must have been served before the cutover")
    lead_reason: str | None = Field(
        None, min_length=8, description="why a lead under 48h is enough; repeated in the report"
    )
    port: int = Field(53, ge=1, le=65535, description="port of the authoritative servers, for labs")
    resolver: Resolver | None = Field(
        None, description=f"resolver to discover with: {RESOLVER_FORMS}; default: the system's"
    )
    resolvers: Annotated[tuple[Resolver, ...], Field(strict=False)] | None = Field(
        None, description="public resolvers to watch, written as resolver is; default: a built-in list"
    )
    former_ttl: int = Field(
        0, ge=0, le=2147483647, description="seconds; the highest TTL of the last week, where it was above today's"
    )
    accept: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description='names of findings that are accepted as they are, such as "aaaa" or "silent 192.0.2.3"'
    )
    provider: ProviderSpec = ProviderSpec()

    @model_validator(mode="after")
    def _sound(self) -> DnsSpec:
        if self.from_ == self.to:
            raise ValueError(f"from and to are both {self.to}; they must differ")
        if len(set(self.names)) != len(self.names):
            raise ValueError("a name is listed twice")
        if self.lead < SHORTEST_LEAD and not self.lead_reason:
            raise ValueError(
                f'lead {self.lead} is under 48h; give it 48h or more, or say why less is enough: lead_reason = "…"'
            )
        return self


class WindowSpec(Table):
    """When users may be without service."""

    start: datetime = Field(description="local time in `timezone`, without an offset")
    timezone: Annotated[str, AfterValidator(_zone_name)]
    length: Duration
    fold: Literal["first", "second"] | None = Field(None, description="which one, where the clock is set back")
    short_reason: str | None = Field(None, min_length=8, description="why under 2h is enough; repeated in the report")
    contact: str | None = Field(None, description="whom users ask; for the notice")
    notice: str | None = Field(None, description="own words for the notice")

    @model_validator(mode="after")
    def _real(self) -> WindowSpec:
        if self.start.tzinfo is not None:
            raise ValueError("start has an offset; write the local time without one, the zone decides")
        _resolve(self.start, self.zone, self.fold, "start")
        if self.length < SHORTEST_WINDOW and not self.short_reason:
            raise ValueError(
                f'length {self.length} is under 2h; give it 2h or more, or say why less is enough: short_reason = "…"'
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def opens(self) -> datetime:
        """UTC."""
        return _resolve(self.start, self.zone, self.fold, "start")

    @property
    def closes(self) -> datetime:
        """UTC; the length is real time, whatever the clocks on the wall do."""
        return self.opens + self.length


def _resolve(local: datetime, zone: ZoneInfo, fold: str | None, key: str) -> datetime:
    """The instant of a local time; refuses one that the clock skips, and one that comes twice (PEP 495)."""
    first, second = (local.replace(tzinfo=zone, fold=each) for each in (0, 1))
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        late = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        raise ValueError(f"{key} {local} does not exist in {zone.key}: the clock is set forward; {late} does")
    if first.utcoffset() != second.utcoffset() and fold is None:
        raise ValueError(f'{key} {local} comes twice in {zone.key}: say fold = "first" or fold = "second"')
    return (second if fold == "second" else first).astimezone(UTC)


class CommandSpec(Table):
    """A command of the operator's, as an argument list; no shell."""

    command: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    timeout: Duration = timedelta(seconds=60)


class MaintenanceSpec(Table):
    """How users are told, and how the old application stops taking work."""

    on: CommandSpec | None = None
    off: CommandSpec | None = None


class ExpectSpec(Table):
    """What a healthy answer is."""

    status: int = Field(200, ge=100, le=599)
    contains: str | None = None
    within_ms: int = Field(2000, ge=1, le=60000)


class HealthSpec(Table):
    """One request that shows the application works."""

    name: str
    url: str
    expect: ExpectSpec = ExpectSpec()

    @model_validator(mode="after")
    def _web(self) -> HealthSpec:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("url must be http:// or https:// with a host name and no user")
        return self

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


class VerifySpec(Table):
    """How long the new host is watched, and how much it may fail."""

    soak: Duration = timedelta(minutes=15)
    every: Duration = timedelta(seconds=5)
    allow_failures: int = Field(0, ge=0)


Category = Literal[
    "switchover",
    "scalability",
    "resiliency",
    "load balancing",
    "recoverability",
    "backups and recovery plans",
    "monitoring and logging",
    "centralised logging",
    "support",
    "on-call",
    "organisation",
    "documentation",
    "security",
    "cost",
]
CATEGORIES: tuple[str, ...] = get_args(Category)
"""What production is looked at for, in the order it is shown."""


class ChecklistItem(Table):
    """Something a program cannot look at, and a person signs.

    What has no default of its own is None, so that a plan that does not use it relies on nothing new.
    """

    id: ItemId
    title: str
    required: bool = True
    required_from: float | None = Field(
        None, gt=0, lt=100, description="required where the availability asked for is at least this; percent"
    )
    category: Category | None = Field(None, description='what it belongs to; default: "switchover"')
    why: str | None = Field(None, description="what goes wrong without it")
    evidence: str | None = Field(None, description="what a signature should point to")
    about: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None, description="keys of the plan that it speaks of; when one changes, the signature is stale"
    )
    holds: Duration | None = Field(None, description="how long a signature holds")
    shown_by: Literal["readiness", "rehearsal", "lower-ttl", "window", "verify", "topology"] | None = Field(
        None, description="the step, or the table of the plan, that shows it; nobody signs it then"
    )
    seeds: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None, description="the items of published checklists that ask for it"
    )

    @model_validator(mode="after")
    def _known(self) -> ChecklistItem:
        for key in self.about or ():
            if not known_key(key):
                raise ValueError(f"about names {key}, which is no key of a plan")
        return self


class Pack(Table):
    """A file of checklist items that several plans share."""

    title: str
    checklist: Annotated[tuple[ChecklistItem, ...], Field(min_length=1, strict=False)]


class Spec(Table):
    """The operator's part of the plan file."""

    version: int
    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
    database: DatabaseSpec
    replicate: ReplicateSpec = ReplicateSpec()
    dns: DnsSpec
    window: WindowSpec | None = None
    maintenance: MaintenanceSpec = MaintenanceSpec()
    health: Annotated[tuple[HealthSpec, ...], Field(min_length=1, strict=False)]
    verify: VerifySpec = VerifySpec()
    topology: TopologySpec | None = None
    compose: ComposeSpec | None = None
    readiness: ReadinessSpec | None = None
    checklist: Annotated[tuple[ChecklistItem, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Spec:
        if self.version != FORMAT:
            newer = "a newer release of switchover" if self.version > FORMAT else f"version = {FORMAT}"
            raise ValueError(f"version {self.version} needs {newer}; this one reads {FORMAT}")
        if "replicate" in self.model_fields_set and self.database.method != "replicate":
            raise ValueError('[replicate] is for method = "replicate"; the method is "dump"')
        for check in self.health:
            if check.host not in self.dns.names:
                raise ValueError(f"health {check.name!r} asks {check.host}, which is not one of dns.names")
        ids = [item.id for item in self.checklist]
        if len(set(ids)) != len(ids):
            raise ValueError("two checklist items have the same id")
        return self


def known_key(key: str) -> bool:
    """Whether a dotted key, such as "dns.to", is one that a plan may have."""
    table: type[BaseModel] | None = Spec
    for part in key.split("."):
        fields = {info.alias or name: info for name, info in table.model_fields.items()} if table is not None else {}
        if part not in fields:
            return False
        kinds = (fields[part].annotation, *get_args(fields[part].annotation))
        table = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return True


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the operator's part, for editors."""
    return Spec.model_json_schema(by_alias=True)


def subtree(spec: Spec, keys: tuple[str, ...]) -> dict[str, Json]:
    """The parts of the spec under dotted keys, as JSON; comments and order of the file do not matter."""
    whole = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    found: dict[str, Json] = {}
    for key in keys:
        value: Any = whole
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found[key] = value
    return found


def digest(spec: Spec, keys: tuple[str, ...]) -> str:
    """A short name for those parts: ``sha256:`` and the hash of their canonical JSON."""
    text = json.dumps(subtree(spec, keys), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
