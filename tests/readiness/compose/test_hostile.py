"""Whatever the file is, the answer is a clear line, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from switchover.readiness.compose.lint import Wanted, lint
from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.compose.service import Dialect

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
HOSTILE = {
    "billion laughs": (LAUGHS, "aliases unfold to more than"),
    "laughs by merge keys": (
        "x0: &x0 {a: [1, 2, 3]}\n" + "".join(f"x{n}: &x{n} {{p: *x{n - 1}, q: *x{n - 1}}}\n" for n in range(1, 40)),
        "aliases unfold to more than",
    ),
    "an anchor in itself": ("a: &a [*a]", "contains itself"),
    "deep": ("a: " + "[" * 100_000, "deeper than 64 levels|maximum nesting depth"),
    "deep by indentation": ("".join(" " * n + "a:\n" for n in range(100)), "deeper than 64 levels"),
    "binary": ("\0\1\2ELF", "a binary file"),
    "control characters": ("a: \x01\x02", "not YAML"),
    "no table": ("- a\n- b", "not a table"),
    "text": ("just words", "not a table"),
    "nothing": ("", "empty"),
    "broken": ("services:\n  web: {image: [", "not YAML"),
    "no anchor": ("a: *nowhere", "not YAML|no anchor"),
    "twice": ("a: 1\na: 2", "written twice"),
    "a key that is a list": ("? [a]\n: b", "a key is a word"),
    "merge of a word": ("a: {<<: word}", "takes a table"),
    "extends itself": ("services: {a: {extends: a}}", "extends itself: a -> a"),
    "extends in a ring": ("services: {a: {extends: b}, b: {extends: {service: a}}}", "extends itself: a -> b -> a"),
    "extends nobody": ("services: {a: {extends: b}}", "no service 'b'"),
    "a chain of thousands": (
        "services:\n  s0: {image: x}\n" + "".join(f"  s{n}: {{extends: s{n - 1}}}\n" for n in range(5000, 0, -1)),
        "extend one another",
    ),
    "out of the folder": ("services: {a: {extends: {file: ../../etc/passwd, service: b}}}", "lies outside"),
    "absolute": ("services: {a: {extends: {file: /etc/passwd, service: b}}}", "lies outside"),
    "include out of the folder": ("include: [/etc/passwd]", "lies outside"),
    "includes itself": ("include: [0.yml]", "includes itself"),
    "a file that is not there": ("services: {a: {extends: {file: none.yml, service: b}}}", "No such file"),
    "a folder": ("services: {a: {extends: {file: ., service: b}}}", "not a plain file|Is a directory"),
    "a name with NUL": ('services: {a: {extends: {file: "a\\0b", service: b}}}', "no name of a file|not YAML|outside"),
}


def refused(*files: Path) -> tuple[str, float]:
    began = time.monotonic()
    with pytest.raises(ComposeUnreadable) as caught:
        lint(Wanted(files, env={}))
    return str(caught.value), time.monotonic() - began


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_words_within_a_second(tmp_path: Path, name: str) -> None:
    text, says = HOSTILE[name]
    (tmp_path / "0.yml").write_text(text)
    said, took = refused(tmp_path / "0.yml")
    assert any(word in said for word in says.split("|")), said
    assert len(said.splitlines()) == 1
    assert said.startswith(str(tmp_path))
    assert took < 1


def test_ten_megabytes_a_pipe_a_folder_and_a_link_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yml").write_text("a: b\n" * 2_000_000)
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "out.yml").symlink_to("/etc/passwd")
    (tmp_path / "a.yml").write_text("services: {a: {extends: {file: out.yml, service: b}}}")
    for file, says in (
        ("big.yml", "10.0 MB"),
        ("pipe.yml", "not a plain file"),
        (".", "irectory"),
        ("a.yml", "outside"),
    ):
        said, took = refused(tmp_path / file)
        assert says in said
        assert took < 1


def test_an_alias_bomb_in_one_scalar_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"services: {{web: {{image: 'a:1', command: '{'${A:-' * 5000}{'}' * 5000}'}}}}")
    began = time.monotonic()
    found = {finding.rule.id for finding in lint(Wanted([tmp_path / "a.yml"], env={})).findings}
    assert "variable-bad" in found
    assert time.monotonic() - began < 1


def test_long_values_do_not_slow_the_search_for_secrets(tmp_path: Path) -> None:
    long = "a" * 1_000_000
    text = f"services: {{web: {{image: 'a:1', environment: {{A: '{long}', B: x}}, command: 'x://{long}:'}}}}"
    (tmp_path / "a.yml").write_text(text)
    began = time.monotonic()
    lint(Wanted([tmp_path / "a.yml"], env={}))
    assert time.monotonic() - began < 1


KEYS = [
    "build",
    "command",
    "depends_on",
    "deploy",
    "environment",
    "healthcheck",
    "image",
    "labels",
    "logging",
    "networks",
    "ports",
    "restart",
    "secrets",
    "volumes",
    "tmpfs",
    "cap_add",
    "cap_drop",
    "user",
    "profiles",
    "expose",
    "configs",
]
SHAPES = ("[]", "{}", "[[]]", "[{}]", "{a: {}}", "{a: []}", "3", "true", "~", "''", "[~]", "{a: ~}", "-1", "['']")


@pytest.mark.parametrize("dialect", ["stack", "compose"])
@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_shapes_everywhere_are_findings_and_no_crash(tmp_path: Path, shape: str, dialect: Dialect) -> None:
    service = "".join(f"    {key}: {shape}\n" for key in KEYS)
    tops = "".join(f"{key}: {shape}\n" for key in ("networks", "volumes", "secrets", "configs", "name"))
    for number, text in enumerate((service, service + tops)):
        (tmp_path / f"{number}.yml").write_text(f"services:\n  web:\n{text}")
        assert lint(Wanted([tmp_path / f"{number}.yml"], dialect=dialect, env={})).findings
