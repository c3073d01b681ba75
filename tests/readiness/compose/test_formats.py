"""The verdict as text, JSON, SARIF and JUnit; and what is accepted, and what is never shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from switchover.cli.lint_text import table, text
from switchover.readiness.compose.formats import as_json, as_junit, as_sarif
from switchover.readiness.compose.lint import Verdict
from switchover.readiness.compose.rule import Suppression
from switchover.readiness.compose.rules import RULES
from tests.plan.conftest import PLAN
from tests.readiness.compose.conftest import Judge

FILE = """\
services:
  web:
    image: nginx
    environment:
      DB_PASSWORD: hunter2
"""
EXAMPLE = Path(__file__).parents[3] / "plans" / "rfc2136-dump.toml"
CANARY = "c4n4ry-S3cr@t"


def switchover(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchover", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def sarif(verdict: Verdict) -> dict[str, Any]:
    return json.loads("\n".join(as_sarif(verdict, "1.2.3")))


def test_the_text_shows_the_line_the_reason_and_the_mend(judge: Judge, tmp_path: Path) -> None:
    said = "\n".join(text(judge(FILE, dialect="compose")))
    place = tmp_path / "0.yml"
    assert (
        f"""\
     3 |     image: nginx
       |            ^^^^^
{place}:3:12: error image-floating web: no tag, and so latest
    why: Two nodes"""
        in said
    )
    assert f"{place}:5:20: error secret-literal web: the value of DB_PASSWORD stands in the file" in said
    assert "     5 |       DB_PASSWORD: •••••••\n" in said
    assert said.splitlines()[-2] == "1 service, read as compose (as asked)"


@pytest.mark.parametrize(
    "line",
    [
        "environment: {DB_PASSWORD: '%s'}",
        "environment: ['DB_PASSWORD=%s']",
        "environment: 'DB_PASSWORD=%s'",
        "environment: {DB_PASSWORD: ['%s']}",
        "environment: {URL: 'postgres://app:%s@db/app'}",
        "environment: {DB_PASSWORD: 'a$5%s'}",
        "environment: {DB_PASSWORD: 'pa$$%s'}",
        "environment: {PGPASSWORD: '$$%s'}",
        "environment: {PGPASSWORD: a$%s}",
        "environment: {MYSQLPASSWORD: '%s'}",
        "environment: {dbPassword: '%s'}",
        "environment: {URL: 'postgres://app:a/%s@db/app'}",
        "environment: {DSN: 'Server=db;Password=%s'}",
        'command: [serve, "--password", "%s"]',
        "environment: {DB_PASSWORD: '${A:-%s}'}",
        "command: serve --password %s",
        "command: [serve, --password=%s]",
        "labels: {x: 'http://a:%s@b'}",
        "healthcheck: {test: [CMD, 'curl http://a:%s@b']}",
        "build: {context: ., args: {API_TOKEN: '%s'}}",
        "labels: ['traefik.http.middlewares.a.basicauth.users=admin:$apr1$r$S3cr%s']",
        "labels: ['traefik.http.middlewares.a.basicauth.users=admin:$$2y$$05$$S3cr%s']",
    ],
)
def test_a_secret_is_never_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.yml").write_text(f"services:\n  web:\n    {line % CANARY.replace('@', '%40')}\n")
    for words in ((), ("--format", "json"), ("--format", "sarif"), ("--format", "junit")):
        ended = switchover("lint", str(tmp_path / "a.yml"), *words)
        assert ended.returncode == 1
        assert "S3cr" not in ended.stdout + ended.stderr


def test_a_secret_of_an_env_file_is_named_with_its_line_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "prod.env").write_text(f"# of the shop\nPORT=80\nDB_PASSWORD='{CANARY}$x'\nURL=x://a:{CANARY}@db\n")
    (tmp_path / "a.yml").write_text("services: {web: {image: 'a:1', env_file: [prod.env]}}")
    for words in ((), ("--format", "json"), ("--format", "sarif"), ("--format", "junit")):
        said = switchover("lint", str(tmp_path / "a.yml"), *words).stdout
        assert "secret-literal-env-file" in said
        assert "S3cr" not in said
    said = switchover("lint", str(tmp_path / "a.yml")).stdout
    for line, name in ((3, "DB_PASSWORD"), (4, "URL")):
        assert f"{tmp_path}/prod.env:{line}:1: warn secret-literal-env-file web: the value of {name} stands in" in said


def test_what_is_accepted_is_shown_and_does_not_count(judge: Judge) -> None:
    every = [rule.id for rule in RULES]
    accepted = [Suppression(rule, service, "a laboratory") for rule in every for service in ("web", "")]
    verdict = judge(FILE, dialect="compose", suppressions=accepted)
    assert verdict.is_clean
    assert not verdict.standing
    assert "accepted: a laboratory" in "\n".join(text(verdict))
    assert sarif(verdict)["runs"][0]["results"][0]["suppressions"] == [
        {"kind": "external", "justification": "a laboratory"}
    ]
    assert not judge(FILE, dialect="compose", suppressions=[Suppression(rule, "db", "no") for rule in every]).is_clean


def test_the_json_says_what_the_text_says(judge: Judge) -> None:
    verdict = judge(FILE, dialect="compose")
    document = json.loads("\n".join(as_json(verdict)))
    assert document["clean"] is False
    assert {
        "id": "image-floating",
        "severity": "error",
        "service": "web",
        "path": "services.web.image",
        "line": 3,
    }.items() <= (next(found for found in document["findings"] if found["id"] == "image-floating").items())


def test_the_sarif_has_what_code_scanning_asks_for(judge: Judge, tmp_path: Path) -> None:
    (run,) = sarif(judge(FILE, dialect="compose"))["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        region = result["locations"][0]["physicalLocation"]["region"]
        assert 0 < region["startColumn"] < region["endColumn"]
        assert region["startLine"] > 0
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == (tmp_path / "0.yml").as_uri()
        assert result["message"]["text"]
    assert ["000-18", "002-X4"] in [rule["properties"]["tags"] for rule in rules]
    moved = sarif(judge("# a line more\n" + FILE, dialect="compose"))["runs"][0]
    prints = [[result["partialFingerprints"] for result in each["results"]] for each in (run, moved)]
    assert prints[0] == prints[1]


def test_the_junit_fails_on_errors_alone(judge: Judge) -> None:
    suite = ElementTree.fromstring(as_junit(judge(FILE, dialect="compose")).encode())
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert "image-floating" in failed
    assert "log-unbounded" not in failed
    assert suite.get("failures") == str(len(failed))
    assert suite.get("tests") == str(len(suite))


def test_the_table_of_rules_names_them_all() -> None:
    said = table()
    assert all(f"\n{rule.id}\n" in f"\n{said}" for rule in RULES)
    assert said.endswith(f"{len(RULES)} rules")


def test_the_command_ends_as_a_scheduler_expects(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(FILE)
    (tmp_path / "b.yml").write_text("services: [")
    (tmp_path / "c.yml").write_text("services: {}")
    assert switchover("lint", str(tmp_path / "a.yml")).returncode == 1
    broken = switchover("lint", str(tmp_path / "b.yml"))
    assert (broken.returncode, broken.stdout) == (2, "")
    assert len(broken.stderr.splitlines()) == 1
    assert switchover("lint", str(tmp_path / "none.yml")).returncode == 2
    assert switchover("lint").returncode == 2
    assert switchover("lint", str(tmp_path / "c.yml"), "--startup", "soon").returncode == 2
    assert switchover("lint", "--explain").returncode == 0
    explained = json.loads(switchover("lint", "--explain", "--json").stdout)
    assert all(seed["rules"] or seed["checks"] or seed["items"] for seed in explained["seeds"])
    assert json.loads(switchover("lint", str(tmp_path / "c.yml"), "--json").stdout)["services"] == 0


def test_a_start_up_time_of_no_service_is_wrong_use_that_says_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("services: {web: {image: nginx}, db: {image: postgres, profiles: [data]}}")
    ended = switchover("lint", str(tmp_path / "a.yml"), "--startup", "wbe=20s", "--startup", "db=5s", "--startup", "9s")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "--startup: there is no service wbe; there is: web, db\n"


def test_the_plan_says_which_files_and_what_is_accepted_in_them(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(FILE)
    plan = tmp_path / "shop.toml"
    plan.write_text(PLAN)
    none = switchover("lint", "--plan", str(plan))
    assert none.returncode == 2
    assert "the plan has no [compose]" in none.stderr
    table = '[compose]\nfiles = ["a.yml"]\ndialect = "stack"\nservices = { web = { startup = "20s" } }\n'
    plan.write_text(PLAN + table + '[[compose.suppress]]\nrule = "image-floating"\nreason = "a laboratory"\n')
    found = json.loads(switchover("lint", "--plan", str(plan), "--json").stdout)
    assert (found["dialect"], found["clean"]) == ("stack", False)
    accepted = {each["id"]: each["accepted"] for each in found["findings"] if each["accepted"]}
    assert accepted == {"image-floating": "a laboratory"}
    both = switchover("lint", str(tmp_path / "a.yml"), "--plan", str(plan))
    assert both.returncode == 2
    assert "name them there" in both.stderr


def test_the_example_plan_keeps_every_rule_but_the_one_it_accepts() -> None:
    ended = switchover("lint", "--plan", str(EXAMPLE))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "accepted: two would send every letter twice" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "0 errors, 0 warnings, 0 hints, 1 accepted"


def test_a_file_that_keeps_every_rule_is_clean(judge: Judge) -> None:
    clean = """
