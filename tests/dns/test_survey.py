"""Looking at a name again and again: what is remembered, what is lost again, and what the command prints."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from switchover.dns.authority import waive
from switchover.dns.leftovers import Move
from switchover.dns.resolvers import PublicResolver
from switchover.dns.survey import Survey, Surveyor, Wanted, to_json
from tests.dns.conftest import NEW, OLD
from tests.dns.scenes import LOW, Scene
from tests.servers.dns import Unbound

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net

WWW = "www.example.test"
MOVE = Move((WWW,), OLD, NEW)


def surveyor(net: Net, wanted: Wanted | None = None) -> Surveyor:
    resolvers = (PublicResolver("lab", (net.resolver.endpoint,)),)
    return Surveyor(WWW, resolver=net.resolver.endpoint, port=net.port, resolvers=resolvers, wanted=wanted)


def states(survey: Survey) -> set[str]:
    rows = to_json(survey)["authoritative"]
    assert isinstance(rows, list)
    return {str(row["state"]) for row in rows if isinstance(row, dict)}


async def test_the_words_follow_the_plan_from_old_to_low_to_new(net: Net, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        looking = surveyor(net, Wanted(MOVE, LOW))
        assert states(await looking.look()) == {"old"}
        await scene.swap((OLD,), (OLD,))
        await scene.until_serial(2)
        lowered = await looking.look()
        assert states(lowered) == {"low"}
        assert (lowered.t0, lowered.ttl) == (None, 20)  # three good looks over a minute are asked for
        await scene.swap((OLD,), (NEW,), old_ttl=LOW)
        await scene.until_serial(3)
        assert states(await looking.look()) == {"new"}


async def test_what_the_journal_proved_stands_until_an_address_falls_back(net: Net, tmp_path: Path) -> None:
    t0 = datetime.now(UTC) - timedelta(seconds=5)
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await scene.swap((OLD,), (OLD,))
        await scene.until_serial(2)
        looking = surveyor(net, Wanted(MOVE, LOW, old_ttl=3600, t0=t0))
        proved = await looking.look()
        assert (proved.t0, proved.safe) == (t0, t0 + timedelta(seconds=3602))
        assert timedelta(seconds=3580) < proved.exposure < timedelta(seconds=3600)
        await scene.swap((OLD,), (OLD,), old_ttl=LOW, ttl=600)
        await scene.until_serial(3)
        fallen = await looking.look()
    assert (fallen.t0, fallen.safe) == (None, None)
    assert fallen.exposure == timedelta(seconds=3600)


async def test_an_exposure_never_falls_below_the_low_ttl(net: Net, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await scene.swap((OLD,), (OLD,))
        await scene.until_serial(2)
        survey = await surveyor(net, Wanted(MOVE, LOW, old_ttl=3600, t0=long_ago)).look()
    assert survey.exposure == timedelta(seconds=LOW)


async def test_a_resolver_that_keeps_it_longer_than_the_authority_gives_raises_the_old_ttl(
    net: Net, tmp_path: Path
) -> None:
    """The TTL was higher an hour ago: somebody still holds it."""
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await scene.swap((OLD,), (OLD,), ttl=900)
        await scene.until_serial(2)
        warmed = surveyor(net)
        assert (await warmed.look()).ttl == 900
        await scene.swap((OLD,), (OLD,), old_ttl=900, ttl=20)
        await scene.until_serial(3)
        survey = await surveyor(net).look()
    assert 850 < survey.ttl <= 900
    assert "kept-longer" in {finding.id for finding in survey.findings}
    assert survey.if_changed_now - survey.at > timedelta(seconds=850)


async def test_a_network_with_a_zone_of_its_own_is_recognised(net: Net, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        outside = []
        for ip in ("127.0.0.22", "127.0.0.23", "127.0.0.24"):
            lines = (f'local-zone: "{WWW}" redirect', f'local-data: "{WWW} 300 A 203.0.113.80"')
            scene.start(Unbound(tmp_path / ip, net.at(ip), {"test.": ["127.0.0.10"]}, lines))
            outside.append(PublicResolver(ip, (net.at(ip),)))
        survey = await Surveyor(WWW, resolver=net.resolver.endpoint, port=net.port, resolvers=outside).look()
    assert [finding.id for finding in survey.findings if finding.severity == "error"] == ["split-horizon"]


async def test_a_server_that_comes_back_is_no_longer_called_silent(net: Net) -> None:
    looking = surveyor(net)
    net.knot.kill()
    silent = await looking.look()
    assert [finding.name for finding in silent.findings if finding.severity == "error"] == ["silent 127.0.0.12"]
    net.knot.start()
    back = await looking.look()
    assert [finding.name for finding in back.findings if finding.severity == "error"] == []
    assert back.agree


async def test_what_is_accepted_is_set_aside_by_host_or_by_address(net: Net) -> None:
    authority = (await surveyor(net).look()).authority
    by_host = waive(authority, ("lame ns3.example.test",))
    by_address = waive(authority, ("silent 127.0.0.13",))
    assert by_host.waived == by_address.waived == (net.at("127.0.0.13"),)
    assert waive(authority, ("aaaa", "stays ns3.example.test", "silent")).waived == ()


async def command(net: Net, *words: str, lines: int | None = None) -> tuple[int | None, str]:
    """Run the command; with ``lines``, until it has printed so many."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "switchover", "dns", *words, "--port", str(net.port), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    if lines is None:
        out, _ = await asyncio.wait_for(child.communicate(), 60)
        return child.returncode, out.decode()
    read = [await asyncio.wait_for(child.stdout.readline(), 60) for _ in range(lines)]
    child.terminate()
    await child.wait()
    return None, b"".join(read).decode()


async def test_the_command_needs_no_plan(net: Net) -> None:
    at = ("--at", str(net.resolver.endpoint))
    code, out = await command(net, WWW, *at)
    assert code == 0
    assert "✓ ns3.example.test 127.0.0.13" in out
    assert "caches may keep the old answer until" in out
    code, out = await command(net, WWW, "six.example.test", "--json", *at)
    assert code == 0
    first, second = json.loads(out)
    assert (first["zone"], first["agree"], len(first["authoritative"])) == ("example.test", True, 3)
    assert [finding["id"] for finding in second["findings"]] == ["aaaa"]


async def test_servers_that_do_not_agree_are_a_no(net: Net) -> None:
    net.nsd.stop()
    code, out = await command(net, WWW, "--at", str(net.resolver.endpoint))
    assert code == 1
    assert "✗ silent 127.0.0.13" in out


async def test_watching_prints_a_document_a_round(net: Net) -> None:
    _, out = await command(net, WWW, "--json", "--watch", "0.2", "--at", str(net.resolver.endpoint), lines=3)
    rounds: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [each["round"] for each in rounds] == [1, 2, 3]
    assert rounds[0]["findings"] == rounds[2]["findings"]


async def test_wrong_words_say_what_is_right(net: Net) -> None:
    assert (await command(net))[0] == 2
    assert (await command(net, WWW, "--at", "resolver"))[0] == 2
    assert (await command(net, "no such name", "--at", str(net.resolver.endpoint)))[0] in (1, 2)
