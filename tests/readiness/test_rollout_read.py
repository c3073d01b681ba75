"""The settings as a Compose file gives them: defaults, every problem at once, and files that mean harm."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.rollout.read import read_service
from switchover.readiness.rollout.settings import Balancer, BalancerCheck, HealthCheck, Rollout, Update


class Reading(Protocol):
    def __call__(self, text: str, **env: str) -> Rollout: ...


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.chdir(tmp_path)

    def reading(text: str, **env: str) -> Rollout:
        path = Path("stack.yaml")
        path.write_text(text)
        return read_service(path, "web", env)

    return reading


def test_a_bare_service_has_the_defaults_of_docker(read: Reading) -> None:
    assert read("services: {web: {image: x}}") == Rollout(1, 20, Update(), Update(), balancer=Balancer(by_vip=True))


def test_a_check_without_values_has_the_defaults_of_docker_and_traefik(read: Reading) -> None:
    found = read(
        """
services:
  web:
    healthcheck: {test: [CMD, "true"]}
    deploy:
      labels:
        - traefik.enable=true
        - traefik.http.services.web.loadbalancer.healthcheck.path=/up
  traefik:
    command: [--providers.swarm.refreshSeconds=3]
"""
    )
    assert found.healthcheck == HealthCheck(30, 30, 3, 0, 5)
    assert found.balancer == Balancer(BalancerCheck("/up", 30, 5), poll_s=3)


def test_the_start_period_is_taken_for_the_start_up(read: Reading) -> None:
    assert read("services: {web: {healthcheck: {test: x, start_period: 1m30s}}}").startup_s == 90


@pytest.mark.parametrize("check", ["{disable: true, test: x}", "{test: [NONE]}", "{test: NONE}", "{}"])
def test_a_check_that_is_switched_off_is_none(read: Reading, check: str) -> None:
    assert read(f"services: {{web: {{healthcheck: {check}}}}}").healthcheck is None


def test_every_problem_is_told_at_once_with_its_place_and_the_way_out(read: Reading) -> None:
    with pytest.raises(ComposeUnreadable) as raised:
        read(
            """
services:
  web:
    healthcheck: {test: x, interval: ten, timeout: 5}
    deploy:
      replicas: -3
      update_config: {delay: 1ns, failure_action: explode, max_failure_ratio: 2, parallelism: true}
"""
        )
    assert sorted(raised.value.problems) == [
        "stack.yaml:4:38: services.web.healthcheck.interval: 'ten' is no duration; as in 1m30s, 500ms",
        "stack.yaml:4:52: services.web.healthcheck.timeout: '5' has no unit; write 5s",
        "stack.yaml:6:17: services.web.deploy.replicas: '-3' is not a value; a whole number from 1 to 1000",
        "stack.yaml:7:30: services.web.deploy.update_config.delay: '1ns' cannot be simulated; from 100ms to 24h",
        "stack.yaml:7:51: services.web.deploy.update_config.failure_action: 'explode' is not a value; "
        "continue, pause or rollback",
        "stack.yaml:7:79: services.web.deploy.update_config.max_failure_ratio: '2' is not a value; from 0 to 1",
        "stack.yaml:7:95: services.web.deploy.update_config.parallelism: 'true' is not a value; "
        "a whole number from 0 to 1000",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("services: [", "stack.yaml:2:1: not YAML"),
        ("services: {api: {}}", "there is no 'web'; there is: api"),
        ("services: {web: {deploy: {mode: global}}}", "has no replicas to count"),
        ("services: {web: {deploy: {replicas: [1]}}}", "stack.yaml:1:37: services.web.deploy.replicas: this is not"),
        ('services: {web: {deploy: {replicas: "\u202e9\\e[2J"}}}', "'9[2J' is not a value"),
        ("services: {web: {deploy: {rollback_config: {failure_action: rollback}}}}", "continue or pause"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words(read: Reading, text: str, says: str) -> None:
    with pytest.raises(ComposeUnreadable) as raised:
        read(text)
    assert says in str(raised.value)


def test_variables_are_those_of_the_environment_as_docker_stack_deploy_takes_them(
    read: Reading, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("COPIES=9")
    text = "services: {web: {deploy: {replicas: '${COPIES:-4}'}}}"
    assert (read(text).replicas, read(text, COPIES="7").replicas) == (4, 7)
