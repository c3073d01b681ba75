"""A writer killed at any moment of its talk with the zone's keeper: run again, there is one correct record."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from switchover.dns.ask import ask
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.providers import Change, make_provider
from switchover.plan.spec import ProviderSpec
from tests.dns.conftest import NEW, OLD, ZONE
from tests.servers.dns import Key, KnotPrimary, free_port
from tests.servers.powerdns import PowerDnsPrimary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from switchover.dns.providers import Provider

SWITCH = Change("example.test", "www.example.test", "A", (OLD,), 20, (NEW,), 2)
BACK = Change("example.test", "www.example.test", "A", (NEW,), 2, (OLD,), 20)

WRITER = """
import asyncio, sys
from pathlib import Path
from switchover.dns.providers import Change, make_provider
from switchover.plan.spec import ProviderSpec
spec = ProviderSpec(kind=sys.argv[1], server=sys.argv[2], key_file="keeper.key")
provider = make_provider(spec, Path(sys.argv[3]), "example.test", 53)
asyncio.run(provider.apply(Change("example.test", "www.example.test", "A", (sys.argv[4],), 20, (sys.argv[5],), 2)))
"""


@dataclass(slots=True)
class Blade:
    """Carries bytes between writer and keeper, and kills the writer at the ``at``-th moment; 0 never."""

    keeper: tuple[str, int]
    at: int
    moments: int = 0
    fell: bool = False
    child: asyncio.subprocess.Process | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(*self.keeper)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Before and after each piece there is a moment; a killed side is told to the other by the stream's end."""
        try:
            while piece := await reader.read(65536):
                self._moment()
                writer.write(piece)
                await writer.drain()
                self._moment()
        except OSError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.at and self.child is not None and self.child.returncode is None:
            os.kill(self.child.pid, signal.SIGKILL)
            self.fell = True


@contextlib.asynccontextmanager
async def blade(keeper: tuple[str, int], at: int) -> AsyncIterator[tuple[Blade, int]]:
    made = Blade(keeper, at)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    try:
        yield made, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*made.tasks), 10)
        await server.wait_closed()


@dataclass(frozen=True, slots=True)
class Keeper:
    """A real keeper of the zone, how it is named in a plan, and where its records are seen."""

    kind: str
    server: str
    """With ``{port}`` for the port it is reached at."""
    talks_at: tuple[str, int]
    shows_at: Endpoint
    folder: Path

    def provider(self, port: int) -> Provider:
        spec = ProviderSpec.model_validate(
            {"kind": self.kind, "server": self.server.format(port=port), "key_file": "keeper.key"}
        )
        return make_provider(spec, self.folder, "example.test", 53)


@pytest.fixture(params=["rfc2136", "powerdns"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    port = free_port(("127.0.0.1",))
    there, key = Endpoint("127.0.0.1", port), Key()
    if request.param == "rfc2136":
        key.write(tmp_path / "keeper.key")
        with KnotPrimary(tmp_path / "knot", there, "example.test.", ZONE, key):
            yield Keeper("rfc2136", "127.0.0.1:{port}", ("127.0.0.1", port), there, tmp_path)
        return
    made = PowerDnsPrimary(tmp_path / "pdns", there, "example.test.", ZONE, port + 1, key)
    (tmp_path / "keeper.key").touch(mode=0o600)
    (tmp_path / "keeper.key").write_bytes(made.api_key.raw)
    with made:
        yield Keeper("powerdns", "http://127.0.0.1:{port}", ("127.0.0.1", port + 1), there, tmp_path)


async def test_killed_at_every_moment_and_run_again_there_is_one_correct_record(keeper: Keeper) -> None:
    """Every moment between two pieces of their talk; the last round is one in which the writer lives."""
    falls = 0
    direct = keeper.provider(keeper.talks_at[1])
    for at in range(1, 200):
        async with blade(keeper.talks_at, at) as (made, port):
            made.child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WRITER, keeper.kind, keeper.server.format(port=port), str(keeper.folder), OLD, NEW
            )
            code = await asyncio.wait_for(made.child.wait(), 30)
        if not made.fell:
            assert code == 0
            break
        falls += 1
        seen = await direct.read("www.example.test")
        assert seen in (Rrset((OLD,), 20), Rrset((NEW,), 2)), f"killed at moment {at}: {seen}"
        await direct.apply(SWITCH)
        assert (await ask(keeper.shows_at, "www.example.test", "A")).rrset == Rrset((NEW,), 2)
        await direct.apply(BACK)
    assert falls >= 8
    assert (await ask(keeper.shows_at, "www.example.test", "A")).rrset == Rrset((NEW,), 2)
