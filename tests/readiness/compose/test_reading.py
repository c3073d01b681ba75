"""The files are read as Compose reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchover.readiness.compose.document import read_documents
from switchover.readiness.compose.interpolate import Variables, read_env
from switchover.readiness.compose.load import Loaded, load
from switchover.readiness.compose.node import ComposeUnreadable, Mark
from tests.readiness.compose.conftest import Judge


def value(text: str) -> Any:
    (document,) = read_documents(text.encode(), "x.yml", lambda text, at: text)
    return document.plain()


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    def load_all(
        *texts: str, also: dict[str, str] | None = None, env: dict[str, str] | None = None, **more: Any
    ) -> Loaded:
        for name, text in (also or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        files = [tmp_path / f"{number}.yml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return load(files, env or {}, **more)

    return load_all


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("22:22", "22:22"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("0440", 288),
        ("0o440", 288),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("2026-11-20", "2026-11-20"),
        ("1.2.3", "1.2.3"),
        ('"3"', "3"),
        ("'true'", "true"),
        ("!!str 3", "3"),
        ("09", 9.0),
        ("-", "-"),
    ],
)
def test_a_bare_word_means_what_it_means_to_compose(text: str, meant: object) -> None:
    if text == "-":
        text = "'-'"
    assert value(f"a: {text}")["a"] == meant


def test_merge_keys_leave_what_the_table_has_and_the_earlier_wins() -> None:
    text = "x-a: &a {one: 1, two: 1}\nx-b: &b {two: 2, three: 2}\nc: {<<: [*a, *b], one: 3}"
    assert value(text)["c"] == {"one": 3, "two": 1, "three": 2}


def test_a_merge_key_may_bear_its_tag_and_is_written_once() -> None:
    assert value("x: &x {one: 1}\ny:\n  !!merge <<: *x\n  two: 2\n")["y"] == {"one": 1, "two": 2}
    with pytest.raises(ComposeUnreadable, match="'<<' is written twice"):
        read_documents(b"x: &x {one: 1}\ny:\n  <<: *x\n  <<: *x\n", "x.yml", lambda text, at: text)


def test_a_merged_value_stands_where_it_was_written() -> None:
    (document,) = read_documents(b"x: &x\n  a: 1\ny:\n  <<: *x\n  b: 2\n", "x.yml", lambda text, at: text)
    assert document.mark("y", "a") == Mark("x.yml", 2, 6, 7)
    assert document.mark("y", "b") == Mark("x.yml", 5, 6, 7)
    assert document.mark("y", "none") == Mark("x.yml", 3, 1, 2)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$A", "one"),
        ("${A}", "one"),
        ("x${A}y", "xoney"),
        ("$$A", "$A"),
        ("${NONE}", ""),
        ("${NONE-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-${A}}", "one"),
        ("${NONE:-${NONE2:-deep}}", "deep"),
        ("${A:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${EMPTY+r}", "r"),
        ("${A:?words}", "one"),
        ("${NONE:-a:b/c}", "a:b/c"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, meant: str) -> None:
    variables = Variables({"A": "one", "EMPTY": ""})
    assert variables.expand(text, Mark("x", 1, 1, 2)) == meant
    assert not variables.bad


@pytest.mark.parametrize("text", ["$5", "${}", "${A", "${A b}", "${1A}", "a $ b"])
def test_a_dollar_that_begins_no_variable_is_told_and_not_repeated(text: str) -> None:
    variables = Variables({"A": "one"})
    assert variables.expand(text, Mark("x", 1, 1, 2)) == text
    assert list(variables.bad) == [Mark("x", 1, 1, 2)]


def test_an_env_file_is_read_with_its_quotes_comments_and_references() -> None:
    text = """
