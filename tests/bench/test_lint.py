"""How long a large Compose file takes, beside the bare scan of its YAML, in one run."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import yaml

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


def test_four_megabytes_take_a_few_times_as_long_as_their_scan(tmp_path: Path) -> None:
    text = "services:\n" + "".join(SERVICE.format(number=number) for number in range(8500))
    assert len(text) > 4_000_000
    (tmp_path / "big.yml").write_text(text)
    gc.disable()
    began = time.process_time()
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass
    scan = time.process_time() - began
    began = time.process_time()
    verdict = lint(Wanted([tmp_path / "big.yml"], env={}))
    took = time.process_time() - began
    gc.enable()
    print(f"scan {scan:.2f} s, lint {took:.2f} s, {verdict.services} services, {len(verdict.findings)} findings")
    assert took < 20 * scan
