"""Servers on loopback: one plain, one with a certificate of the test's own roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from tests.servers.http import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "shop.example.com"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Roots of the test's own, given as an operator gives them."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    return made


@pytest.fixture
def plain_server() -> Iterator[HttpServer]:
    with HttpServer({"/": Answer(body=b"all ok")}) as server:
        yield server


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[HttpServer]:
    with HttpServer({"/": Answer()}, authority=authority, names=(NAME,)) as server:
        yield server