# a comment
PLAIN=one # the rest
export SAID='$PLAIN'
DOUBLE="a\\nb ${PLAIN}"
USES=${PLAIN}-${OUTER}
MANY="line
two"
EMPTY=
HASH=a#b
"""
    assert read_env(text, {"OUTER": "out"}) == {
        "PLAIN": "one",
        "SAID": "$PLAIN",
        "DOUBLE": "a\nb one",
        "USES": "one-out",
        "MANY": "line\ntwo",
        "EMPTY": "",
        "HASH": "a#b",
    }


def test_the_environment_wins_over_the_env_file(loaded: Any, tmp_path: Path) -> None:
    text = "services: {web: {image: 'a:${TAG}', user: '${WHO}'}}"
    tree = loaded(text, also={".env": "TAG=1\nWHO=file"}, env={"WHO": "shell"}).tree
    assert tree.get("services", "web").plain() == {"image": "a:1", "user": "shell"}
    named = loaded(text, also={"prod.env": "TAG=2\nWHO=x"}, env_file=tmp_path / "prod.env").tree
    assert named.text("services", "web", "image") == "a:2"


def test_a_stack_takes_no_notice_of_a_dotenv(judge: Judge) -> None:
    text = "services: {web: {image: 'a:${TAG}'}}"
    also = {".env": "TAG=1"}
    unset = {
        d: "variable-unset" in {f.rule.id for f in judge(text, also=also, dialect=d).findings}
        for d in ("stack", "compose")
    }
    assert unset == {"stack": True, "compose": False}


ONE_DEVICE = {"devices": [{"source": "/dev/b", "target": "/dev/a"}]}
ONE_SECRET = {"secrets": [{"source": "t", "target": "/run/secrets/s"}]}
THREE_PORTS = {"ports": ["80:80", "127.0.0.1:80:80", "80:80/udp"]}
MERGES = [
    ("command: [a, b]", "command: [c]", {"command": ["c"]}),
    ("environment: {A: 1, B: 2}", "environment: [B=3, C=4]", {"environment": {"A": 1, "B": "3", "C": "4"}}),
    ("labels: [a=1]", "labels: {a: '2'}", {"labels": {"a": "2"}}),
    ("ports: ['80:80']", "ports: ['80:80', '81:81']", {"ports": ["80:80", "81:81"]}),
    ("volumes: ['aa:/x', 'bb:/y']", "volumes: ['cc:/x']", {"volumes": ["cc:/x", "bb:/y"]}),
    ("networks: [a]", "networks: {b: {aliases: [x]}}", {"networks": {"a": None, "b": {"aliases": ["x"]}}}),
    ("cap_drop: [A]", "cap_drop: [A, B]", {"cap_drop": ["A", "B"]}),
    ("dns: 1.1.1.1", "dns: [8.8.8.8]", {"dns": ["1.1.1.1", "8.8.8.8"]}),
    ("deploy: {replicas: 1, mode: global}", "deploy: {replicas: 2}", {"deploy": {"replicas": 2, "mode": "global"}}),
    ("logging: {driver: a, options: {x: y}}", "logging: {driver: b}", {"logging": {"driver": "b"}}),
    (
        "logging: {driver: a, options: {x: y}}",
        "logging: {options: {z: w}}",
        {"logging": {"driver": "a", "options": {"x": "y", "z": "w"}}},
    ),
    (
        "logging: {options: {x: y}}",
        "logging: {driver: a, options: {z: w}}",
        {"logging": {"driver": "a", "options": {"x": "y", "z": "w"}}},
    ),
    ("build: .", "build: {dockerfile: X}", {"build": {"context": ".", "dockerfile": "X"}}),
    ("build: {context: a, dockerfile: X}", "build: b", {"build": {"context": "b", "dockerfile": "X"}}),
    ("environment: {A: x}", "environment: {A: }", {"environment": {"A": None}}),
    ("environment: [A=x, B=y]", "environment: [A]", {"environment": {"A": None, "B": "y"}}),
    ("environment: {A: x}", "environment:", {"environment": {"A": "x"}}),
    ("command: run", "command:", {"command": None}),
    ("image: a", "image:", {"image": "a"}),
    ("dns: a", "dns: b", {"dns": ["a", "b"]}),
    ("env_file: a.env", "env_file: [{path: b.env}, a.env]", {"env_file": ["a.env", {"path": "b.env"}]}),
    ("tmpfs: /a", "tmpfs: /b", {"tmpfs": ["/a", "/b"]}),
    ("security_opt: [a]", "security_opt: [a]", {"security_opt": ["a", "a"]}),
    ("devices: ['/dev/a:/dev/x:rwm']", "devices: ['/dev/b:/dev/x']", {"devices": ["/dev/b:/dev/x"]}),
    ("devices: [/dev/a]", "devices: [{source: /dev/b, target: /dev/a}]", ONE_DEVICE),
    ("ports: ['80:80']", "ports: ['0.0.0.0:80:80/tcp']", {"ports": ["0.0.0.0:80:80/tcp"]}),
    ("ports: ['80:80']", "ports: ['127.0.0.1:80:80', '80:80/udp']", THREE_PORTS),
    ("ports: [{target: 80, published: 80, mode: host}]", "ports: ['80:80']", {"ports": ["80:80"]}),
    ("volumes: ['aa:/x/']", "volumes: ['bb:/x']", {"volumes": ["bb:/x"]}),
    ("secrets: [s]", "secrets: [{source: t, target: /run/secrets/s}]", ONE_SECRET),
    ("networks: {n: {aliases: [a]}}", "networks: {n: {aliases: [a, b]}}", {"networks": {"n": {"aliases": ["a", "b"]}}}),
    (
        "depends_on: {a: {condition: service_healthy}}",
        "depends_on: [a]",
        {"depends_on": {"a": {"condition": "service_started"}}},
    ),
    ("ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: {soft: 3}}", {"ulimits": {"nofile": {"soft": 3}}}),
    (
        "healthcheck: {test: [CMD, a], retries: 3}",
        "healthcheck: {test: [CMD, b]}",
        {"healthcheck": {"test": ["CMD", "b"], "retries": 3}},
    ),
    ("ports: ['80:80']\nimage: a", "ports: !reset []", {"image": "a"}),
    ("ports: ['80:80']", "ports: !override ['81:81']", {"ports": ["81:81"]}),
    (
        "depends_on: [a]",
        "depends_on: {a: {condition: service_healthy}}",
        {"depends_on": {"a": {"condition": "service_healthy"}}},
    ),
]


@pytest.mark.parametrize(("base", "over", "meant"), MERGES, ids=[merge[1][:30] for merge in MERGES])
def test_several_files_merge_as_the_specification_says(loaded: Any, base: str, over: str, meant: object) -> None:
    def whole(text: str) -> str:
        return "services:\n  web:\n" + "".join(f"    {line}\n" for line in text.splitlines())

    assert loaded(whole(base), whole(over)).tree.get("services", "web").plain() == meant


@pytest.mark.parametrize("kind", ["networks", "volumes", "secrets", "configs"])
def test_labels_of_a_list_and_of_a_table_merge(loaded: Any, kind: str) -> None:
    tree = loaded(f"{kind}: {{n: {{labels: [a=1, b=2]}}}}", f"{kind}: {{n: {{labels: {{b: '3', a: }}}}}}").tree
    assert tree.get(kind, "n", "labels").plain() == {"a": None, "b": "3"}


def test_a_top_level_table_can_be_taken_away_or_replaced(loaded: Any) -> None:
    base = "volumes: {a: {}, b: {}}\nnetworks: {n: {}}"
    assert loaded(base, "volumes: !reset {}").tree.plain() == {"networks": {"n": {}}}
    assert loaded(base, "volumes: !override {c: {}}").tree.table("volumes").keys() == {"c"}
    assert loaded(base, "volumes:\nnetworks: {n: !reset }").tree.plain() == {
        "volumes": {"a": {}, "b": {}},
        "networks": {},
    }


def test_a_service_extends_one_of_another_file_that_extends_again(loaded: Any) -> None:
    text = "services: {web: {extends: {file: sub/base.yml, service: mid}, environment: {B: own}, command: run}}"
    base = """
