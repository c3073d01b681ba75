"""Images of programs that keep data, and where they keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from switchover.readiness.compose.values import Image

_AT = {
    "postgres": "/var/lib/postgresql",
    "postgis": "/var/lib/postgresql",
    "timescaledb": "/var/lib/postgresql",
    "timescaledb-ha": "/home/postgres",
    "pgvector": "/var/lib/postgresql",
    "crunchy-postgres": "/pgdata",
    "cockroach": "/cockroach/cockroach-data",
    "mysql": "/var/lib/mysql",
    "mysql-server": "/var/lib/mysql",
    "mariadb": "/var/lib/mysql",
    "percona": "/var/lib/mysql",
    "percona-server": "/var/lib/mysql",
    "mongo": "/data/db",
    "mongodb-community-server": "/data/db",
    "redis": "/data",
    "redis-stack": "/data",
    "redis-stack-server": "/data",
    "valkey": "/data",
    "keydb": "/data",
    "rabbitmq": "/var/lib/rabbitmq",
    "elasticsearch": "/usr/share/elasticsearch/data",
    "opensearch": "/usr/share/opensearch/data",
    "meilisearch": "/meili_data",
    "qdrant": "/qdrant/storage",
    "influxdb": "/var/lib/influxdb",
    "clickhouse-server": "/var/lib/clickhouse",
    "cassandra": "/var/lib/cassandra",
    "scylla": "/var/lib/scylla",
    "neo4j": "/data",
    "couchdb": "/opt/couchdb/data",
    "minio": "/data",
    "mssql": "/var/opt/mssql",
    "mssql/server": "/var/opt/mssql",
    "azure-sql-edge": "/var/opt/mssql",
    "oracle-free": "/opt/oracle/oradata",
    "oracle-xe": "/opt/oracle/oradata",
    "database/free": "/opt/oracle/oradata",
    "database/express": "/opt/oracle/oradata",
    "database/enterprise": "/opt/oracle/oradata",
}
"""By the last part of the image's name, or the last two."""
_OF_BITNAMI = {"postgresql", "postgresql-repmgr", "mysql", "mariadb", "mongodb", "redis", "valkey", "rabbitmq"} | {
    "cassandra",
    "elasticsearch",
    "minio",
    "neo4j",
}
_CACHES = frozenset({"redis", "redis-stack", "redis-stack-server", "valkey", "keydb"})
_QUICK_TO_STOP = _CACHES | {"minio", "meilisearch", "qdrant"}

NAMES = frozenset({"db", "database", "postgresql", "mongodb"}) | {name for name in _AT if "/" not in name}
"""What a service is called that is one."""


class Database(NamedTuple):
    """A program that keeps data."""

    program: str
    data_at: str

    @property
    def is_cache(self) -> bool:
        """May be meant to forget."""
        return self.program in _CACHES

    @property
    def is_for_clients(self) -> bool:
        """Browsers may speak to it: an object store is reached over HTTP, with keys of its own."""
        return self.program == "minio"

    @property
    def is_slow_to_stop(self) -> bool:
        """Writes what it holds in memory before it ends."""
        return self.program not in _QUICK_TO_STOP


def database_of(image: Image) -> Database | None:
    """What this image runs, where it is a database that is known here."""
    team, _, program = image.name.rpartition("/")
    if team in ("bitnami", "bitnamilegacy", "bitnamisecure"):
        return Database(program, f"/bitnami/{program}") if program in _OF_BITNAMI else None
    name = "/".join(image.name.split("/")[-2:])
    found = next((each for each in (name, program) if each in _AT), None)
    return Database(found, _AT[found]) if found else None
