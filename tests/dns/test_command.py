"""The operator's program, as real programs that do right, wrong, nothing and rubbish."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, Unreachable
from switchover.dns.providers.command import Command

OLD, NEW, OTHER = "192.0.2.10", "198.51.100.20", "203.0.113.9"
SWITCH = Change("example.test", "www.example.test", "A", (OLD,), 300, (NEW,), 60)


@dataclass(frozen=True, slots=True)
class Program:
    """A program in a folder of its own, with the record it keeps."""

    folder: Path
    provider: Command

    def is_(self, text: str) -> None:
        (self.folder / "program.py").write_text(text)

    def also(self, op: str, text: str) -> None:
        """Do this first for one operation."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        self.is_(PROGRAM.replace("# HERE", f'if op == "{op}":\n{indented}'))

    @property
    def record(self) -> Any:
        return json.loads((self.folder / "record").read_text())

    def set(self, *values: str, ttl: int) -> None:
        (self.folder / "record").write_text(json.dumps({"values": values, "ttl": ttl}))

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]

    @property
    def ops(self) -> list[str]:
        return [each["op"] for each in self.asked]


PROGRAM = """\
import json, os, pathlib, signal, subprocess, sys, time
here = pathlib.Path.cwd()
asked = json.load(sys.stdin)
op = asked["op"]
with (here / "asked").open("a") as log:
    log.write(json.dumps(asked) + "\\n")
record = here / "record"
now = json.loads(record.read_text())
def write(what):
    record.write_text(json.dumps(what))
# HERE
if op == "read":
    print(json.dumps(now))
elif now != asked["old"]:
    sys.exit(3)
elif op == "apply":
    write(asked["new"])
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    command = (sys.executable, "-S", "program.py")
    made = Program(tmp_path, Command(command, "example.test", tmp_path, timeout_s=20))
    made.is_(PROGRAM)
    made.set(OLD, ttl=300)
    return made


async def test_the_program_swaps_the_record(program: Program) -> None:
    await program.provider.apply(SWITCH)
    assert program.record == {"values": [NEW], "ttl": 60}
    assert program.ops == ["read", "apply", "read"]


async def test_a_change_of_the_ttl_alone_is_made(program: Program) -> None:
    await program.provider.apply(replace(SWITCH, new_values=(OLD,)))
    assert program.record == {"values": [OLD], "ttl": 60}


async def test_applying_twice_writes_once(program: Program) -> None:
    await program.provider.apply(SWITCH)
    await program.provider.apply(SWITCH)
    assert program.ops.count("apply") == 1


async def test_a_record_can_be_added_and_taken_away(program: Program) -> None:
    (program.folder / "record").write_text("null")
    added = replace(SWITCH, old_values=())
    await program.provider.apply(added)
    assert program.asked[1]["old"] is None
    await program.provider.apply(replace(SWITCH, old_values=(NEW,), old_ttl=60, new_values=()))
    assert await program.provider.read("www.example.test") is None


async def test_the_document_is_what_the_module_says(program: Program) -> None:
    await program.provider.check(SWITCH)
    read, check = program.asked
    plan_id = check.pop("plan_id")
    assert check == {
        "op": "check",
        "zone": "example.test",
        "owner": "www.example.test",
        "type": "A",
        "old": {"values": [OLD], "ttl": 300},
        "new": {"values": [NEW], "ttl": 60},
    }
    assert plan_id == hashlib.sha256(json.dumps(check, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert (read["old"], read["new"], read["op"]) == (None, None, "read")


async def test_the_check_changes_nothing_and_needs_code_0(program: Program) -> None:
    assert "says that it can change www.example.test" in await program.provider.check(SWITCH)
    assert program.record == {"values": [OLD], "ttl": 300}
    program.also("check", "sys.exit('no key for this zone')")
    with pytest.raises(ChangeRefused, match=r"code 1: no key for this zone"):
        await program.provider.check(SWITCH)
    program.also("check", "sys.exit(3)")
    with pytest.raises(ChangeConflict):
        await program.provider.check(SWITCH)


@pytest.mark.parametrize(("value", "ttl"), [(OTHER, 300), (OLD, 299)], ids=["value", "ttl"])
async def test_what_somebody_else_changed_is_left_alone(program: Program, value: str, ttl: int) -> None:
    program.set(value, ttl=ttl)
    for call in (program.provider.check, program.provider.apply):
        with pytest.raises(ChangeConflict) as conflict:
            await call(SWITCH)
        assert conflict.value.seen == Rrset((value,), ttl)
    assert set(program.ops) == {"read"}


async def test_a_conflict_that_the_program_finds_is_one(program: Program) -> None:
    program.also("apply", f"write({{'values': ['{OTHER}'], 'ttl': 5}})\nsys.exit(3)")
    with pytest.raises(ChangeConflict, match="code 3") as conflict:
        await program.provider.apply(SWITCH)
    assert conflict.value.seen == Rrset((OTHER,), 5)


async def test_a_refusal_shows_the_first_lines_cleaned(program: Program) -> None:
    program.also("apply", "sys.exit('\\x1b[31mthe API said no\\n\\nand why\\nthird\\nfourth')")
    with pytest.raises(ChangeRefused, match=r"the API said no / and why / third") as refused:
        await program.provider.apply(SWITCH)
    assert "\x1b" not in str(refused.value)
    assert "fourth" not in str(refused.value)


async def test_a_program_that_says_done_and_did_nothing_is_not_believed(program: Program) -> None:
    program.also("apply", "sys.exit(0)")
    with pytest.raises(ChangeRefused, match=rf"{OLD} \(TTL 300\)") as refused:
        await program.provider.apply(SWITCH)
    assert not isinstance(refused.value, ChangeConflict)


async def test_a_program_that_says_refused_and_did_it_is_not_believed(program: Program) -> None:
    program.also("apply", "write(asked['new'])\nsys.exit(1)")
    await program.provider.apply(SWITCH)


async def test_a_program_that_leaves_it_unknown_is_asked_again(program: Program) -> None:
    program.also("apply", "write(asked['new'])\nsys.exit(4)")
    await program.provider.apply(SWITCH)
    assert program.ops == ["read", "apply", "read"]


async def test_what_cannot_be_read_back_is_unknown_and_a_second_run_settles_it(program: Program) -> None:
    program.also("read", "if now == {'values': ['198.51.100.20'], 'ttl': 60}:\n    sys.exit(4)")
    with pytest.raises(ChangeUnknown, match=rf"{OLD}.*{NEW}"):
        await program.provider.apply(SWITCH)
    program.is_(PROGRAM)
    await program.provider.apply(SWITCH)
    assert program.ops.count("apply") == 1


HANG = """\
child = subprocess.Popen([sys.executable, "-S", "-c", "import signal,time;signal.signal(15, 1);time.sleep(60)"])
(here / "child").write_text(str(child.pid))
time.sleep(60)
"""


async def test_a_program_that_hangs_is_ended_with_its_children_and_read_back(program: Program) -> None:
    program.also("apply", f"write(asked['new'])\n{HANG}")
    started = time.monotonic()
    await replace(program.provider, timeout_s=1).apply(SWITCH)
    assert time.monotonic() - started < 10
    assert_gone(int((program.folder / "child").read_text()))


async def test_a_program_that_hangs_without_effect_leaves_it_unknown(program: Program) -> None:
    program.also("apply", "time.sleep(60)")
    with pytest.raises(ChangeUnknown, match="ran past its deadline of 1 s and was ended"):
        await replace(program.provider, timeout_s=1).apply(SWITCH)


async def test_a_program_that_hangs_while_reading_is_unreachable(program: Program) -> None:
    program.also("read", "time.sleep(60)")
    with pytest.raises(Unreachable, match="deadline"):
        await replace(program.provider, timeout_s=0.5).read("www.example.test")


async def test_a_program_that_is_killed_is_read_back(program: Program) -> None:
    program.also("apply", "write(asked['new'])\nos.kill(os.getpid(), signal.SIGKILL)")
    await program.provider.apply(SWITCH)
    program.set(OLD, ttl=300)
    program.also("apply", "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ChangeRefused, match="was killed by SIGKILL"):
        await program.provider.apply(SWITCH)


async def test_what_a_program_leaves_running_is_ended_and_not_waited_for(program: Program) -> None:
    program.also("read", HANG.replace("time.sleep(60)\n", ""))
    started = time.monotonic()
    assert Rrset((OLD,), 300) == await program.provider.read("www.example.test")
    assert time.monotonic() - started < 10
    assert_gone(int((program.folder / "child").read_text()))


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "hello",
        "[]",
        '{"values": [], "ttl": 60}',
        '{"values": "192.0.2.10", "ttl": 60}',
        '{"values": {"192.0.2.10": 1}, "ttl": 60}',
        '{"values": ["192.0.2.10"]}',
        '{"values": ["192.0.2.10"], "ttl": "60"}',
        '{"values": ["192.0.2.10"], "ttl": true}',
        '{"values": ["192.0.2.10"], "ttl": -1}',
        '{"values": ["www.example.test"], "ttl": 60}',
        '{"values": ["192.0.2.10"], "ttl": 60} and more',
        "\\xff\\xfe",
        "[" * 100000,
    ],
)
async def test_rubbish_is_never_taken_for_a_record(program: Program, printed: str) -> None:
    (program.folder / "rubbish").write_bytes(printed.encode("latin-1"))
    program.also("read", "sys.stdout.write((here / 'rubbish').read_text())\nsys.exit(0)")
    with pytest.raises(Unreachable, match="output is not") as unreachable:
        await program.provider.apply(SWITCH)
    assert len(str(unreachable.value)) < 1000
    assert program.ops == ["read"]


async def test_what_has_left_the_group_is_not_waited_for(program: Program) -> None:
    program.also("read", HANG.replace("time.sleep(60)\n", "").replace('60)"]', '60)"], start_new_session=True'))
    try:
        started = time.monotonic()
        assert Rrset((OLD,), 300) == await program.provider.read("www.example.test")
        assert time.monotonic() - started < 10
    finally:
        os.kill(int((program.folder / "child").read_text()), 9)


async def test_an_endless_output_ends_with_the_deadline(program: Program) -> None:
    program.also("read", "while True: sys.stdout.write('x' * 65536)")
    with pytest.raises(Unreachable, match="deadline"):
        await replace(program.provider, timeout_s=0.5).read("www.example.test")


async def test_a_program_need_not_read_its_input(program: Program) -> None:
    program.is_("import os; os.close(0); print('null')")
    assert await program.provider.read("www.example.test") is None


async def test_a_program_that_cannot_be_started_is_unreachable(program: Program) -> None:
    for command in (("./no-such-program",), (str(program.folder),), ("bad\0name",)):
        with pytest.raises(Unreachable, match="could not be started"):
            await replace(program.provider, command=command).apply(SWITCH)


async def test_arguments_reach_the_program_without_a_shell(program: Program) -> None:
    program.is_("import sys; open('arguments', 'w').write(repr(sys.argv[1:])); print('null')")
    command = (*program.provider.command, "$(touch x)", "a b;c")
    await replace(program.provider, command=command).read("www.example.test")
    assert (program.folder / "arguments").read_text() == repr(["$(touch x)", "a b;c"])


def test_it_says_honestly_what_it_cannot_promise(program: Program) -> None:
    assert not program.provider.capabilities.cas
    assert "as the program does it" in program.provider.capabilities.says
    assert '"op": "apply"' in "\n".join(program.provider.describe(SWITCH))


def assert_gone(pid: int) -> None:
    """Ended, even if nobody has taken its exit code yet."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.02)
    os.kill(pid, 9)
    raise AssertionError("it still runs")
