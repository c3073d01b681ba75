"""The mix that copies are measured by: wide, narrow, jsonb under GIN, texts under indexes, and 1,000 small tables."""

from __future__ import annotations

from tests.servers.postgres import Cluster

_KINDS = ("int", "text", "float8", "timestamptz", "numeric(14,4)")
_VALUES = (
    "(n::bigint * {0} % 2000000)::int",
    "md5((n + {0})::text)",
    "n / {0}.7",
    "'2026-01-01'::timestamptz + n * interval '1 min'",
    "(n * {0} / 7.0)",
)
_COLUMNS = ", ".join(f"c{i} {_KINDS[i % 5]}" for i in range(1, 41))
_WIDE = ", ".join(_VALUES[i % 5].format(i) for i in range(1, 41))

_LARGE = (
    "CREATE TABLE narrow (id bigint PRIMARY KEY, owner int, at timestamptz, amount numeric(12,2), ok boolean)",
    "INSERT INTO narrow SELECT i, (i::bigint * 7919 % 50000)::int, '2026-01-01'::timestamptz + i * interval '1 s', "
    "(i % 100000) / 100.0, i % 3 = 0 FROM generate_series(1, {0} * 18) i",
    "CREATE INDEX ON narrow (owner); CREATE INDEX ON narrow (at)",
    f"CREATE TABLE wide (id bigint PRIMARY KEY, {_COLUMNS})",
    f"INSERT INTO wide SELECT n, {_WIDE} FROM generate_series(1, {{0}} * 3 / 2) n",
    "CREATE TABLE docs (id uuid PRIMARY KEY, at timestamptz, doc jsonb NOT NULL)",
    "INSERT INTO docs SELECT md5(n::text)::uuid, now(), jsonb_build_object('name', 'name ' || n, 'tags', "
    "jsonb_build_array('t' || n % 97, 't' || n % 89), 'n', n, 'nested', jsonb_build_object('a', n % 1000, 'b', "
    "md5(n::text))) FROM generate_series(1, {0} * 2) n",
    "CREATE INDEX ON docs USING gin (doc)",
    "CREATE TABLE pages (id int PRIMARY KEY, slug text NOT NULL UNIQUE, title text NOT NULL, body text)",
    "INSERT INTO pages SELECT n, md5(n::text) || '-' || n, md5((n * 3)::text), repeat(md5(n::text), 8) "
    "FROM generate_series(1, {0} * 5 / 2) n",
    "CREATE INDEX ON pages (title); CREATE INDEX ON pages (lower(slug))",
)

_SMALL = """CREATE TABLE small_{0} (id serial PRIMARY KEY, page int, note text);
INSERT INTO small_{0} (page, note) SELECT n, md5(n::text) FROM generate_series(1, 200) n"""


def make_mix(cluster: Cluster, name: str, scale: int = 100_000) -> None:
    """Make the database; at the usual scale 625 MB, of which 380 MB are tables."""
    cluster.run(f"CREATE DATABASE {name}")
    with cluster.connect(name) as session:
        for statement in _LARGE:
            session.execute(statement.format(scale).encode())
        with session.transaction():
            for number in range(1000):
                session.execute(_SMALL.format(number).encode())
    cluster.run("VACUUM ANALYZE", name)
