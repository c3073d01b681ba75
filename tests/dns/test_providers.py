"""From the plan's provider table to a provider; and the servers the tests stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from switchover.dns.message import Endpoint
from switchover.dns.providers import ChangeRefused, make_provider
from switchover.dns.providers.manual import Manual
from switchover.dns.providers.rfc2136 import Rfc2136
from switchover.plan.spec import ProviderSpec
from tests.servers.dns import Key, KnotPrimary

if TYPE_CHECKING:
    from pathlib import Path

SPEC = ProviderSpec(kind="rfc2136", server="192.0.2.1:5301", key_file="shop.key")


def test_the_plans_provider_is_made_with_its_key(tmp_path: Path) -> None:
    Key().write(tmp_path / "shop.key")
    provider = make_provider(SPEC, tmp_path, "example.test", 53)
    assert isinstance(provider, Rfc2136)
    assert (provider.server, provider.zone, provider.key.name) == (
        "192.0.2.1:5301",
        "example.test",
        "switchover",
    )
    assert provider.capabilities.cas
    assert isinstance(make_provider(ProviderSpec(), tmp_path, "example.test", 53), Manual)


def test_the_plans_zone_wins_over_the_one_discovered(tmp_path: Path) -> None:
    Key().write(tmp_path / "shop.key")
    spec = SPEC.model_copy(update={"zone": "test"})
    provider = make_provider(spec, tmp_path, "example.test", 53)
    assert isinstance(provider, Rfc2136)
    assert provider.zone == "test"


def test_an_unusable_key_file_is_a_refusal_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(ChangeRefused, match=r"shop\.key cannot be read: No such file"):
        make_provider(SPEC, tmp_path, "example.test", 53)


def test_a_missing_name_server_fails_the_test_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KnotPrimary, "program", "knotd-that-is-not-there")
    with pytest.raises(pytest.fail.Exception, match="is not installed: apt-get install knot"):
        KnotPrimary(tmp_path, Endpoint("127.0.0.11", 5301), "example.test.", "").start()
