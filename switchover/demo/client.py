"""The lab's users: a client that places orders without pause and logs every one that was acknowledged.

``python -m switchover.demo.client --name shop.test --port 8000 --resolver 127.0.0.13:5300
--folder FOLDER``

``acknowledged.log`` gets ``<token> <order number> <old|new>`` a line, ``refused.log`` the seconds since
the epoch and what was said. Each line is one write(2), so a killed client has lost none; only a crash of the
machine could.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
import httpx

from switchover.demo.dnsserver import split
from switchover.words import plain

ACKNOWLEDGED = "acknowledged.log"
REFUSED = "refused.log"


class NoAddress(Exception):
    """The name did not resolve."""


@dataclass(slots=True)
class Lookup:
    """The address of a name, kept as long as its TTL says."""

    name: str
    resolver: tuple[str, int]
    _address: str = field(default="", init=False)
    _expires: float = field(default=0.0, init=False)

    async def address(self) -> str:
        """The address now; NoAddress when the resolver gives none."""
        if time.monotonic() >= self._expires:
            query = dns.message.make_query(self.name, dns.rdatatype.A)
            try:
                reply = await dns.asyncquery.udp(query, self.resolver[0], timeout=2, port=self.resolver[1])
            except (dns.exception.DNSException, OSError) as error:
                raise NoAddress(f"no answer from the resolver: {type(error).__name__}") from None
            found = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A]
            if not found:
                raise NoAddress("no address")
            self._address = found[0][0].to_text()
            self._expires = time.monotonic() + found[0].ttl
        return self._address


@dataclass(frozen=True, slots=True)
class Log:
    """A file of lines that are whole or absent."""

    fd: int

    @classmethod
    def open(cls, path: Path) -> Log:
        return cls(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))

    def line(self, text: str) -> None:
        os.write(self.fd, text.encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Buyer:
    """Places one order at a time as a browser would: look the name up, connect, ask by name."""

    lookup: Lookup
    port: int
    http: httpx.AsyncClient
    acknowledged: Log
    refused: Log

    async def order(self) -> None:
        """Place an order and log the outcome; an order without an answer counts as refused."""
        token = uuid.uuid4().hex
        try:
            address = await self.lookup.address()
            reply = await self.http.post(
                f"http://{address}:{self.port}/orders",
                content=token,
                headers={"Host": f"{self.lookup.name}:{self.port}"},
            )
        except (NoAddress, httpx.HTTPError) as error:
            self.refused.line(f"{time.time():.3f} {plain(str(error)) or type(error).__name__}")
            return
        if reply.status_code == httpx.codes.CREATED:
            self.acknowledged.line(f"{token} {plain(reply.text).strip()} {reply.headers.get('x-served-by', '?')}")
        else:
            self.refused.line(f"{time.time():.3f} {reply.status_code} {plain(reply.text).strip()}")


async def buy(options: argparse.Namespace) -> None:
    """Place orders at the asked rate until told to stop, then wait for those under way."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lookup = Lookup(options.name, split(options.resolver))
    logs = (Log.open(options.folder / ACKNOWLEDGED), Log.open(options.folder / REFUSED))
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http, asyncio.TaskGroup() as orders:
        buyer = Buyer(lookup, options.port, http, *logs)
        while not stop.is_set():
            orders.create_task(buyer.order())
            try:
                async with asyncio.timeout(1 / options.rate):
                    await stop.wait()
            except TimeoutError:
                continue


def main() -> None:
    """Read the options and buy."""
    parser = argparse.ArgumentParser(description="A load client for the lab.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--resolver", required=True, metavar="IP:PORT")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second")
    asyncio.run(buy(parser.parse_args()))


if __name__ == "__main__":
    main()
