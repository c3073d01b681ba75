"""``switchover rollout``: what it says, how it ends, as text and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readiness.rollouts import EXAMPLE


def rollout(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-m", "switchover", "rollout", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env=kept | {"PYTHONIOENCODING": "utf-8"} | environment,
        check=False,
    )


@pytest.fixture
def mended(tmp_path: Path) -> str:
    path = tmp_path / "mended.yaml"
    path.write_text(EXAMPLE.read_text().replace("    # ", "    "))
    return str(path)


def test_the_worked_example_loses_capacity_and_is_told_what_it_lacks() -> None:
    ended = rollout(str(EXAMPLE), "service-a", "--startup", "20s")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "✗ capacity  down to 2 of 4, twice; 80 replica-seconds lost; all after 1m02s" in ended.stdout
    assert "docker says completed after 2m03s" in ended.stdout
    assert re.search(r"healthcheck\.start_period +not set → 40s", ended.stdout)
    assert re.search(r"deploy\.update_config\.delay +40s → 25s", ended.stdout)
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_with_a_health_check_the_answer_is_yes(mended: str) -> None:
    ended = rollout(mended, "service-a", "--startup", "20")
    assert ended.returncode == 0
    assert "✓ capacity  all 4 serve at every moment" in ended.stdout
    assert "To lose no capacity" not in ended.stdout


def test_the_document_has_every_number_and_the_events_in_order() -> None:
    ended = rollout(str(EXAMPLE), "service-a", "--startup", "20s", "--json")
    found = json.loads(ended.stdout)
    assert (
        ended.returncode,
        found["lossless"],
        found["fewest_serving"],
        found["lost_replica_s"],
        found["dips"],
    ) == (1, False, 2, 80.0, 2)
    assert found["capacity"] == [[0, 4], [1, 2], [21, 4], [42, 2], [62, 4]]
    assert [event["at_s"] for event in found["events"]] == sorted(event["at_s"] for event in found["events"])
    assert found["failing_image"]["exits"]["stopped_s"] == 21
    assert found["failing_image"]["hangs"]["stopped_s"] is None
    assert found["shortest"]["lossless"] is True
    assert found["shortest"]["changes"][-1] == {"key": "deploy.update_config.delay", "now": "40s", "to": "25s"}
    assert found["balancer_learns_sooner"]["the label traefik.swarm.lbswarm=true"]["requests_failing_s"]["worst"] == 0


def test_both_ways_in_which_traefik_checks_first_can_be_chosen() -> None:
    failing = [
        json.loads(rollout(str(EXAMPLE), "service-a", "--first-check", which, "--json").stdout)["requests_failing_s"]
        for which in ("at-once", "after-interval")
    ]
    assert 2 * failing[0]["mean"] < failing[1]["mean"]


def test_the_chart_can_show_an_image_that_fails() -> None:
    said = rollout(str(EXAMPLE), "service-a", "--image", "exits").stdout
    assert "a new image that ends before it is ready:" in said
    assert "✗ none serves" in said


def test_colours_are_sixteen_or_none() -> None:
    words = (str(EXAMPLE), "service-a")
    assert "\x1b" not in rollout(*words).stdout
    colourful = rollout(*words, FORCE_COLOR="1", TERM="xterm-256color", COLORTERM="truecolor").stdout
    assert set(re.findall(r"\x1b\[([\d;]*)m", colourful)) <= {"0", "1", "2", "31", "32", "33", "36", "1;31"}
    weights = rollout(*words, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout
    assert set(re.findall(r"\x1b\[([\d;]*)m", weights)) <= {"0", "1", "2"}


@pytest.mark.parametrize("environment", [{"TERM": "linux"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_without_the_marks_gets_ascii(environment: dict[str, str]) -> None:
    ended = rollout(str(EXAMPLE), "service-a", **environment)
    assert ended.returncode == 1
    assert ended.stdout.isascii()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_fits_the_terminal(columns: int) -> None:
    said = rollout(str(EXAMPLE), "service-a", COLUMNS=str(columns)).stdout
    assert max(map(len, said.splitlines())) <= columns


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((str(EXAMPLE), "web"), "there is no 'web'; there is: service-a"),
        (("none.yaml", "web"), "none.yaml"),
        ((str(EXAMPLE), "service-a", "--startup", "soon"), "--startup soon: no duration"),
        ((str(EXAMPLE), "service-a", "--poll", "0"), "--poll 0: no duration"),
    ],
)
def test_wrong_use_is_told_in_words(words: tuple[str, ...], says: str) -> None:
    ended = rollout(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
