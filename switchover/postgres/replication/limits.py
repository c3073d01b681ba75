"""What the two servers allow a link: settings, room for one more, and permissions; asked, and the way between tried.

https://www.postgresql.org/docs/current/logical-replication-config.html
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchover.plan import names
from switchover.postgres.connect import connect, told
from switchover.postgres.finding import Finding
from switchover.postgres.replication.subscription import try_reach
from switchover.postgres.together import both
from switchover.words import duration, plain, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link

SHOWN = 6
SAMPLE_S = 0.5
"""Between two looks at how much log has been written."""
SHORT_TIMEOUT_S = 10.0
LITTLE_MEMORY = 64 << 20
"""PostgreSQL's own default."""
LONG_S = 60.0
"""Age of a writing transaction from which the making of a slot is likely to wait."""

_PUBLISHER = """
SELECT r.rolname AS role, r.rolsuper AS superuser, r.rolreplication AS replicates,
  has_database_privilege(current_database(), 'CREATE') AS creates,
  current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
  current_setting('max_replication_slots')::int AS slots,
  (SELECT count(*) FROM pg_replication_slots WHERE NOT starts_with(slot_name::text, %(ours)s)) AS slots_used,
  current_setting('max_wal_senders')::int AS senders,
  (SELECT count(*) FROM pg_stat_replication WHERE NOT starts_with(application_name, %(ours)s)) AS senders_used,
  (SELECT setting::int8 * 1048576 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keeps,
  (SELECT setting::int8 * CASE unit WHEN 'min' THEN 60 ELSE 1 END FROM pg_settings
   WHERE name = 'idle_replication_slot_timeout') AS idle_s,
  (SELECT setting::int8 / 1000.0 FROM pg_settings WHERE name = 'wal_sender_timeout')::float8 AS timeout_s,
  (SELECT setting::int8 * 1024 FROM pg_settings WHERE name = 'logical_decoding_work_mem') AS decodes,
  ARRAY(SELECT gid FROM pg_prepared_xacts ORDER BY prepared) AS prepared,
  (SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float8 FROM pg_stat_activity
   WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()) AS oldest_s,
  ARRAY(SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database() AND NOT starts_with(subname, %(ours)s)) AS subscriptions,
  ARRAY(SELECT roname FROM pg_replication_origin WHERE roname !~ '^pg_[0-9]') AS origins,
  ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
    AND NOT starts_with(slot_name::text, %(ours)s)) AS others
FROM pg_roles r WHERE r.rolname = current_user
"""
_WRITTEN = """
SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_current_wal_insert_lsn() - '0/0'::pg_lsn END::int8,
  extract(epoch FROM clock_timestamp())::float8
"""
_SUBSCRIBER = """
SELECT r.rolname AS role, r.rolsuper AS superuser, current_setting('server_version_num')::int AS version,
  CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(
    (SELECT oid FROM pg_roles WHERE rolname = 'pg_create_subscription'), 'USAGE') ELSE false END AS subscribes,
  has_database_privilege(current_database(), 'CREATE') AS creates, pg_is_in_recovery() AS standby,
  current_setting(CASE WHEN current_setting('server_version_num')::int >= 180000
    THEN 'max_active_replication_origins' ELSE 'max_replication_slots' END)::int AS origins,
  (SELECT count(*) FROM pg_subscription WHERE NOT starts_with(subname, %(ours)s)) AS subscriptions,
  current_setting('max_logical_replication_workers')::int AS workers,
  current_setting('max_worker_processes')::int AS processes
FROM pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Sides:
    """What the two ends of a link are called in findings."""

    publisher: str
    subscriber: str


AHEAD = Sides("source", "target")
BEHIND = Sides("target", "source")


async def link_findings(link: Link, app: str, sides: Sides = AHEAD) -> tuple[Finding, ...]:
    """What would keep this link from being made, or end it. The way between the servers is tried and taken back."""
    (ours, rate), theirs = await both(
        both(_read(link.publisher, app, _PUBLISHER), _rate(link.publisher, app)),
        _read(link.subscriber, app, _SUBSCRIBER),
    )
    found = [
        *_publisher(ours, sides.publisher),
        *(_written(rate, sides.publisher) if sides == AHEAD else ()),
        *_subscriber(theirs, sides.subscriber),
        *_password(link, theirs, sides),
    ]
    if not any(each.severity == "block" and each.id.startswith(sides.subscriber) for each in found):
        why = await try_reach(link, app)
        if why:
            fix = "let it in: pg_hba.conf, firewall, listen_addresses; or say how that server reaches the other"
            found.append(Finding(f"{sides.subscriber}-unreached", "block", why, fix, "no change could follow"))
    return tuple(found)


def _publisher(said: dict[str, Any], side: str) -> Iterator[Finding]:
    yield from _slots(said, side)
    yield from _kept(said, side)
    yield from _sending(said, side)
    yield from _waits(said, side)
    role = plain(said["role"], 100)
    if said["standby"]:
        yield Finding(f"{side}-standby", "block", f"the {side} is a standby", "name the primary")
    if not (said["superuser"] or said["replicates"]):
        says = f"{role} may not replicate from the {side}"
        yield Finding(f"{side}-not-replicating", "block", says, f'ALTER ROLE "{role}" REPLICATION')
    if not said["creates"]:
        says = f"{role} may not create a publication on the {side}"
        yield Finding(f"{side}-no-create", "block", says, f'GRANT CREATE ON DATABASE … TO "{role}"')
    if names := _names([*said["subscriptions"], *said["origins"]]):
        says = f"the {side} itself follows others: {names}"
        why = "only what is written at it goes on to the other side, so rows that came so would be missing there"
        yield Finding(f"{side}-follows", "block", says, "end those subscriptions first, or move by dump", why)
    if names := _names(said["others"]):
        says = f"others follow the {side}: slots {names}"
        yield Finding(
            f"{side}-followers", "warn", says, "move them as well", "they get nothing written on the new side"
        )


def _slots(said: dict[str, Any], side: str) -> Iterator[Finding]:
    if said["wal_level"] != "logical":
        says = f"wal_level on the {side} is {said['wal_level']}"
        fix = "ALTER SYSTEM SET wal_level = logical; then restart the server"
        yield Finding(f"{side}-wal-level", "block", says, fix, "its log does not hold what replication needs")
    for name, setting in (("slots", "max_replication_slots"), ("senders", "max_wal_senders")):
        if said[f"{name}_used"] >= said[name]:
            says = f"the {side} has no room for one more: {setting} is {said[name]}, {said[f'{name}_used']} are in use"
            fix = f"ALTER SYSTEM SET {setting} = {said[f'{name}_used'] + 4}; then restart the server"
            yield Finding(f"{side}-{name}", "block", says, fix)


def _kept(said: dict[str, Any], side: str) -> Iterator[Finding]:
    """What the server does with the log that a slot needs."""
    if said["keeps"] is not None and said["keeps"] >= 0:
        says = f"max_slot_wal_keep_size on the {side} is {size(said['keeps'])}"
        why = "a slot that falls further behind loses changes, and the copy must begin anew"
        yield Finding(
            f"{side}-slot-keep", "warn", says, "ALTER SYSTEM SET max_slot_wal_keep_size = -1, and reload", why
        )
    else:
        says = f"a slot on the {side} keeps the log for as long as the other side does not take it"
        why = "a subscriber that is down fills the disk"
        yield Finding(f"{side}-disk", "info", says, "watch the free space there", why)
    if said["idle_s"]:
        says = f"idle_replication_slot_timeout on the {side} is {duration(said['idle_s'])}"
        why = "a slot that nobody follows for so long loses its changes"
        fix = "ALTER SYSTEM SET idle_replication_slot_timeout = 0, and reload"
        yield Finding(f"{side}-slot-idle", "warn", says, fix, why)


def _sending(said: dict[str, Any], side: str) -> Iterator[Finding]:
    """How patiently the server sends, and with how much memory."""
    if said["timeout_s"] == 0:
        says = f"wal_sender_timeout on the {side} is off"
        why = "a subscriber that is cut off is not noticed, and its slot stays taken when it comes back"
        yield Finding(f"{side}-sender-timeout", "warn", says, "ALTER SYSTEM RESET wal_sender_timeout, and reload", why)
    elif said["timeout_s"] < SHORT_TIMEOUT_S:
        says = f"wal_sender_timeout on the {side} is {duration(said['timeout_s'])}"
        why = "a subscriber that is busy for so long is cut off, and begins the transaction again"
        yield Finding(f"{side}-sender-timeout", "warn", says, "ALTER SYSTEM RESET wal_sender_timeout, and reload", why)
    if said["decodes"] < LITTLE_MEMORY:
        says = f"logical_decoding_work_mem on the {side} is {size(said['decodes'])}"
        why = "what a larger transaction has changed is put on disk before it is sent, and takes longer"
        fix = "ALTER SYSTEM RESET logical_decoding_work_mem, and reload"
        yield Finding(f"{side}-decoding-memory", "info", says, fix, why)


def _written(rate: float, side: str) -> Iterator[Finding]:
    """What the slot will hold while rows are copied; how long that takes only a rehearsal can tell."""
    if rate * 3600 >= 1_000_000:
        says = (
            f"the {side} writes {size(rate)} of log a second just now: each hour of copying keeps {size(rate * 3600)}"
        )
        fix = f"see that the disk of the {side} has room for as many hours as the copy takes, and to catch up"
        why = "the slot keeps every byte of it until the other side has taken it"
        yield Finding(f"{side}-wal-rate", "info", says, fix, why)


def _waits(said: dict[str, Any], side: str) -> Iterator[Finding]:
    """Who would hold up the making of a slot: any writing transaction of the server."""
    if names := _names(said["prepared"]):
        says = f"prepared transactions wait on the {side}'s server: {names}"
        fix = "COMMIT PREPARED or ROLLBACK PREPARED each"
        yield Finding(f"{side}-slot-prepared", "block", says, fix, "no slot can be made before they end")
    if said["oldest_s"] is not None and said["oldest_s"] > LONG_S:
        says = f"a transaction has been writing on the {side}'s server for {duration(round(said['oldest_s']))}"
        yield Finding(f"{side}-slot-waits", "warn", says, "wait for its end", "the slot cannot be made before it ends")


def _subscriber(said: dict[str, Any], side: str) -> Iterator[Finding]:
    role = plain(said["role"], 100)
    if said["standby"]:
        yield Finding(f"{side}-standby", "block", f"the {side} is a standby", "name the primary")
    if not said["superuser"] and not said["subscribes"]:
        says = f"{role} may not create a subscription on the {side}"
        fix = f'GRANT pg_create_subscription TO "{role}"' if said["version"] >= 160000 else "connect as a superuser"
        yield Finding(f"{side}-no-subscribe", "block", says, fix)
    elif not said["creates"]:
        says = f"{role} may not create in the database of the {side}"
        yield Finding(f"{side}-no-create-there", "block", says, f'GRANT CREATE ON DATABASE … TO "{role}"')
    free = min(said["origins"], said["workers"]) - said["subscriptions"]
    if free < 1 or said["processes"] < said["workers"] + 1:
        says = (
            f"the {side} has no room for one more subscription: {said['subscriptions']} are there, for "
            f"{said['workers']} workers, {said['origins']} origins and {said['processes']} processes"
        )
        fix = "raise max_logical_replication_workers, max_replication_slots and max_worker_processes; then restart"
        yield Finding(f"{side}-workers", "block" if free < 1 else "warn", says, fix, "nothing would be applied")


def _password(link: Link, said: dict[str, Any], sides: Sides) -> Iterator[Finding]:
    """What becomes of the password that the subscriber's server connects with."""
    if link.has_password:
        says = f"the password for the {sides.publisher} is kept in pg_subscription on the {sides.subscriber}"
        why = "its superusers can read it, and it is in every physical backup"
        if not said["superuser"]:
            why += "; its log may hold it too, for only a superuser may keep a statement out of it"
        fix = "on that host, put it into a file of the server's account, and name it: passfile=… or service=…"
        yield Finding(f"{sides.subscriber}-password-kept", "warn", says, fix, why)
    elif not said["superuser"]:
        says = f"{plain(said['role'], 100)} is no superuser on the {sides.subscriber}, and the link has no password"
        why = "PostgreSQL lets only a superuser's subscription connect without one"
        yield Finding(f"{sides.subscriber}-password", "block", says, "give a password, or subscribe as superuser", why)


async def _read(db: Database, app: str, query: str) -> dict[str, Any]:
    with told(db):
        async with await connect(db, app) as session:
            return await _dict(session, query)


async def _rate(db: Database, app: str) -> float:
    """Bytes of log a second, by two looks."""
    with told(db):
        async with await connect(db, app) as session:
            before, began = (await (await session.execute(_WRITTEN)).fetchall())[0]
            await asyncio.sleep(SAMPLE_S)
            after, ended = (await (await session.execute(_WRITTEN)).fetchall())[0]
    return float((after - before) / max(ended - began, SAMPLE_S))


async def _dict(session: AsyncConnection, query: str) -> dict[str, Any]:
    cursor = await session.execute(query.encode(), {"ours": names.LINK})
    row = await cursor.fetchone()
    assert row is not None  # one role
    return {column.name: value for column, value in zip(cursor.description or (), row, strict=True)}


def _names(found: list[str]) -> str:
    more = len(found) - SHOWN
    return plain(", ".join(found[:SHOWN]), 300) + (f" and {more} more" if more > 0 else "")
