"""The exact commands of a plan, for a person who has a shell and not this program; as data, without I/O.

The statements are shown, never run from here.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from switchover.plan import names
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.plan.progress import touched
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.plan.journal import Json
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

READ_ONLY = "default_transaction_read_only"
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")

CLOSE = f"""\
SET {READ_ONLY} = off;
ALTER DATABASE :"DBNAME" SET {READ_ONLY} = on;
-- the limit is for superusers to set: anybody else would shut themselves out
SELECT current_setting('is_superuser') AS superuser \\gset
\\if :superuser
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 0;
\\endif
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
AND coalesce(backend_type, 'client backend') = 'client backend' AND pid NOT IN (SELECT pid FROM pg_stat_replication);"""
"""Nobody writes to a database any more, by its own settings; what carries its rows to the other side goes on."""

NOBODY = f"""\
SELECT datname, datconnlimit, datallowconn FROM pg_database WHERE datname = current_database();
SHOW {READ_ONLY};
SELECT usename, client_addr, application_name FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();"""
"""Who is connected, and whether the database may be written to."""


def psql(conninfo: str, statements: str, *more: str) -> str:
    """A shell command that runs the statements and stops at the first that fails; ``more`` are words of the shell."""
    words = " ".join(("psql", quoted(conninfo), "-X", "-v ON_ERROR_STOP=1", *more))
    return f"{words} <<'SQL'\n{statements}\nSQL"


def end_ours(plan_id: str) -> str:
    """End what a dead run may have left on a server: a session holds its locks until it ends."""
    return (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity\n"
        f"WHERE starts_with(application_name, '{names.session_prefix(plan_id)}') AND pid <> pg_backend_pid();"
    )


def reopen(progress: Progress) -> str:
    """The source's settings of before the fence, as the journal holds them; else those of a database that has none."""
    before = _fence_before(progress)
    limit, read_only = before if before is not None else (-1, None)
    undo = f"SET {READ_ONLY} = '{read_only}'" if read_only is not None else f"RESET {READ_ONLY}"
    return (
        f'SET {READ_ONLY} = off;\nALTER DATABASE :"DBNAME" {undo};\nALTER DATABASE :"DBNAME" CONNECTION LIMIT {limit};'
    )


def knows_before(progress: Progress) -> bool:
    """Whether the journal holds the source's settings of before the fence."""
    return _fence_before(progress) is not None


def exchange(outgoing: str, incoming: str) -> str:
    """The database bearing the target's name becomes ``outgoing``, closed; ``incoming`` takes the name, open."""
    return (
        "\\set base :DBNAME\n"
        "\\connect postgres\n"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity\n"
        f"WHERE datname IN (:'base', '{incoming}') AND pid <> pg_backend_pid();\n"
        "BEGIN;\n"
        f'ALTER DATABASE :"base" RENAME TO {outgoing};\n'
        f'ALTER DATABASE {incoming} RENAME TO :"base";\n'
        f"ALTER DATABASE {outgoing} ALLOW_CONNECTIONS false;\n"
        'ALTER DATABASE :"base" ALLOW_CONNECTIONS true;\n'
        "COMMIT;"
    )


def drop(database: str) -> str:
    """Drop one of the plan's own databases."""
    return f"\\connect postgres\nDROP DATABASE IF EXISTS {database} WITH (FORCE);"


def ours_there(plan_id: str) -> str:
    """Which of the plan's databases there are."""
    return (
        "SELECT datname, datallowconn, pg_size_pretty(pg_database_size(oid)) FROM pg_database\n"
        f"WHERE datname LIKE '{names.copy_name(plan_id).replace('copy', '%')}%';"
    )


def create_copy(plan_id: str) -> str:
    """An empty database like the target's, by the name that the program gives it."""
    return (
        "SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L',\n"
        f"  '{names.copy_name(plan_id)}',\n"
        "  pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)\n"
        "FROM pg_database WHERE datname = current_database() \\gexec"
    )


def copy_by_hand(spec: Spec, progress: Progress) -> str:
    """Dump and restore with PostgreSQL's own programs."""
    database = spec.database
    folder = f"{database.bin}/" if database.bin else ""
    copy = names.copy_name(progress.plan_id)
    jobs = f"--jobs={database.jobs}"
    dump = [f"{folder}pg_dump", "--format=directory", jobs, "--file=dump-by-hand"]
    return (
        f"{shlex.join(dump)} --dbname={quoted(database.source)}\n"
        f"{psql(database.target, create_copy(progress.plan_id))}\n"
        f"{shlex.join([f'{folder}pg_restore', jobs, '--exit-on-error'])} "
        f"--dbname={quoted(with_database(database.target, copy))} dump-by-hand\n"
        f"{psql(with_database(database.target, copy), 'ANALYZE;')}"
    )


