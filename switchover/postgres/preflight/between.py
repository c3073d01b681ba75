"""What two looks mean when held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import MAINTENANCE
from switchover.postgres.finding import Finding
from switchover.postgres.globals.roles import SINCE_ADMIN
from switchover.postgres.preflight.check import some
from switchover.postgres.preflight.look import APPLICATION
from switchover.postgres.preflight.supported import END_OF_LIFE, is_ended
from switchover.words import plain, size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from switchover.postgres.facts import ServerFacts
    from switchover.postgres.preflight.look import Look, Other

SKEW_S = 2.0
NEEDS_PRELOAD = frozenset({"timescaledb", "pg_cron", "pglogical", "citus", "pgaudit", "pg_stat_statements", "age"})
"""Extensions that do nothing, or cannot be made, unless their library is loaded at start."""


def between(ours: Look, theirs: Look, today: date) -> Iterator[Finding]:
    """The findings that need both sides."""
    yield from _versions(ours, theirs, today)
    yield from _places(ours, theirs)
    yield from _permissions(theirs)
    yield from _acting(ours, theirs)
    yield from _sorting(ours, theirs)
    yield from _extensions(ours, theirs)
    yield from _preloaded(ours, theirs)
    yield from _capacity(ours, theirs)
    yield from _settings(ours, theirs)
    yield from _clocks(ours, theirs)


def _versions(ours: Look, theirs: Look, today: date) -> Iterator[Finding]:
    yield Finding("versions", "info", f"{ours.facts.version} to {theirs.facts.version}")
    if theirs.facts.major < ours.facts.major:
        says = f"the target is {theirs.facts.version}, older than the source's {ours.facts.version}"
        fix = "make the target with the source's major version or a newer one"
        yield Finding("older-target", "block", says, fix, "a dump cannot go to an older major version")
    if is_ended(theirs.facts.major, today):
        end = END_OF_LIFE.get(theirs.facts.major)
        says = f"PostgreSQL {theirs.facts.major} of the target gets no more fixes" + (f" since {end}" if end else "")
        why = "the next switchover would be due at once"
        yield Finding("target-ended", "warn", says, f"make the target with PostgreSQL {max(END_OF_LIFE)}", why)


def _places(ours: Look, theirs: Look) -> Iterator[Finding]:
    mine, other = ours.facts, theirs.facts
    yield from _one_place(mine, other)
    if other.name in (MAINTENANCE, "template1"):
        says = f"the target database is {other.name}, from which others are renamed; it cannot be renamed itself"
        why = "the copy is made beside it, and takes its name"
        yield Finding("target-name", "block", says, "make a database of another name for the application", why)
    if mine.encoding != other.encoding:
        says = f"the source is {mine.encoding}, the target {other.encoding}"
        fix = f"make the target database with ENCODING '{mine.encoding}'"
        yield Finding("encoding", "block", says, fix, "a letter that the target does not know ends the restore")


def _one_place(mine: ServerFacts, other: ServerFacts) -> Iterator[Finding]:
    """A physical clone has the cluster's number and the database's oid of its origin, but was started by itself."""
    if (mine.oid, mine.name) != (other.oid, other.name):
        return
    if None not in (mine.started, other.started):
        if mine.started == other.started:
            says = f"source and target are the same database, {plain(mine.name, 100)}"
            yield Finding("same-database", "block", says, "name two", "the copy would take its own place")
    elif None in (mine.system, other.system) or mine.system == other.system:
        says = "whether source and target are one server is not known: our role may not ask when it was started"
        fix = "GRANT EXECUTE ON FUNCTION pg_postmaster_start_time() TO our role, on both sides"
        yield Finding("same-database-unknown", "warn", says, fix, "the copy of a database would take its own place")


def _permissions(theirs: Look) -> Iterator[Finding]:
    role = plain(theirs.facts.role, 100)
    if not theirs.facts.create_db:
        why = "the copy is made beside the target and takes its place when it is proved"
        yield Finding(
            "no-createdb",
            "block",
            f"{role} may not create databases on the target",
            f'ALTER ROLE "{role}" CREATEDB',
            why,
        )
    if not theirs.facts.owner:
        says = f"{role} does not own {plain(theirs.facts.name, 100)} on the target: it may not be renamed"
        why = "the copy takes its name"
        yield Finding("not-owner", "block", says, "use the owner's role, or one that belongs to it", why)


def _acting(ours: Look, theirs: Look) -> Iterator[Finding]:
    """Only who may do what an owner may can make an object, give it to that owner, and work on it from then on."""
    if theirs.facts.superuser:
        return
    others = {name: theirs.roles.get(name) for name in sorted(ours.owners)}
    closed = {
        name: other
        for name, other in others.items()
        if not (other.ours if other is not None else theirs.creates_roles and theirs.grants_itself)
    }
    if closed:
        role = _identifier(theirs.facts.role)
        says = f"{plain(theirs.facts.role, 100)} may not act on the target as owners of the source's objects: "
        fixes = dict.fromkeys(_letting(_identifier(name), other, role, theirs) for name, other in closed.items())
        why = "the restore gives each object to its owner, and works on as that role"
        names = some([plain(name, 100) for name in closed])
        yield Finding("cannot-act-as", "block", says + names, "; ".join(fixes), why)


def _letting(owner: str, other: Other | None, role: str, theirs: Look) -> str:
    """What lets our role act as an owner."""
    modern = theirs.facts.version_num >= SINCE_ADMIN
    if other is not None and other.superuser:
        return f"let the plan connect to the target as a superuser, or give what {owner} owns on the source to another"
    if other is None and modern and theirs.creates_roles:
        return f"ALTER ROLE {role} SET createrole_self_grant = 'set, inherit'"
    grant = f"GRANT {owner} TO {role}" + (" WITH INHERIT TRUE, SET TRUE" if modern else "")
    return grant if other is not None else f"CREATE ROLE {owner}; {grant}"


def _identifier(name: str) -> str:
    return plain(sql.Identifier(name).as_string(None), 150)


def _sorting(ours: Look, theirs: Look) -> Iterator[Finding]:
    why = "lists come in another order; ranges and partitions by text hold other rows"
    if ours.locale != theirs.locale:
        mine, other = (_locale(each.locale) for each in (ours, theirs))
        says = f"the source sorts as {mine}, the target as {other}"
        fix = "make the target with the source's locale, or accept its order"
        yield Finding("locale", "warn", says, fix, why)
    elif ours.sorted_by != theirs.sorted_by and ours.sorted_by and theirs.sorted_by:
        says = f"the source sorts by version {ours.sorted_by} of {ours.locale[0]}, the target by {theirs.sorted_by}"
        fix = "nothing: the target's indexes are made anew; look at ranges and partitions by text"
        yield Finding("locale-version", "warn", plain(says), fix, why)


def _locale(locale: tuple[str | None, ...]) -> str:
    collate, ctype, provider, name = locale
    known = {"i": "ICU", "b": "built-in"}.get(provider or "")
    return plain(f"{collate}, {ctype}" + (f", {known} {name}" if known else ""), 200)


def _extensions(ours: Look, theirs: Look) -> Iterator[Finding]:
    missing = sorted(ours.installed.keys() - theirs.offered.keys())
    if missing:
        says = f"the target lacks extension {plain(', '.join(missing), 500)}"
        yield Finding("missing-extension", "block", says, "install them on the target's host", "the restore would fail")
    older, newer, refused = [], [], []
    for name, version in sorted(ours.installed.items()):
        offer = theirs.offered.get(name)
        if offer is None:
            continue
        if _number(offer.version) < _number(version):
            older.append(f"{name} is {version} on the source, the target offers {offer.version}")
        elif _number(offer.version) > _number(version):
            newer.append(f"{name} {version} becomes {offer.version}")
        if offer.superuser_only and not theirs.facts.superuser and not offer.installed:
            refused.append(name)
    if older:
        why = "what only the newer one has would fail in the restore"
        says = plain(f"extensions: {some(older)}", 600)
        yield Finding("older-extension", "warn", says, "install the newer version on the target's host", why)
    if newer:
        why = "the restore makes each extension in the version that the target offers"
        yield Finding("newer-extension", "info", plain(f"extensions: {some(newer)}", 600), "read its notes", why)
    if refused:
        says = f"only a superuser may make extension {plain(', '.join(refused), 500)} on the target"
        fix = "make them in template1 as a superuser, or let the plan connect as one"
        yield Finding("superuser-extension", "block", says, fix, "the restore would fail")


def _number(version: str) -> tuple[int, ...]:
    """A version as numbers; a part that is none counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.replace("-", ".").split("."))


