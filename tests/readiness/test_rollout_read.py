"""The settings as a Compose file gives them: defaults, every problem at once, and files that mean harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchover.readiness.rollout.read import SettingsUnreadable, read_service, seconds_of
from switchover.readiness.rollout.settings import Balancer, BalancerCheck, HealthCheck, Rollout, Update


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def reading(text: str, service: str = "web") -> Rollout:
        path = tmp_path / "stack.yaml"
        path.write_text(text)
        return read_service(path, service)

    return reading


def test_a_bare_service_has_the_defaults_of_docker(read) -> None:  # type: ignore[no-untyped-def]
    assert read("services: {web: {image: x}}") == Rollout(1, 20, Update(), Update(), balancer=Balancer(by_vip=True))


def test_a_check_without_values_has_the_defaults_of_docker_and_traefik(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        """
services:
  web:
    healthcheck: {test: [CMD, "true"]}
    deploy:
      labels: [traefik.enable=true, traefik.http.services.web.loadbalancer.healthcheck.path=/up]
  traefik:
    command: [--providers.swarm.refreshSeconds=3]
"""
    )
    assert found.healthcheck == HealthCheck(30, 30, 3, 0, 5)
    assert found.balancer == Balancer(BalancerCheck("/up", 30, 5), poll_s=3)


def test_the_start_period_is_taken_for_the_start_up(read) -> None:  # type: ignore[no-untyped-def]
    assert read("services: {web: {healthcheck: {test: x, start_period: 1m30s}}}").startup_s == 90


@pytest.mark.parametrize("check", ["{disable: true, test: x}", "{test: [NONE]}", "{test: NONE}", "{}"])
def test_a_check_that_is_switched_off_is_none(read, check: str) -> None:  # type: ignore[no-untyped-def]
    assert read(f"services: {{web: {{healthcheck: {check}}}}}").healthcheck is None


def test_every_problem_is_told_at_once_with_its_place_and_the_way_out(read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsUnreadable) as raised:
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
    at = "stack.yaml: services.web."
    assert sorted(raised.value.problems) == [
        f"{at}deploy.replicas: '-3' is not a value; a whole number from 1 to 1000",
        f"{at}deploy.update_config.delay: '1ns' cannot be simulated; from 100ms to 24h",
        f"{at}deploy.update_config.failure_action: 'explode' is not a value; continue, pause or rollback",
        f"{at}deploy.update_config.max_failure_ratio: '2' is not a value; from 0 to 1",
        f"{at}deploy.update_config.parallelism: 'true' is not a value; a whole number from 0 on",
        f"{at}healthcheck.interval: 'ten' is no duration; as in 1m30s, 500ms",
        f"{at}healthcheck.timeout: '5' has no unit; write 5s",
    ]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("services: [", "no YAML"),
        ("services: {web: {}, web: {}}", "no YAML"),
        ("- a\n- b", "services: is missing"),
        ("", "services: is missing"),
        ("services: {api: {}}", "there is no 'web'; there is: api"),
        ("services: {web: {deploy: {mode: global}}}", "has no replicas to count"),
        ("services: {web: {deploy: [1]}}", "is no table"),
        ("[" * 5000, "nested too deeply"),
        (BOMB + "services: {web: {deploy: {replicas: *i, update_config: {order: *i}}}}", "is not a value"),
        (BOMB + "services: {web: {deploy: {labels: *i, mode: *i}}}", "has no replicas to count"),
        ("services: {web: {}}\n#" + "x" * (1 << 20), "at most 1 MiB"),
        ("services: {web: {deploy: {replicas: '\u202e9\\e[2J'}}}", "'9[2J' is not a value"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words(read, text: str, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsUnreadable) as raised:
        read(text.replace("'\u202e9\\e[2J'", '"\u202e9\\e[2J"'))
    assert says in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_durations_are_read_as_go_reads_them() -> None:
    assert [seconds_of(text) for text in ("1m30s", "500ms", "1.5h", "0", "2", "s", "1m 3s")] == [
        90,
        0.5,
        5400,
        0,
        None,
        None,
        None,
    ]
    assert seconds_of("10", bare=True) == 10