services:
  web:
    image: registry.example.com/shop/web:1.4.2
    user: "1001:1001"
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    stop_grace_period: 30s
    networks: [front, back]
    secrets: [db_password]
    environment: {DB_PASSWORD_FILE: /run/secrets/db_password}
    healthcheck:
      test: [CMD, wget, -qO-, "http://localhost:8080/health"]
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 40s
    logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}
    deploy:
      replicas: 4
      update_config: {order: start-first, parallelism: 2, delay: 40s, failure_action: rollback, monitor: 60s}
      rollback_config: {order: start-first, parallelism: 2}
      restart_policy: {condition: any, delay: 5s}
      placement: {constraints: [node.role != manager]}
      resources: {limits: {cpus: "1.0", memory: 512M}, reservations: {cpus: "0.25", memory: 256M}}
      labels:
        monitoring.enabled: "true"
        monitoring.port: "9090"
        traefik.http.routers.web.rule: Host(`shop.example.com`)
        traefik.http.services.web.loadbalancer.server.port: "8080"
        traefik.http.services.web.loadbalancer.healthcheck.path: /health
        traefik.http.services.web.loadbalancer.healthcheck.interval: 10s
        traefik.http.services.web.loadbalancer.healthcheck.timeout: 5s
networks:
  front: {external: true}
  back: {internal: true, driver: overlay}
secrets:
  db_password: {external: true}
"""
    assert [(found.rule.id, found.evidence) for found in judge(clean, startup={"": 20.0}).findings] == []