def _preloaded(ours: Look, theirs: Look) -> Iterator[Finding]:
    mine, other = (each.settings.get("shared_preload_libraries") for each in (ours, theirs))
    if mine is None or other is None:
        return
    names = [{part.strip(' "').rpartition("/")[2] for part in text.split(",")} - {""} for text in (mine, other)]
    lacking = sorted(names[0] - names[1])
    if lacking:
        needed = any(name in ours.installed and name in NEEDS_PRELOAD for name in lacking)
        says = f"the source loads at start, and the target does not: {plain(', '.join(lacking), 300)}"
        fix = f"ALTER SYSTEM SET shared_preload_libraries = '{plain(mine, 200)}', and restart the target"
        why = "an extension that needs its library fails, or silently does nothing"
        yield Finding("preload", "block" if needed else "warn", says, fix, why)


def _capacity(ours: Look, theirs: Look) -> Iterator[Finding]:
    room = f"{size(ours.facts.size_bytes)} are copied; how much room the target's disk has, no connection can tell"
    fix = "df on the target's host: that much for the data, and half as much for WAL and sorting"
    yield Finding("room", "info", room, fix, "a full disk stops the copy, and whatever else the server holds")
    if theirs.connections < ours.connections:
        says = f"max_connections is {theirs.connections} on the target, {ours.connections} on the source"
        says += f", of which {ours.in_use} are in use now"
        short = ours.in_use > theirs.connections * 0.9
        fix = f"ALTER SYSTEM SET max_connections = {ours.connections}, and restart the target"
        yield Finding("connections", "warn" if short else "info", says, fix, "the application is refused beyond that")
    if theirs.standbys < ours.standbys:
        says = f"{ours.standbys} standbys stream from the source, {theirs.standbys} from the target"
        why = "from the switchover on there is less to fall back to"
        yield Finding("fewer-standbys", "warn", says, "attach standbys to the target before the window", why)
    if (ours.settings.get("archive_mode"), theirs.settings.get("archive_mode")) == ("on", "off"):
        fix = "ALTER SYSTEM SET archive_mode = on with an archive_command, and restart the target"
        why = "the target could not be recovered to a point in time"
        yield Finding("no-archive", "warn", "the source archives its WAL, the target does not", fix, why)
    if (ours.settings.get("data_checksums"), theirs.settings.get("data_checksums")) == ("on", "off"):
        why = "broken pages of the target would go unnoticed"
        fix = "pg_checksums --enable while the target is stopped"
        yield Finding("no-checksums", "info", "the source checks its pages, the target does not", fix, why)


def _settings(ours: Look, theirs: Look) -> Iterator[Finding]:
    apart = [
        f"{name} is {plain(ours.settings[name], 60) or 'empty'} on the source, "
        f"{plain(theirs.settings[name], 60) or 'empty'} on the target"
        for name in APPLICATION
        if name in ours.settings and name in theirs.settings and ours.settings[name] != theirs.settings[name]
    ]
    if apart:
        fix = "set them on the target as on the source, in postgresql.conf or with ALTER DATABASE … SET"
        why = "the application finds other defaults after the switchover"
        yield Finding("server-settings", "warn", plain(some(apart), 900), fix, why)


def _clocks(ours: Look, theirs: Look) -> Iterator[Finding]:
    off = [each for each in (ours, theirs) if abs(each.skew_s) > SKEW_S]
    if off:
        says = "; ".join(
            f"the clock of the {each.side} is {abs(each.skew_s):.0f} s {'ahead' if each.skew_s > 0 else 'behind'}"
            for each in off
        )
        why = "what the application dates by the server jumps at the switchover, and times in the report do not fit"
        yield Finding("clock-skew", "warn", says, "set up chrony or systemd-timesyncd on that host", why)
