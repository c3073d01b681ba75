"""Every rule speaks where it should, and is silent where it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchover.readiness.compose.rules import RULES
from tests.readiness.compose.conftest import Judge
from tests.readiness.compose.examples import CHECKED, EXAMPLES, UPDATED, in_deploy, whole

BY_TEST_OF_ITS_OWN = {
    "secret-file-open",
    "secret-literal-env-file",
    "env-file-unread",
    "healthcheck-start-period",
    "update-monitor-short",
    "balancer-check-interval-long",
}


@pytest.mark.parametrize(("rule", "dialect", "bad", "line", "good"), EXAMPLES, ids=lambda part: str(part)[:40])
def test_the_rule_speaks_of_the_bad_one_at_its_line_and_not_of_the_good_one(
    judge: Judge, rule: str, dialect: str, bad: str, line: int, good: str
) -> None:
    found = judge(whole(bad), dialect=dialect)
    assert {finding.at.line for finding in found.findings if finding.rule.id == rule} == {line}
    assert rule not in {finding.rule.id for finding in judge(whole(good), dialect=dialect).findings}


def test_every_rule_has_its_examples() -> None:
    assert {rule.id for rule in RULES} - {example[0] for example in EXAMPLES} - BY_TEST_OF_ITS_OWN == set()
    assert {example[0] for example in EXAMPLES} - {rule.id for rule in RULES} == set()


def test_a_rules_name_is_its_own_and_it_says_why_and_how() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.stack or rule.compose
        assert rule.why.endswith(".")
        assert rule.mend


@pytest.mark.parametrize(
    ("check", "severity"),
    [
        ("start_period: 5s, interval: 5s, retries: 3", "error"),
        ("start_period: 10s, interval: 30s, retries: 3", "error"),
        ("start_period: 20s, interval: 30s, retries: 3", None),
    ],
)
def test_a_start_up_time_of_the_plan_has_to_fit(judge: Judge, check: str, severity: str | None) -> None:
    verdict = judge(whole(f"healthcheck: {{test: ask, {check}}}"), dialect="stack", startup={"web": 20.0})
    found = [finding.severity for finding in verdict.findings if finding.rule.id == "healthcheck-start-period"]
    assert found == ([severity] if severity else [])


def ids(judge: Judge, text: str, startup: dict[str, float]) -> set[str]:
    return {finding.rule.id for finding in judge(whole(text), dialect="stack", startup=startup).findings}


def test_the_delay_of_an_update_covers_start_and_check(judge: Judge) -> None:
    label = "  traefik.http.services.web.loadbalancer.healthcheck."
    checked = in_deploy(
        CHECKED + f"{label}interval: '10'\n{label}timeout: '5'\n" + "replicas: 4\nupdate_config: {delay: %s}"
    )
    assert "update-delay-short" not in ids(judge, checked % "40s", {"": 20.0})
    assert "update-delay-short" in ids(judge, checked % "34s", {"": 20.0})
    assert "update-delay-short" in ids(judge, UPDATED % "19s", {"": 20.0})
    assert "update-delay-short" not in ids(judge, UPDATED % "20s", {"": 20.0})


def test_a_failure_after_the_monitor_time_is_not_seen(judge: Judge) -> None:
    text = "deploy: {update_config: {monitor: %s}}"
    assert "update-monitor-short" in ids(judge, text % "10s", {"web": 20.0})
    assert "update-monitor-short" not in ids(judge, text % "30s", {"web": 20.0})


def test_a_check_far_rarer_than_the_start_takes_is_said(judge: Judge) -> None:
    text = in_deploy(CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.interval: %s\n")
    assert "balancer-check-interval-long" in ids(judge, text % "2m", {"web": 10.0})
    assert "balancer-check-interval-long" not in ids(judge, text % "20s", {"web": 10.0})


def test_a_secret_that_others_can_read_is_said(judge: Judge, tmp_path) -> None:
    text = "services: {web: {image: a:1}}\nsecrets: {s: {file: ./s.txt}}"
    (tmp_path / "s.txt").write_text("hunter2")
    (tmp_path / "s.txt").chmod(0o644)
    assert "secret-file-open" in ids(judge, text, {})
    (tmp_path / "s.txt").chmod(0o600)
    assert "secret-file-open" not in ids(judge, text, {})


ENV_FILES = {
    "config/": "Is a directory|not a plain file",
    "none.env": "No such file",
    "/etc/passwd": "lies outside",
    "big.env": "more than 8",
}


@pytest.mark.parametrize("name", ENV_FILES)
def test_an_env_file_that_cannot_be_read_is_said_and_refuses_nothing(judge: Judge, tmp_path: Path, name: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "big.env").write_bytes(b"A=1\n" * 2_500_000)
    verdict = judge(f"services: {{web: {{image: 'a:1', env_file: [{{path: {name}, required: false}}]}}}}")
    (found,) = [finding for finding in verdict.findings if finding.rule.id == "env-file-unread"]
    assert any(words in found.evidence for words in ENV_FILES[name].split("|")), found.evidence


def test_an_env_file_of_variables_and_paths_holds_no_secret(judge: Judge) -> None:
    also = {"prod.env": "DB_PASSWORD=${P}\nDB_PASSWORD_FILE=/run/secrets/db\nURL=postgres://app:${P}@db\n# TOKEN=x\n"}
    verdict = judge("services: {web: {image: 'a:1', env_file: prod.env}}", also=also)
    assert not {found.rule.id for found in verdict.findings} & {"secret-literal-env-file", "env-file-unread"}


def test_an_env_file_for_development_is_said_with_its_line(judge: Judge, tmp_path: Path) -> None:
    also = {"app.env": "PORT=80\nDEBUG=true\nAPP_DEBUG=false\n"}
    verdict = judge("services: {web: {image: 'a:1', env_file: app.env}}", also=also)
    (found,) = [finding for finding in verdict.findings if finding.rule.id == "environment-development"]
    assert (found.at.file, found.at.line, found.evidence) == (str(tmp_path / "app.env"), 2, "DEBUG is true")


def test_a_job_needs_no_health_check_and_no_second_replica(judge: Judge) -> None:
    text = """
services:
  web: {image: app:1.0.0, depends_on: {migrate: {condition: service_completed_successfully}}}
  migrate: {image: app:1.0.0}
"""
    verdict = judge(text, dialect="compose")
    assert [f.service for f in verdict.findings if f.rule.id in ("healthcheck-missing", "replicas-single")] == [
        "web",
        "web",
    ]
