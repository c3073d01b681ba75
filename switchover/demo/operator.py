"""The lab's operator: drives the real command line as a person with a scheduler would."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from switchover.demo.processes import LabFailed, Program
from switchover.plan.lock import is_held, read_holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchover.demo.lab import Lab

DONE, NOT_YET = 0, 3
ATTESTED = {
    "notice": "the lab's users are one program; it was told",
    "config": "both hosts run the same webapp.py",
}
PATIENCE_S = 300.0
RUNNER_PATIENCE_S = 5.0
_START = re.compile(r"^(start\s*=\s*).*$", re.MULTILINE)


@dataclass(slots=True)
class Operator:
    """One migration from readiness to finish."""

    lab: Lab
    say: Callable[[str], None]
    _began: float = field(default_factory=time.monotonic, init=False)

    def migrate(self) -> bool:
        """Sign the checklist, lower the TTL, set the window once it is known to be safe, run to the end."""
        for item, note in ATTESTED.items():
            self._command("attest", str(self.lab.plan), item, "--note", note)
        if not self._run("--through", "lower-ttl"):
            return False
        set_window(self.lab, self._earliest())
        return self._run()

    def show_report(self) -> None:
        """Print the report's headline and the outage it states."""
        lines: list[str] = []
        self._quietly(lines.append, "report", str(self.lab.plan), "--format", "md")
        for line in highlights(lines):
            self.say(line)

    def _run(self, *more: str) -> bool:
        """Call ``run`` again whenever what it waits for has come."""
        while (code := self._command("run", str(self.lab.plan), "--yes", *more)) == NOT_YET:
            hold = self._status()["hold"] or {}
            if hold.get("until") is None:
                self.say(f"waits for a person: {hold.get('reason', 'no reason given')}")
                return False
            if time.monotonic() - self._began > PATIENCE_S:
                self.say(f"not done after {PATIENCE_S:g} s: {hold['reason']}")
                return False
            until = datetime.fromisoformat(hold["until"])
            time.sleep(max(0.1, (until - datetime.now(UTC)).total_seconds()))
        return code == DONE

    def _earliest(self) -> datetime:
        """The next full second at which the plan's own facts allow the window to open."""
        facts = next(step["facts"] for step in self._status()["steps"] if step["name"] == "lower-ttl")
        ready = max(datetime.fromisoformat(facts[name]) for name in ("safe", "lead_ends"))
        return max(ready, datetime.now(UTC)).replace(microsecond=0) + timedelta(seconds=1)

    def _status(self) -> Any:
        lines: list[str] = []
        self._quietly(lines.append, "status", str(self.lab.plan), "--json")
        try:
            return json.loads("\n".join(lines))
        except ValueError:
            raise LabFailed(f"status gave no JSON: {' '.join(lines)[:300]}") from None

    def _command(self, *words: str) -> int:
        self.say(f"{self._clock()} $ switchover {' '.join(words).replace(str(self.lab.folder) + '/', '')}")
        code = self._quietly(lambda line: self.say(f"{self._clock()}   {line}"), *words)
        if code not in (DONE, NOT_YET):
            self.say(f"{self._clock()}   exit {code}")
        return code

    def _quietly(self, on_line: Callable[[str], None], *words: str) -> int:
        program = Program("switchover", (sys.executable, "-m", "switchover", *words), self.lab.env)
        return self.lab.processes.run(program, on_line)

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:5.1f} s"


def set_window(lab: Lab, opens: datetime) -> None:
    """Edit ``window.start`` as an operator would, in UTC like the plan; the file is replaced whole."""
    text = lab.plan.read_text()
    edited = _START.sub(rf"\g<1>{opens.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", text, count=1)
    half = lab.plan.with_suffix(".half")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(edited)
    half.replace(lab.plan)


def highlights(lines: list[str]) -> list[str]:
    """A report's first part and its outage, as it stands there."""
    shown = []
    section = ""
    for line in lines:
        if line.startswith("## "):
            section = line
        if section in ("", "## Outage"):
            shown.append(line)
    return shown


def end_runner(lab: Lab) -> None:
    """End a runner that the wizard has left working: it must not outlive its servers."""
    holder = read_holder(lab.plan) if is_held(lab.plan) else None
    if holder is not None:
        _end(holder.pid)


def _end(pid: int) -> None:
    """Ask it to stop, then make it; a descriptor is held, so that a reused number is never signalled."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        for sign in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(pidfd, sign)
            if poll.poll(RUNNER_PATIENCE_S * 1000):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
