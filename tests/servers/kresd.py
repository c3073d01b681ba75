"""A real knot-resolver on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.servers.dns import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Kresd(Server):
    """A resolver that knows only its stub zones, and keeps every answer at least five seconds, as it does by itself."""

    stubs: Mapping[str, Sequence[str]]
    """Zone -> addresses of its servers, on the same port."""

    rules: Sequence[str] = ()
    """Lines of its configuration that come before the stub zones."""

    program: ClassVar[str] = "kresd"
    package: ClassVar[str] = "knot-resolver"

    def configure(self) -> Sequence[str]:
        port = self.endpoint.port
        lines = [
            # What would ask the Internet by itself: root servers, trust anchors, the time.
            *(
                f"modules.unload('{each}')"
                for each in ("priming", "detect_time_skew", "ta_update", "ta_signal_query", "ta_sentinel")
            ),
            "trust_anchors.remove('.')",
            "cache.size = 4 * MB",
            f"net.listen('{self.endpoint.ip}', {port}, {{ kind = 'dns' }})",
            *self.rules,
            *(self._stub(zone, ips) for zone, ips in self.stubs.items()),
            "policy.add(policy.all(policy.REFUSE))",
        ]
        config = self.folder / "kresd.conf"
        config.write_text("\n".join(lines) + "\n")
        return ["--noninteractive", "-c", str(config), str(self.folder)]

    def _stub(self, zone: str, ips: Sequence[str]) -> str:
        servers = ", ".join(f"'{ip}@{self.endpoint.port}'" for ip in ips)
        return f"policy.add(policy.suffix(policy.STUB({{{servers}}}), {{todname('{zone}')}}))"

    def probe(self) -> tuple[str, bool]:
        return next(iter(self.stubs)), False
