"""Route 53's batch against moto, behind a small server that is stricter than moto and loses what it is told to lose.

What the stand-in lacks: moto checks no signature and no policy, knows no PENDING, lets a batch delete whatever was ever
created and will not create it a second time. So the server here refuses the keys it is told to refuse, and with AWS's
InvalidChangeBatch every batch that AWS refuses by its documents: a DELETE that is not exactly what is there, a CREATE
of what is.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from boto3.session import Session
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber

from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, Unreachable
from switchover.dns.providers.route53 import Route53

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore:datetime.datetime.utcnow:DeprecationWarning",  # botocore's, on Python 3.12 and later
    "ignore:Boto3 will no longer support Python:boto3.exceptions.PythonDeprecationWarning",
)

OLD, NEW, OTHER = "192.0.2.10", "198.51.100.20", "203.0.113.9"
WWW = "www.example.test"
SWITCH = Change("example.test", WWW, "A", (OLD,), 300, (NEW,), 60)
SECRET = "wJalrXUtnFEMI-not-a-real-secret"
ERROR = (
    '<?xml version="1.0"?><ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error>'
    "<Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
)


@dataclass(slots=True)
class Aws:
    """Moto's Route 53 over HTTP on this machine."""

    url: str = ""
    batches: int = 0
    """Made, not refused."""
    calls: list[str] = field(default_factory=list)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By the word in the path: the status and the code of the error."""
    lose: set[str] = field(default_factory=set)
    """``request`` or ``reply``: of a batch; ``all``: everything after a batch."""
    before_batch: Callable[[], object] | None = None
    status: str = ""
    """What GetChange says; empty: what moto says."""

    def answer(self, method: str, path: str, headers: HTTPHeaders, body: bytes) -> tuple[int, bytes] | None:
        batch = method == "POST" and path.partition("?")[0].rstrip("/").endswith("/rrset")
        self.calls.append(f"{method} {path}")
        for word, (code, name) in self.refuse.items():
            if word in path and (method == "POST" or word != "rrset"):
                return code, ERROR.format(name, f"secret is {SECRET}").encode()
        if ("all" in self.lose and self.batches) or (batch and "request" in self.lose):
            return None
        if batch and self.before_batch is not None:
            then, self.before_batch = self.before_batch, None
            then()
        if batch and (wrong := impossible(path, body)):
            return 400, ERROR.format("InvalidChangeBatch", wrong).encode()
        if "hostedzonesbyname" in path:  # AWS lists on from the name that is asked for, moto that name alone
            path = path.partition("?")[0]
        # moto refuses to create what has ever been created; whether it is there has just been looked at
        code, said = moto(method, path, headers, body.replace(b"CREATE", b"UPSERT"))
        if self.status and "/change/" in path:
            said = said.replace(b"INSYNC", self.status.encode())
        if batch and code == 200:
            self.batches += 1
            if self.lose:
                return None
        return code, said


def moto(method: str, path: str, headers: HTTPHeaders, body: bytes) -> tuple[int, bytes]:
    request = AWSPreparedRequest(method, f"https://route53.amazonaws.com{path}", headers, body, stream_output=False)
    response = BotocoreStubber().process_request(request)
    assert response is not None
    said = response[2]
    return response[0], said.encode() if isinstance(said, str) else said


def impossible(path: str, body: bytes) -> str:
    """Why AWS would not make this batch."""
    zone = get_backend("route53")["123456789012"]["aws"].zones[path.split("/")[3]]
    there = {(one.name, one.type): (int(one.ttl), sorted(one.records)) for one in zone.rrsets if one.ttl is not None}
    for entry in ElementTree.fromstring(body).iterfind(".//{*}Change"):
        name, kind = str(entry.findtext(".//{*}Name")), str(entry.findtext(".//{*}Type"))
        values = sorted(str(value.text) for value in entry.iterfind(".//{*}Value"))
        found = there.get((name.rstrip(".") + ".", kind))
        if entry.findtext("{*}Action") == "DELETE":
            if found != (int(str(entry.findtext(".//{*}TTL"))), values):
                return "the values provided do not match the current values"
            del there[name.rstrip(".") + ".", kind]
        elif found is not None and entry.findtext("{*}Action") == "CREATE":
            return "it already exists"
    return ""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    get_backend("route53").reset()
    made = Aws()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = HTTPHeaders()
            for name, value in self.headers.items():
                headers[name] = value
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = made.answer(self.command, self.path, headers, body)
            if said is None:
                self.close_connection = True
                return
            self.send_response(said[0])
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(said[1])))
            self.end_headers()
            self.wfile.write(said[1])

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True)
class Zone:
    """A hosted zone, as its owner handles it."""

    boto: Any
    id: str

    def put(self, record: dict[str, Any], action: str = "UPSERT") -> None:
        entry = {"Action": action, "ResourceRecordSet": record}
        body = {"HostedZoneId": self.id, "ChangeBatch": {"Changes": [entry]}}
        self.boto.change_resource_record_sets(**body)

    def set(self, *values: str, ttl: int = 300, owner: str = WWW) -> None:
        there = sets(self, owner)
        for each in there:
            self.put(each, "DELETE")
        self.put(
            {"Name": owner, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": one} for one in values]}, "CREATE"
        )


def sets(zone: Zone, owner: str) -> list[dict[str, Any]]:
    listed = zone.boto.list_resource_record_sets(HostedZoneId=zone.id)["ResourceRecordSets"]
    return [each for each in listed if each["Name"].rstrip(".") == owner]


@pytest.fixture
def zone(aws: Aws) -> Zone:
    made = create_zone(aws, "example.test")
    made.set(OLD)
    made.set(OTHER, owner="zzz.example.test")
    aws.batches = 0
    aws.calls.clear()
    return made


def create_zone(aws: Aws, name: str, *, private: bool = False) -> Zone:
    boto = Session(region_name="us-east-1").client("route53", endpoint_url=aws.url)
    more = {"VPC": {"VPCRegion": "us-east-1", "VPCId": "vpc-1"}} if private else {}
    made = boto.create_hosted_zone(
        Name=name, CallerReference="1", HostedZoneConfig={"PrivateZone": private, "Comment": ""}, **more
    )
    return Zone(boto, made["HostedZone"]["Id"].removeprefix("/hostedzone/"))


@pytest.fixture
def route53(aws: Aws, zone: Zone) -> Route53:
    return Route53("example.test", aws.url)


async def test_the_swap_is_one_batch_of_value_and_ttl(aws: Aws, route53: Route53) -> None:
    await route53.apply(SWITCH)
    assert Rrset((NEW,), 60) == await route53.read(WWW)
    assert aws.batches == 1
    assert any("/change/" in call for call in aws.calls)


async def test_a_change_of_the_ttl_alone_is_made(route53: Route53) -> None:
    await route53.apply(replace(SWITCH, new_values=(OLD,)))
    assert Rrset((OLD,), 60) == await route53.read(WWW)


async def test_a_change_and_its_undoing_and_the_change_again_are_made(aws: Aws, route53: Route53) -> None:
    back = Change("example.test", WWW, "A", (NEW,), 60, (OLD,), 300)
    for change in (SWITCH, back, SWITCH):
        await route53.apply(change)
        assert await route53.read(WWW) == change.new
    assert aws.batches == 3


async def test_applying_twice_writes_once(aws: Aws, route53: Route53) -> None:
    await route53.apply(SWITCH)
    await route53.apply(SWITCH)
    assert aws.batches == 1


async def test_a_record_of_several_values_is_replaced_whole(zone: Zone, route53: Route53) -> None:
    zone.set(OLD, OTHER)
    await route53.apply(replace(SWITCH, old_values=(OTHER, OLD)))
    assert Rrset((NEW,), 60) == await route53.read(WWW)


async def test_a_record_can_be_added_and_taken_away(route53: Route53) -> None:
    added = Change("example.test", "new.example.test", "AAAA", (), 0, ("2001:db8::20",), 20)
    assert "lets new.example.test be changed" in await route53.check(added)
    await route53.apply(added)
    assert Rrset(("2001:db8::20",), 20) == await route53.read("new.example.test", "AAAA")
    await route53.apply(replace(added, old_values=added.new_values, old_ttl=20, new_values=(), new_ttl=0))
    assert await route53.read("new.example.test", "AAAA") is None


@pytest.mark.parametrize(("value", "ttl"), [(OTHER, 300), (OLD, 299)], ids=["value", "ttl"])
async def test_what_somebody_else_changed_is_left_alone(
    aws: Aws, zone: Zone, route53: Route53, value: str, ttl: int
) -> None:
    zone.set(value, ttl=ttl)
    aws.batches = 0
    for call in (route53.check, route53.apply):
        with pytest.raises(ChangeConflict) as conflict:
            await call(SWITCH)
        assert conflict.value.seen == Rrset((value,), ttl)
    assert aws.batches == 0


@pytest.mark.parametrize(("value", "ttl"), [(OTHER, 300), (OLD, 299)], ids=["value", "ttl"])
async def test_route_53_itself_refuses_when_the_record_changes_after_our_look(
    aws: Aws, zone: Zone, route53: Route53, value: str, ttl: int
) -> None:
    aws.before_batch = lambda: zone.set(value, ttl=ttl)
    with pytest.raises(ChangeConflict) as conflict:
        await route53.apply(SWITCH)
    assert conflict.value.seen == Rrset((value,), ttl) == await route53.read(WWW)


async def test_a_record_that_somebody_else_adds_first_is_left_alone(aws: Aws, zone: Zone, route53: Route53) -> None:
    aws.before_batch = lambda: zone.set(OTHER, owner="new.example.test")
    with pytest.raises(ChangeConflict, match=OTHER):
        await route53.apply(replace(SWITCH, owner="new.example.test", old_values=()))


async def test_a_lost_reply_is_found_out_by_reading_back(aws: Aws, route53: Route53) -> None:
    aws.lose = {"reply"}
    await route53.apply(SWITCH)
    assert aws.batches == 1
    assert Rrset((NEW,), 60) == await route53.read(WWW)


async def test_a_lost_batch_is_not_sent_again_and_is_unknown(aws: Aws, route53: Route53) -> None:
    aws.lose = {"request"}
    with pytest.raises(ChangeUnknown, match=rf"{OLD} \(TTL 300\) as before, but the change may still be made"):
        await route53.apply(SWITCH)
    assert len([call for call in aws.calls if call.startswith("POST")]) == 1


async def test_silence_after_the_batch_leaves_it_unknown_and_a_second_run_settles_it(
    aws: Aws, route53: Route53
) -> None:
    aws.lose = {"all"}
    with pytest.raises(ChangeUnknown):
        await route53.apply(SWITCH)
    aws.lose.clear()
    await route53.apply(SWITCH)
    assert aws.batches == 1


async def test_a_change_that_does_not_become_insync_in_time_is_no_error(
    aws: Aws, route53: Route53, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchover.dns.providers.route53._INSYNC_S", 0.2)
    monkeypatch.setattr("switchover.dns.providers.route53._POLL_S", 0.05)
    aws.status = "PENDING"
    await route53.apply(SWITCH)
    assert len([call for call in aws.calls if "/change/" in call]) >= 2


async def test_a_key_that_may_not_ask_for_the_change_still_changes(aws: Aws, route53: Route53) -> None:
    aws.refuse = {"/change/": (403, "AccessDenied")}
    await route53.apply(SWITCH)
    assert Rrset((NEW,), 60) == await route53.read(WWW)


async def test_the_check_proves_that_it_may_write_and_changes_nothing(aws: Aws, route53: Route53) -> None:
    assert "lets www.example.test be changed" in await route53.check(SWITCH)
    assert aws.batches == 0
    assert Rrset((OLD,), 300) == await route53.read(WWW)


async def test_a_key_that_may_only_read_is_refused_by_the_check(aws: Aws, route53: Route53) -> None:
    aws.refuse = {"rrset": (403, "AccessDenied")}
    for call in (route53.check, route53.apply):
        with pytest.raises(ChangeRefused, match=r"may not do this.*Nothing has changed"):
            await call(SWITCH)


async def test_a_refusal_for_another_reason_proves_nothing(aws: Aws, route53: Route53) -> None:
    aws.refuse = {"rrset": (400, "PriorRequestNotComplete")}
    for call in (route53.check, route53.apply):
        with pytest.raises(ChangeRefused, match="PriorRequestNotComplete"):
            await call(SWITCH)
    assert aws.batches == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [("InvalidClientTokenId", "not known to AWS"), ("SignatureDoesNotMatch", "clock"), ("ExpiredToken", "expired")],
)
async def test_refused_credentials_are_named_and_never_repeated(
    aws: Aws, route53: Route53, code: str, said: str
) -> None:
    aws.refuse = {"hostedzone": (403, code)}
    for call in (route53.check, route53.apply):
        with pytest.raises(ChangeRefused, match=said) as refused:
            await call(SWITCH)
        assert SECRET not in str(refused.value)
    assert SECRET not in repr(route53)


async def test_no_credentials_are_said_to_be_missing(
    aws: Aws, route53: Route53, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ChangeRefused, match="no usable AWS credentials"):
        await route53.check(SWITCH)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ChangeRefused, match=r"AWS's settings.*nobody"):
        await Route53("example.test", aws.url).check(SWITCH)


async def test_an_endpoint_that_does_not_answer_is_unreachable(route53: Route53, closed_port: int) -> None:
    with pytest.raises(Unreachable, match="nothing was sent"):
        await replace(route53, url=f"http://127.0.0.1:{closed_port}").read(WWW)


@pytest.fixture
def closed_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return int(server.server_address[1])


async def test_two_public_zones_of_one_name_are_refused(aws: Aws, route53: Route53) -> None:
    create_zone(aws, "example.test")
    with pytest.raises(ChangeRefused, match=r"2 public hosted zones example\.test"):
        await route53.apply(SWITCH)
    assert aws.batches == 0


async def test_a_private_zone_of_the_same_name_is_passed_over(aws: Aws, route53: Route53) -> None:
    create_zone(aws, "example.test", private=True).set(OTHER)
    assert Rrset((OLD,), 300) == await route53.read(WWW)


async def test_a_zone_that_is_not_there_or_only_private_is_refused(aws: Aws, route53: Route53) -> None:
    create_zone(aws, "zzz.test")  # the listing starts at a name and goes on to others
    with pytest.raises(ChangeRefused, match=r"no public hosted zone other\.test:"):
        await replace(route53, zone="other.test").read("www.other.test")
    create_zone(aws, "inside.test", private=True)
    with pytest.raises(ChangeRefused, match="a private one there is"):
        await replace(route53, zone="inside.test").read("www.inside.test")


async def test_an_alias_is_refused(aws: Aws, zone: Zone, route53: Route53) -> None:
    target = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": "lb.example.net.", "EvaluateTargetHealth": False}
    zone.put({"Name": "alias.example.test", "Type": "A", "AliasTarget": target})
    aws.batches = 0
    for call in (route53.check, route53.apply):
        with pytest.raises(ChangeRefused, match=r"is an alias of lb\.example\.net.*kind = \"manual\""):
            await call(replace(SWITCH, owner="alias.example.test"))
    assert aws.batches == 0


async def test_weighted_records_are_refused(aws: Aws, zone: Zone, route53: Route53) -> None:
    for number, value in enumerate((OLD, NEW)):
        record = {"Name": "many.example.test", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": value}]}
        zone.put({**record, "SetIdentifier": str(number), "Weight": 1})
    aws.batches = 0
    with pytest.raises(ChangeRefused, match="SetIdentifier"):
        await route53.apply(replace(SWITCH, owner="many.example.test"))
    assert aws.batches == 0


async def test_a_cname_is_never_given_an_address(zone: Zone, route53: Route53) -> None:
    zone.put({"Name": "app.example.test", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": WWW}]})
    with pytest.raises(ChangeConflict, match="is a CNAME"):
        await route53.apply(replace(SWITCH, owner="app.example.test", old_values=()))


async def test_without_its_library_it_says_what_to_install(route53: Route53, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    with pytest.raises(ChangeRefused, match=r"pip install 'switchover\[route53\]'"):
        await route53.check(SWITCH)


def test_the_preview_is_the_exact_batch() -> None:
    assert Route53("example.test").describe(SWITCH) == (
        "batch   public hosted zone example.test at Route 53, all or nothing",
        "delete  www.example.test 300 A 192.0.2.10",
        "create  www.example.test 60 A 198.51.100.20",
        "wait    until Route 53 says INSYNC, two minutes at most",
    )
    assert "not verified against the live service" in Route53("example.test").capabilities.says
