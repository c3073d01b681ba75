"""What the operator asks for: one model a TOML table, and one line for every problem."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.plan.journal import Json

FORMAT = 1
SHORTEST_LEAD = timedelta(hours=48)
SHORTEST_WINDOW = timedelta(hours=2)
SHORTEST_BUDGET = timedelta(seconds=5)
LONGEST_BUDGET = timedelta(minutes=10)
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


def _zone_name(text: str) -> str:
    if text not in available_timezones() or ("/" not in text and text != "UTC"):
        raise ValueError('an IANA zone such as "America/Toronto" (abbreviations such as EST have no rules)')
    return text


_RESOLVER_FORMS = "ip, ip:port, tls://ip#name or https://host/path"


def _resolver(text: str) -> str:
    scheme, found, rest = text.partition("://")
    at = re.sub(r"^\[(.*)\](:\d+)?$|^([^:]+):\d+$", r"\1\3", (rest if found else scheme).partition("#")[0])
    if found and scheme == "https" and rest.partition("/")[0]:
        return text
    if not found or scheme == "tls":
        with contextlib.suppress(ValueError):
            ip_address(at)
            return text
    raise ValueError(f"a resolver: {_RESOLVER_FORMS}")


def _key_path(text: str) -> str:
    if ".." in text.split("/"):
        raise ValueError("a path without '..'")
    return text


def _docker(text: str) -> str:
    parts = urlsplit(text)
    needs = {"unix": parts.path, "ssh": parts.hostname, "tcp": parts.hostname and parts.port}
    if parts.password or not needs.get(parts.scheme):
        raise ValueError('"unix:///var/run/docker.sock", "ssh://user@host" or "tcp://host:2376"; no password')
    return text


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("1 to 64 printable characters")
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


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class DatabaseSpec(_Table):
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


class ReplicateSpec(_Table):
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


class ProviderSpec(_Table):
    """Who changes the records."""

    kind: ProviderKind = "manual"
    server: str | None = Field(
        None, description="rfc2136: primary that takes the updates, host, ip or ip:port; powerdns: URL of the API"
    )
    key_file: Annotated[str, AfterValidator(_key_path)] | None = Field(
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


class DnsSpec(_Table):
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
        None, description=f"resolver to discover with: {_RESOLVER_FORMS}; default: the system's"
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


class WindowSpec(_Table):
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


class CommandSpec(_Table):
    """A command of the operator's, as an argument list; no shell."""

    command: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    timeout: Duration = timedelta(seconds=60)


class MaintenanceSpec(_Table):
    """How users are told, and how the old application stops taking work."""

    on: CommandSpec | None = None
    off: CommandSpec | None = None


class ExpectSpec(_Table):
    """What a healthy answer is."""

    status: int = Field(200, ge=100, le=599)
    contains: str | None = None
    within_ms: int = Field(2000, ge=1, le=60000)


class HealthSpec(_Table):
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


class VerifySpec(_Table):
    """How long the new host is watched, and how much it may fail."""

    soak: Duration = timedelta(minutes=15)
    every: Duration = timedelta(seconds=5)
    allow_failures: int = Field(0, ge=0)


BUILT_IN = "production"
"""The pack of checklist items that comes with the program."""

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

ItemId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Reason = Annotated[str, Field(min_length=8)]


class ChecklistItem(_Table):
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


class Pack(_Table):
    """A file of checklist items that several plans share."""

    title: str
    checklist: Annotated[tuple[ChecklistItem, ...], Field(min_length=1, strict=False)]


def _pack_name(text: str) -> str:
    if text == BUILT_IN or (text.endswith(".toml") and not text.startswith("/") and ".." not in text.split("/")):
        return text
    raise ValueError(f'"{BUILT_IN}", or a .toml file in the plan\'s folder or below it')


class WaiverSpec(_Table):
    """A required item that is not there, and why that is accepted."""

    reason: Reason
    until: date | None = Field(None, description="the last day on which it is accepted")
    owner: str | None = Field(None, description="who accepts it")


