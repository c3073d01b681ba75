"""What two looks mean when held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import MAINTENANCE
from switchover.postgres.finding import Finding
from switchover.postgres.globals.roles import SINCE_ADMIN
from switchover.postgres.preflight.check import some
from switchover.postgres.preflight.furnished import capacity, clocks, settings
from switchover.postgres.preflight.sorting import sorting
from switchover.postgres.preflight.supported import END_OF_LIFE, YEAR_OLD, is_ended, is_old
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from switchover.postgres.facts import ServerFacts
    from switchover.postgres.preflight.look import Look, Other

NEEDS_PRELOAD = frozenset({"timescaledb", "pg_cron", "pglogical", "citus", "pgaudit", "pg_stat_statements", "age"})
"""Extensions that do nothing, or cannot be made, unless their library is loaded at start."""


def between(ours: Look, theirs: Look, today: date) -> Iterator[Finding]:
    """The findings that need both sides."""
    yield from _versions(ours, theirs, today)
    yield from _places(ours, theirs)
    yield from _permissions(theirs)
    yield from _acting(ours, theirs)
    yield from sorting(ours, theirs)
    yield from _extensions(ours, theirs)
    yield from _preloaded(ours, theirs)
    yield from capacity(ours, theirs)
    yield from settings(ours, theirs)
    yield from clocks(ours, theirs)


def _versions(ours: Look, theirs: Look, today: date) -> Iterator[Finding]:
    yield Finding("versions", "info", f"{ours.facts.version} to {theirs.facts.version}")
    if theirs.facts.major < ours.facts.major:
        says = f"the target is {theirs.facts.version}, older than the source's {ours.facts.version}"
        fix = "make the target with the source's major version or a newer one"
        yield Finding("older-target", "block", says, fix, "a dump cannot go to an older major version")
    for each in (ours, theirs):
        yield from _mended(each, today)


def _mended(side: Look, today: date) -> Iterator[Finding]:
    """Whether that release is still mended, and has been."""
    major, newest = side.facts.major, max(END_OF_LIFE)
    if is_ended(major, today):
        end = END_OF_LIFE.get(major)
        says = f"PostgreSQL {major} of the {side.side} gets no more fixes" + (f" since {end}" if end else "")
        if side.side == "source":
            yield Finding("source-ended", "info", says, "move to a major version that does")
        else:
            why = "the next switchover would be due at once"
            yield Finding("target-ended", "warn", says, f"make the target with PostgreSQL {newest}", why)
    if is_old(major, side.facts.minor):
        says = (
            f"the {side.side} is {side.facts.version}: it lacks the fixes from {major}.{YEAR_OLD[major]} on, of a year"
        )
        fix = f"install the newest minor release of PostgreSQL {major} and restart; the data stay as they are"
        why = "among them are holes, and faults that lose or break rows and indexes"
        yield Finding(f"{side.side}-old-release", "warn", says, fix, why)


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
