"""Small file systems, to be filled up by a server or a dump."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres.conftest import Side
from tests.servers.postgres import server_account


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of so many megabytes."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def grown(disk: Path, megabytes: int) -> None:
    """Give a file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", disk], check=True)


def moved_to(disk: Path, side: Side) -> None:
    """Let the tables of a side, but not its log, be on that disk: a tablespace ``small``."""
    folder = disk / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, server_account().pw_uid, server_account().pw_gid)
    side.cluster.run(f"CREATE TABLESPACE small LOCATION '{folder}'")
    side.cluster.run(f'ALTER DATABASE "{side.name}" SET TABLESPACE small')