services:
  root: {image: 'a:1', environment: [A=root, B=root], cap_drop: [ALL]}
  mid: {extends: root, environment: {C: mid}, command: none}
"""
    web = loaded(text, also={"sub/base.yml": base}).tree.get("services", "web").plain()
    assert web.pop("extends")
    assert web == {
        "image": "a:1",
        "environment": {"A": "root", "B": "own", "C": "mid"},
        "cap_drop": ["ALL"],
        "command": "run",
    }


def test_what_was_inherited_is_found_where_it_was_written(judge: Judge, tmp_path: Path) -> None:
    text = "services: {web: {extends: {file: base.yml, service: b}, image: 'a:1.0.0'}}"
    verdict = judge(text, also={"base.yml": "services:\n  b:\n    privileged: true\n"}, dialect="compose")
    (found,) = [finding for finding in verdict.findings if finding.rule.id == "privileged"]
    assert found.at == Mark(str(tmp_path / "base.yml"), 3, 17, 21)


def test_included_files_join_with_their_own_variables(loaded: Any) -> None:
    text = "include: [sub/more.yml]\nservices: {web: {image: 'a:1'}}"
    also = {"sub/more.yml": "services: {db: {image: 'pg:${V}'}}", "sub/.env": "V=16"}
    assert loaded(text, also=also).tree.get("services").plain() == {"db": {"image": "pg:16"}, "web": {"image": "a:1"}}


def test_a_service_behind_a_profile_is_left_out_and_named(judge: Judge) -> None:
    text = "services: {web: {image: 'a:1'}, tool: {image: 'b:1', profiles: [debug]}}"
    verdict = judge(text)
    assert (verdict.services, verdict.inactive) == (1, ("tool",))
    assert judge(text, env={"COMPOSE_PROFILES": "debug"}).inactive == ()


def test_several_documents_of_one_file_merge(loaded: Any) -> None:
    tree = loaded("services: {a: {image: 'x:1'}}\n---\nservices: {a: {user: me}, b: {image: 'y:1'}}\n").tree
    assert tree.get("services").plain() == {"a": {"image": "x:1", "user": "me"}, "b": {"image": "y:1"}}


def test_the_file_shows_who_deploys_it(judge: Judge) -> None:
    assert judge("services: {web: {deploy: {placement: {}}}}").dialect == "stack"
    assert judge("services: {web: {deploy: {replicas: 3, resources: {}}}}").dialect == "compose"
    assert judge("services: {web: {deploy: {labels: [a=b]}}}").dialect == "stack"
    assert judge("services: {web: {image: 'a:1'}}\nnetworks: {n: {driver: overlay}}").dialect == "stack"


def test_a_key_written_twice_is_refused_with_its_place() -> None:
    with pytest.raises(ComposeUnreadable, match=r"x.yml:3:1: the key 'a' is written twice"):
        value("a: 1\nb: 2\na: 3")
