"""The transport that the lab's nameserver and resolver share: UDP and TCP (RFC 1035 4.2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

import dns.message

Handler: TypeAlias = Callable[[bytes], Awaitable[dns.message.Message | None]]
"""From a request's bytes to the answer, or None for no answer."""

_IDLE_S = 10.0


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._busy: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._handler(data)
        if answer is not None and self._transport is not None:
            size = answer.request_payload or 512
            self._transport.sendto(answer.to_wire(max_size=size, prefer_truncation=True), addr)


async def listen(address: str, port: int, handler: Handler) -> None:
    """Answer on this address over UDP and TCP until the loop ends."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    answer = await handler(await reader.readexactly(size))
                    if answer is None:
                        break
                    writer.write(answer.to_wire(max_size=65535, prepend_length=True))
                    await writer.drain()
        writer.close()

    await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(handler), local_addr=(address, port))
    await asyncio.start_server(converse, address, port)


def split(endpoint: str) -> tuple[str, int]:
    """``ip:port`` in its parts."""
    address, _, port = endpoint.rpartition(":")
    return address, int(port)