def with_database(conninfo: str, name: str) -> str:
    """The same server, another database; a later key counts in a conninfo, the path in a URI."""
    if conninfo.startswith(("postgres://", "postgresql://")):
        parts = urlsplit(conninfo)
        return parts._replace(path=f"/{name}").geturl()
    return f"{conninfo} dbname={name}"


def nsupdate(spec: Spec, old: str, new: str, ttls: Mapping[str, int]) -> str:
    """A signed update of every name that is refused unless the record is ``old``; only for such servers."""
    provider = spec.dns.provider
    server = plain(provider.server or "", 200)
    lines = [f"server {server.replace(':', ' ') if server.count(':') == 1 else server}"]
    if provider.zone:
        lines.append(f"zone {provider.zone}.")
    for name in spec.dns.names:
        lines += [
            f"prereq yxrrset {name}. A {old}",
            f"update delete {name}. A",
            f"update add {name}. {ttls[name]} A {new}",
            "send",
        ]
    return f"nsupdate -k {shlex.quote(provider.key_file or '')} <<'END'\n" + "\n".join(lines) + "\nEND"


def records(spec: Spec, address: str, ttls: Mapping[str, int]) -> str:
    """The records as a zone file has them."""
    width = max(len(name) for name in spec.dns.names) + 1
    return "\n".join(f"{f'{name}.':<{width}} {ttls[name]:>6} IN A {address}" for name in spec.dns.names)


def low_ttls(spec: Spec) -> dict[str, int]:
    """The TTL of the switchover, name by name."""
    return dict.fromkeys(spec.dns.names, spec.dns.low_ttl)


def original_ttls(spec: Spec, progress: Progress) -> dict[str, int]:
    """The TTLs of before, where the step lower-ttl has seen them; else an hour."""
    seen = step_of(progress, StepName.LOWER_TTL).facts.get("original_ttl")
    known = seen if isinstance(seen, dict) else {}
    return {name: int(str(known.get(name, 3600))) for name in spec.dns.names}


def ask_dns(spec: Spec, servers: tuple[str, ...]) -> str:
    """Ask who decides, past every cache."""
    names_ = spec.dns.names
    port = f" -p {spec.dns.port}" if spec.dns.port != 53 else ""
    if servers:
        return "\n".join(f"dig +norecurse +short{port} A {name} @{server}" for name in names_ for server in servers)
    return "\n".join(f"dig +trace A {name} | tail -5" for name in names_)


def ask_health(spec: Spec, address: str) -> str:
    """Ask a host for every health check, under the production name, whatever DNS says."""
    lines = []
    for check in spec.health:
        parts = urlsplit(check.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        pinned = f"{check.host}:{port}:{address}"
        asked = f"curl -sS -o /dev/null -w '%{{http_code}}\\n' --resolve {pinned} {shlex.quote(check.url)}"
        lines.append(f"{asked}   # {check.expect.status}")
    return "\n".join(lines)


def _fence_before(progress: Progress) -> tuple[int, str | None] | None:
    """Connection limit and read-only default of before, from the intent of the fence."""
    fence = next((each for each in step_of(progress, StepName.CUTOVER).actions if each.id == "fence-source"), None)
    saved: Json = fence.before.get("fence") if fence is not None and touched(fence) else None
    if not isinstance(saved, dict):
        return None
    settings = saved.get("settings")
    own = (
        [str(each) for each in settings if str(each).startswith(f"{READ_ONLY}=")] if isinstance(settings, list) else []
    )
    value = re.sub(r"[^A-Za-z0-9]", "", own[0].partition("=")[2]) if own else None
    return int(str(saved.get("limit", -1))), value


def quoted(conninfo: str) -> str:
    """For a shell: as it stands, but that ``${VAR}`` is read from the environment."""
    text = plain(conninfo, 500)
    if not _VARIABLE.search(text):
        return shlex.quote(text)
    parts = _VARIABLE.split(text)
    quoted = [re.sub(r'([\\"`$])', r"\\\1", part) for part in parts]
    found = _VARIABLE.findall(text)
    return '"' + "".join(part + (found[at] if at < len(found) else "") for at, part in enumerate(quoted)) + '"'
