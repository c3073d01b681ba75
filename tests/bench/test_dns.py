"""Asking many servers at once: as ratios of one run, against the slowest single answer and a bare loop."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import tracemalloc
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dns.message

from switchover.dns.ask import ask
from switchover.dns.authority import Authority, ServerAddress, observe
from switchover.dns.message import Answer, Endpoint, Question, Rrset, State
from switchover.dns.propagation import Proof
from switchover.dns.resolvers import Expected, PublicResolver, Sweep, View
from switchover.dns.watch import _Watching
from tests.dns.conftest import OLD, ZONE
from tests.servers.dns import KnotPrimary, Unbound, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WWW = "www.example.test"
RESOLVERS = [f"127.0.1.{number}" for number in range(1, 41)]
HEARD = [f"127.0.2.{number}" for number in range(1, 8)]
SILENT = [f"127.0.2.{number}" for number in range(8, 13)]
QUESTIONS = 1000


class ManyKnots(KnotPrimary):
    """One server at many addresses."""

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        config = self.folder / "knot.conf"
        port = self.endpoint.port
        listen = ", ".join(f"{ip}@{port}" for ip in HEARD)
        config.write_text(config.read_text().replace(f"listen: {self.endpoint.ip}@{port}", f"listen: [{listen}]"))
        return arguments


def serve(stack: ExitStack, folder: Path) -> int:
    """Forty resolver addresses and twelve authoritative ones, five of which never answer; returns their port."""
    port = free_port((*RESOLVERS, *HEARD, *SILENT))
    stack.enter_context(ManyKnots(folder / "knot", Endpoint(HEARD[0], port), "example.test.", ZONE))
    interfaces = tuple(f"interface: {ip}@{port}" for ip in RESOLVERS[1:])
    stack.enter_context(
        Unbound(folder / "unbound", Endpoint(RESOLVERS[0], port), {"example.test.": HEARD[:1]}, interfaces)
    )
    for ip in SILENT:
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((ip, port))
        full = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        full.bind((ip, port))
        full.listen(16)  # connections are made by the system, and nobody ever answers
    return port


def authority(port: int, ips: Sequence[str]) -> Authority:
    servers = tuple(ServerAddress(f"ns{ip}", Endpoint(ip, port), "both") for ip in ips)
    return Authority(WWW, (), WWW, "example.test", "ns1.example.test", servers, (), (), ())


async def timed(work: object) -> tuple[float, object]:
    started = time.perf_counter()
    result = await work  # type: ignore[misc]
    return time.perf_counter() - started, result


async def test_a_sweep_takes_as_long_as_its_slowest_answer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = serve(stack, tmp_path)
        resolvers = [PublicResolver(ip, (Endpoint(ip, port),)) for ip in RESOLVERS]
        await ask(Endpoint(RESOLVERS[0], port), WWW, "A", recursion=True)
        slowest, _ = await timed(ask(Endpoint(SILENT[0], port), WWW, "A", tries=2))
        sweep = Sweep(resolvers, WWW)
        whole, (views, answers) = await timed(  # type: ignore[misc]
            asyncio.gather(
                sweep.round(Expected(frozenset({OLD}), frozenset({"198.51.100.20"})), 8),
                observe(authority(port, [*HEARD, *SILENT])),
            )
        )
    assert [view.state for view in views] == [View.OLD] * 40
    assert sum(view.samples for view in views) == 320
    assert [answer.state for answer in answers] == [State.OK] * 7 + [State.TIMEOUT] * 5
    says = f"{whole:.2f} s; slowest single answer {slowest:.2f} s"
    print(f"\nsweep of 40 x 8 and 12 addresses: {says}; {whole / slowest:.2f}")
    assert whole / slowest < 1.5


async def test_a_thousand_questions_against_a_bare_loop(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = serve(stack, tmp_path)
        there = Endpoint(RESOLVERS[0], port)
        await ask(there, WWW, "A", recursion=True)
        bare_s = min([(await timed(bare(there)))[0] for _ in range(3)])
        ours_s = min([(await timed(ours(there)))[0] for _ in range(3)])
    print(f"\n{QUESTIONS} questions: {ours_s:.2f} s, a bare loop {bare_s:.2f} s; {ours_s / bare_s:.2f}")
    assert ours_s / bare_s < 6


async def ours(there: Endpoint) -> None:
    gate = asyncio.Semaphore(64)

    async def one() -> Answer:
        async with gate:
            return await ask(there, WWW, "A", recursion=True)

    answers = await asyncio.gather(*(one() for _ in range(QUESTIONS)))
    assert {answer.state for answer in answers} == {State.OK}


async def bare(there: Endpoint) -> None:
    """The same questions, a new socket each, parsed and no more."""
    gate = asyncio.Semaphore(64)
    loop = asyncio.get_running_loop()

    async def one() -> None:
        async with gate:
            query = Question(there, WWW, "A", recursion=True).message()
            reply: asyncio.Future[bytes] = loop.create_future()

            class Once(asyncio.DatagramProtocol):
                def datagram_received(self, data: bytes, addr: object) -> None:
                    if not reply.done():
                        reply.set_result(data)

            transport, _ = await loop.create_datagram_endpoint(Once, remote_addr=(there.ip, there.port))
            try:
                transport.sendto(query.to_wire())
                assert query.is_response(dns.message.from_wire(await reply))
            finally:
                transport.close()

    await asyncio.gather(*(one() for _ in range(QUESTIONS)))


def test_a_watch_of_two_days_remembers_no_more_than_one_of_an_hour() -> None:
    ips = [*HEARD, *SILENT]
    wanted = Rrset((OLD,), 60)
    watching = _Watching(authority(53, ips), wanted, Proof(3, timedelta(days=3)))
    start = datetime(2026, 12, 1, tzinfo=UTC)
    tracemalloc.start()
    sizes = []
    for number in range(48 * 720):
        at = start + timedelta(seconds=5 * number)
        watching.take(tuple(Answer(Endpoint(ip), WWW, "A", at, State.OK, ttl=60, values=(OLD,)) for ip in ips))
        if number + 1 in (720, 48 * 720):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    print(f"\nwatching 12 addresses: {sizes[0] / 1024:.1f} KiB after 1 h, {sizes[1] / 1024:.1f} KiB after 48 h")
    assert sizes[1] < sizes[0] * 1.1 + 4096
