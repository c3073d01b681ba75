"""No secret in plan, journal, report, side files, output or any process's arguments."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

from switchover.dns.keys import read_key
from tests.e2e.world import World

CANARY = "c@n/ry%20 S3cr#t'pw"


def arguments() -> bytes:
    """The command line of every process there is."""
    said = b""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                said += (process / "cmdline").read_bytes()
            except OSError:
                continue
    return said


def test_a_whole_switchover_leaves_no_secret_anywhere(world: World) -> None:
    world.prepare()
    world.sql("old", "ALTER ROLE admin PASSWORD '" + CANARY.replace("'", "''") + "'", "postgres")
    passwords = world.lab.folder / "passwords.conf"
    right = passwords.read_text()
    escaped = CANARY.replace("\\", "\\\\").replace(":", "\\:")
    old = f"127.0.0.1:{world.lab.ports.old}:*:admin:"
    passwords.write_text(
        "".join(old + escaped + "\n" if line.startswith(old) else line + "\n" for line in right.splitlines())
    )
    seen = b""
    try:
        runner = subprocess.Popen(
            [sys.executable, "-m", "switchover", "run", str(world.plan), "--yes", "--debug"],
            env=world.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert runner.stdout is not None
        output = b""
        while chunk := runner.stdout.readline():
            output += chunk
            seen += arguments()
        assert runner.wait() == 0, output
        runner.stdout.close()
    finally:
        passwords.write_text(right)
        server = world.lab.old.port
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=server, user="admin", password=CANARY, dbname="postgres") as back:
            back.execute(f"ALTER ROLE admin PASSWORD '{world.lab._admin}'".encode())
    secrets = [
        CANARY,
        "S3cr#t",
        world.lab._admin,
        world.lab._role,
        base64.b64encode(read_key(world.lab.folder / "shop.key").secret.raw).decode(),
    ]
    report = world.command("report").out.encode() + world.command("status", "--json").out.encode()
    written = b"".join(
        path.read_bytes()
        for path in (*world.lab.folder.glob("shop.toml*"), *(world.plan.with_name("shop.toml.d")).rglob("*"))
        if path.is_file()
    )
    for secret in secrets:
        text = secret.encode()
        for where in (output, seen, report, written):
            assert text not in where


def test_a_wrong_password_is_refused_without_being_repeated(world: World) -> None:
    world.reset()
    text = world.plan.read_text()
    world.plan.write_text(text.replace('"service=shop_old"', '"${SHOP_OLD}"'))
    env = {**world.env(), "SHOP_OLD": f"postgresql://admin:c%40n%2Fry@127.0.0.1:{world.lab.ports.old}/shop"}
    for way in (env, {**env, "SHOP_OLD": "postgresql://admin:c@n/ry%zz@127.0.0.1/shop"}):
        argv = [sys.executable, "-m", "switchover", "run", str(world.plan), "--yes"]
        ended = subprocess.run(argv, env=way, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode in (1, 2)
        assert "n/ry" not in ended.stdout + ended.stderr + world.plan.read_text()
        assert "c%40n" not in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_every_file_of_a_plan_is_for_its_owner_only(world: World) -> None:
    world.prepare()
    assert world.through("finish").code == 0
    folder = world.plan.with_name("shop.toml.d")
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in (*world.lab.folder.glob("shop.toml*"), *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
