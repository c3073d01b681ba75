"""How long a large Compose file takes, beside the bare scan of its YAML, in one run."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest
import yaml

from switchover.cli.lint_text import text as as_text
from switchover.readiness.compose.lint import Wanted, lint

SERVICE = """\
  app{number}:
    image: registry.example.com/app:1.{number}
    user: "1001:1001"
    healthcheck: {{test: [CMD, curl, -f, "http://localhost/health"], interval: 30s, timeout: 10s, retries: 3}}
    deploy:
      replicas: 3
      update_config: {{parallelism: 1, delay: 10s, failure_action: rollback}}
      resources: {{limits: {{cpus: '1.0', memory: 512M}}}}
    logging: {{driver: json-file, options: {{max-size: 10m, max-file: '3'}}}}
    environment: {{NODE_ENV: production, LOG_LEVEL: info}}
"""


ASKS_MUCH = """\
  app{number}:
    image: registry.example.com/app{number}
    privileged: true
    environment: {{DB_PASSWORD: hunter{number}, API_KEY: abc{number}}}
    volumes: ["./x{number}:/x", "/srv{number}:/y"]
    restart: sometimes{number}
    user: root
"""
MOST = {"few findings": (SERVICE, 8500, 13), "many findings": (ASKS_MUCH, 18500, 25)}
"""A service, how many of it, and how many times as long as the scan it may take: 7 to 9 and 17 to 19 were measured."""


@pytest.mark.parametrize("name", MOST)
def test_four_megabytes_take_so_many_times_as_long_as_their_scan(tmp_path: Path, name: str) -> None:
    service, many, most = MOST[name]
    text = "services:\n" + "".join(service.format(number=number) for number in range(many))
    assert len(text) > 4_000_000
    (tmp_path / "big.yml").write_text(text)
    gc.disable()
    began = time.process_time()
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass
    scan = time.process_time() - began
    gc.enable()
    began = time.process_time()
    verdict = lint(Wanted([tmp_path / "big.yml"], env={}))
    took = time.process_time() - began
    for line in as_text(verdict):
        assert line
    told = time.process_time() - began - took
    print(
        f"{name}: scan {scan:.2f} s, lint {took:.2f} s ({took / scan:.1f} times), text {told:.2f} s, "
        f"{verdict.services} services, {len(verdict.findings)} findings"
    )
    assert took < most * scan