class ReadinessSpec(_Table):
    """What is asked of production before anyone is sent there."""

    availability: float = Field(gt=0, lt=100, description="percent of a year in which users have service, such as 99.9")
    recovery_time: Duration | None = Field(
        None, description="how long a recovery may take (RTO); the rehearsal's copy is held against it"
    )
    packs: Annotated[tuple[Annotated[str, AfterValidator(_pack_name)], ...], Field(strict=False)] = Field(
        (BUILT_IN,), description=f'files with more [[checklist]] items; "{BUILT_IN}" is the built-in one'
    )
    required: Annotated[tuple[ItemId, ...], Field(strict=False)] = Field(
        (), description="recommended items that are required here"
    )
    owners: dict[ItemId, str] = Field({}, description="who has to see to an item")
    not_applicable: dict[ItemId, Reason] = Field({}, description="items that make no sense here, each with the reason")
    waived: dict[ItemId, WaiverSpec] = Field({}, description="items that are missing, and accepted as missing")


class NodeSpec(_Table):
    """One node of the new host's cluster, as it was ordered."""

    name: str
    role: Literal["manager", "worker"]
    cpu: float = Field(gt=0, description="virtual CPUs")
    memory_gb: float = Field(gt=0)
    address: Address | None = Field(None, description="where users reach it; the manager's takes the traffic in")
    runs: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="services that are pinned to this node, or may be placed on it"
    )


class DatabaseSizeSpec(_Table):
    """The new database server, as it was ordered."""

    cpu: float = Field(gt=0, description="virtual CPUs")
    memory_gb: float = Field(gt=0)
    tier: str | None = Field(None, description='such as "general purpose" or "burstable"')


class TopologySpec(_Table):
    """What the new host consists of."""

    nodes: Annotated[tuple[NodeSpec, ...], Field(min_length=1, strict=False)]
    database: DatabaseSizeSpec | None = None
    on_managers: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("traefik",), description="services that belong on managers: the load balancer"
    )
    docker: Annotated[str, AfterValidator(_docker)] | None = Field(
        None,
        description="a manager's Docker endpoint: unix://, ssh:// or tcp://; only looked at, to prove what is declared",
    )
    docker_certificates: Annotated[str, AfterValidator(_key_path)] | None = Field(
        None, description="for tcp://: folder with ca.pem, cert.pem and key.pem (0600), relative to the plan"
    )

    @model_validator(mode="after")
    def _named_once(self) -> TopologySpec:
        if len({node.name for node in self.nodes}) != len(self.nodes):
            raise ValueError("two nodes have the same name")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> TopologySpec:
        over_tcp = (self.docker or "").startswith("tcp://")
        if over_tcp and self.docker_certificates is None:
            raise ValueError(
                "docker over tcp:// needs docker_certificates, the folder with ca.pem, cert.pem and key.pem: "
                "without them anybody may ask it, and anybody may answer"
            )
        if self.docker_certificates is not None and not over_tcp:
            raise ValueError("docker_certificates are for docker over tcp:// alone")
        return self


class ServiceSpec(_Table):
    """What no Compose file says of a service."""

    startup: Duration | None = Field(
        None, description="from a container's start to its first answer; health checks and updates have to fit"
    )
    stateless: bool | None = Field(None, description="whether two versions of it may run side by side")

    @model_validator(mode="after")
    def _simulable(self) -> ServiceSpec:
        if self.startup is not None and not timedelta(seconds=1) <= self.startup <= timedelta(days=1):
            raise ValueError("startup must be 1s to 24h")
        return self


class SuppressSpec(_Table):
    """A finding in the Compose files that is fine as it is."""

    rule: ItemId = Field(description="the rule's id, as `switchover lint` says it")
    service: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the one service it is said of; default: every service, and the file as a whole"
    )
    reason: Reason
    until: date | None = Field(None, description="the last day on which it is accepted")

    @property
    def names(self) -> str:
        return f"{self.rule} of {self.service}" if self.service is not None else self.rule


class ComposeSpec(_Table):
    """The files that the new host is deployed from."""

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)] = Field(
        description="relative to the plan; several are merged, as Compose does it"
    )
    dialect: Literal["stack", "compose"] = Field(description="docker stack deploy, or docker compose up")
    env_file: str | None = Field(
        None, description="variables, relative to the plan; default: .env beside the first file, which a stack ignores"
    )
    services: dict[str, ServiceSpec] = Field({}, description="what no file says, by service")
    suppress: Annotated[tuple[SuppressSpec, ...], Field(strict=False)] = Field(
        (), description="findings that are fine as they are; repeated in the report"
    )


class Spec(_Table):
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
