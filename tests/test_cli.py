"""What a command says and how it ends, for input that is right, wrong or hostile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from switchover.plan.file import append, load
from switchover.plan.journal import Draft, What
from tests.plan.conftest import PLAN


def switchover(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchover", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(PLAN + '\n[[checklist]]\nid = "notice"\ntitle = "Users were told"\n')
    return path


def test_every_mistake_is_one_line_and_the_exit_code_says_wrong_use(plan: Path) -> None:
    plan.write_text(plan.read_text().replace('"2h"', '"1h"').replace("from    =", "frm     ="))
    ended = switchover("status", str(plan))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 3
    assert all(line.startswith("shop.toml:") for line in ended.stderr.splitlines())


def test_a_plan_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    for words in (("status",), ("run",), ("report",), ("check",)):
        ended = switchover(*words, str(tmp_path / "none.toml"))
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr


def test_the_status_of_a_fresh_plan_names_what_is_next(plan: Path) -> None:
    assert "next: start readiness" in switchover("status", str(plan)).stdout
    answer = json.loads(switchover("status", str(plan), "--json").stdout)
    assert answer["next"] == "readiness"
    assert answer["point_of_no_return"] == "not passed"


def test_the_schema_and_the_report_are_what_they_say(plan: Path) -> None:
    assert json.loads(switchover("schema").stdout)["title"] == "Spec"
    assert json.loads(switchover("report", str(plan), "--format", "json").stdout)["name"] == "acme-shop"
    assert switchover("report", str(plan)).stdout.startswith("# acme-shop")


def test_an_attestation_is_recorded_with_its_signer(plan: Path) -> None:
    assert switchover("attest", str(plan), "notice", "--note", "mail sent").returncode == 0
    (entry,) = load(plan).entries
    assert entry.data == {"item": "notice", "note": "mail sent", "about": {"title": "Users were told"}}
    assert "@" in entry.who


@pytest.mark.parametrize(
    "words",
    [("attest", "nothing", "--note", "x"), ("attest", "notice", "--note", " "), ("decide", "go:cutover:1", "go")],
)
def test_a_statement_about_nothing_is_refused(plan: Path, words: tuple[str, ...]) -> None:
    ended = switchover(words[0], str(plan), *words[1:])
    assert ended.returncode == 2
    assert load(plan).entries == ()


def test_a_statement_carries_link_owner_and_last_day(plan: Path) -> None:
    more = ("--link", "https://wiki/7", "--owner", "sam", "--expires", "2999-01-31")
    assert switchover("attest", str(plan), "notice", "--note", "mail sent", *more).returncode == 0
    (entry,) = load(plan).entries
    assert {key: entry.data[key] for key in ("link", "owner", "expires")} == {
        "link": "https://wiki/7",
        "owner": "sam",
        "expires": "2999-01-31",
    }


@pytest.mark.parametrize("day", ["2020-01-01", "soon", "-1"])
def test_a_last_day_that_is_over_or_no_day_is_refused(plan: Path, day: str) -> None:
    ended = switchover("attest", str(plan), "notice", "--note", "x", f"--expires={day}")
    assert ended.returncode == 2
    assert load(plan).entries == ()


def test_the_checklist_says_what_is_missing_and_then_that_nothing_is(plan: Path) -> None:
    missing = switchover("checklist", str(plan), "--json")
    assert missing.returncode == 1
    assert json.loads(missing.stdout)["missing"] == ["notice"]
    switchover("attest", str(plan), "notice", "--note", "mail sent", "--expires", "90d")
    signed = switchover("checklist", str(plan))
    assert signed.returncode == 0
    assert "1 of 1 required" in signed.stdout


def test_what_a_step_shows_is_not_signed_and_a_bad_pack_is_told(plan: Path) -> None:
    text = plan.read_text()
    plan.write_text(text + "\n[readiness]\navailability = 99.9\n")
    refused = switchover("attest", str(plan), "rehearsed", "--note", "x")
    assert (refused.returncode, "the step rehearsal shows it" in refused.stderr) == (2, True)
    plan.write_text(text + '\n[readiness]\navailability = 99.9\npacks = ["gone.toml"]\n')
    refused = switchover("checklist", str(plan))
    assert (refused.returncode, refused.stderr) == (2, "gone.toml: there is no such file beside the plan\n")


def test_hostile_text_never_reaches_the_terminal_raw(plan: Path) -> None:
    hostile = "\x1b]0;x\x07[red]\u202e\x9b31m\x00"
    append(plan, Draft("readiness", "", What.BEGIN, {"attempt": 1, "actions": []}))
    append(plan, Draft("readiness", "", What.FAILED, {"reason": hostile}))
    for words in (("status", str(plan)), ("report", str(plan)), ("status", str(plan), "--json")):
        said = switchover(*words).stdout
        assert not set(said) & set("\x1b\x07\x9b\x00\u202e")


def test_no_traceback_is_shown_unless_it_is_asked_for(plan: Path) -> None:
    plan.write_text(plan.read_text().replace('"service=shop_old"', '"host=127.0.0.1 port=1 user=x dbname=y"'))
    quiet = switchover("compare", "host=127.0.0.1 port=1 user=x", "host=127.0.0.1 port=1 user=y")
    assert (quiet.returncode, quiet.stdout) == (4, "")
    assert quiet.stderr.startswith("whether they are the same is not known: 127.0.0.1:1: ")
    assert "Traceback" not in quiet.stderr
    assert (
        "Traceback" in switchover("compare", "host=127.0.0.1 port=1", "host=127.0.0.1 port=1 user=y", "--debug").stderr
    )


def test_a_new_plan_needs_a_terminal_to_ask_on() -> None:
    ended = switchover("new", "shop")
    assert ended.returncode == 2
    assert "terminal" in ended.stderr
