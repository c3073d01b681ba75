"""The recovery plan as text: every state, exact commands, nothing from outside that acts."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest
from markdown_it import MarkdownIt

from switchover.plan.journal import What
from switchover.plan.outline import StepName
from switchover.plan.progress import fold
from switchover.plan.spec import Spec
from switchover.report.runbook import runbook
from switchover.report.runbook.commands import psql, with_database
from tests.report.conftest import PLAN, Story

HOSTILE = "a`b``` |c|\n# d <script> $(touch /tmp/x) 'e' \x1b[31m"


def text(story: Story) -> str:
    return runbook(story.spec, fold(story.spec, story.entries), "shop.toml")


def with_keys(story: Story, **tables: object) -> None:
    story.spec = Spec.model_validate(tomllib.loads(PLAN) | tables)


def blocks(found: str) -> list[str]:
    return [body for _, body in re.findall(r"(`{3,})sh\n(.*?)\n\1", found, re.DOTALL)]


def test_every_state_has_its_section(story: Story) -> None:
    story.prepare()
    heads = re.findall(r"^## (.*)$", text(story), re.MULTILINE)
    assert heads == [
        "Who",
        "Where am I?",
        "A. Before the cutover",
        "B. During the cutover, before the target was opened",
        "C. After the target was opened",
        "Going forward without the program",
        "E. Later: the new host fails",
        "Names that belong to this switchover",
        "About the commands",
    ]


def with_live_copy(story: Story, **more: object) -> None:
    databases = {"source": "service=shop_old", "target": "service=shop_new", "method": "replicate"}
    with_keys(story, database=databases, **more)


def test_with_a_live_copy_every_state_has_its_section_and_every_link_its_name(story: Story) -> None:
    with_live_copy(story, replicate={"target": "host=${NEW} user=x"})
    story.prepare()
    found = text(story)
    assert re.findall(r"^## ([A-Z])\. (.*)$", found, re.MULTILINE) == [
        ("A", "Before the cutover, or after a rollback: the copy follows"),
        ("B", "During the cutover, before the target was opened"),
        ("C", "After the target was opened"),
        ("D", "The old host does not follow any more"),
        ("E", "Later: the new host fails"),
    ]
    assert "`switchover_0123456789ab_back`: publication and slot in the new database" in found
    assert "are not on the old one. That is the one thing" not in found
    assert "switchover_kept" not in found
    assert '-v through="host=${NEW} user=x"" dbname=$(psql service=shop_new -XAtc' in found
    for block in blocks(found):
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), block


def test_each_health_check_says_the_status_that_it_must_print(story: Story) -> None:
    with_keys(story, health=[{"name": "in", "url": "https://shop.example.com/in", "expect": {"status": 302}}])
    assert "https://shop.example.com/in   # 302" in text(story)


def test_several_names_have_their_database(story: Story) -> None:
    assert "shop.example.com and its PostgreSQL database" in text(story)
    names = ["shop.example.com", "www.shop.example.com"]
    with_keys(story, dns={"names": names, "from": "203.0.113.10", "to": "198.51.100.20"})
    assert "shop.example.com, www.shop.example.com and their PostgreSQL database" in text(story)


def test_it_depends_on_nothing_but_plan_and_journal(story: Story) -> None:
    story.prepare()
    assert text(story) == text(story)


def test_how_long_it_takes_is_the_rehearsals(story: Story) -> None:
    assert "nothing has been rehearsed" in text(story)
    story.prepare()
    assert "dump 10s, restore 20s, compare 10s" in text(story)


def test_who_is_called_is_what_was_signed(story: Story) -> None:
    assert "write the names and telephone numbers here by hand" in text(story)
    story.tell(StepName.READINESS, What.ATTESTED, item="on-call-window", note="Sam, +1 416 555 0100", owner="sam")
    assert "| on-call-window | sam | Sam, +1 416 555 0100 |" in text(story)


def test_the_settings_of_before_are_those_of_the_journal(story: Story) -> None:
    story.prepare()
    assert "RESET default_transaction_read_only" in text(story)
    story.begin(StepName.CUTOVER, "fence-source")
    before = {"fence": {"limit": 40, "settings": ["default_transaction_read_only=off", "app.key=#0123"]}}
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before=before)
    after = text(story)
    assert "SET default_transaction_read_only = 'off';" in after
    assert "CONNECTION LIMIT 40;" in after
    assert "CONNECTION LIMIT -1;" not in after
    assert "from the journal" in after


def test_the_authoritative_servers_are_those_that_were_seen(story: Story) -> None:
    story.prepare()
    story.cut_over()
    assert "dig +norecurse +short A shop.example.com @192.0.2.53" in text(story)


def test_a_signed_update_is_written_out_for_servers_that_take_one(story: Story) -> None:
    with_keys(
        story,
        dns={
            "names": ["shop.example.com"],
            "from": "203.0.113.10",
            "to": "198.51.100.20",
            "provider": {"kind": "rfc2136", "server": "192.0.2.1:5353", "key_file": "keys/a b.key"},
        },
    )
    assert (
        "nsupdate -k 'keys/a b.key' <<'END'\nserver 192.0.2.1 5353\nprereq yxrrset shop.example.com. A 198.51.100.20\n"
        "update delete shop.example.com. A\nupdate add shop.example.com. 60 A 203.0.113.10\nsend\nEND"
    ) in text(story)


def test_the_plans_own_commands_are_there(story: Story) -> None:
    with_keys(story, maintenance={"on": {"command": ["ssh", "old", "touch /srv/a b"]}})
    assert "ssh old 'touch /srv/a b'" in text(story)
    assert "The plan has no command for it; start by hand" in text(story)


def test_every_block_is_shell_that_can_be_read(story: Story) -> None:
    story.prepare()
    story.cut_over()
    for block in blocks(text(story)):
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), block


def test_what_comes_from_outside_can_neither_end_a_block_nor_be_markup(story: Story) -> None:
    with_keys(story, maintenance={"on": {"command": ["echo", HOSTILE]}, "off": {"command": ["true"]}})
    story.prepare()
    story.tell(StepName.READINESS, What.ATTESTED, item="contacts", note=HOSTILE)
    found = text(story)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(found)
    assert "<script>" not in html
    assert "<h1>d" not in html
    assert "\x1b" not in found
    for block in blocks(found):
        assert subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False).returncode == 0


def test_a_variable_of_the_plan_is_read_by_the_shell_and_nothing_else_is() -> None:
    line = psql("host=${HOST} options='$(x) `y`'", "SELECT 1;").splitlines()[0]
    said = subprocess.run(
        ["bash", "-c", line.replace("psql", "printf '%s|'").replace("<<'SQL'", "")],
        env={"HOST": "h1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("host=h1 options='$(x) `y`'|")


@pytest.mark.parametrize(
    ("conninfo", "named"),
    [
        ("service=shop_new", "service=shop_new dbname=x"),
        ("postgresql://app@db:5432/shop?sslmode=require", "postgresql://app@db:5432/x?sslmode=require"),
    ],
)
def test_another_database_of_the_same_server(conninfo: str, named: str) -> None:
    assert with_database(conninfo, "x") == named
