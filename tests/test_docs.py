"""The README knows every command, every option and every key; the examples load; the repository is tidy."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

import pytest

from switchover.cli import _parser
from switchover.plan.file import load
from switchover.plan.spec import json_schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ALLOWED = {"pyproject.toml", "switchover", "plans", "tests", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_readme_names_the_command_and_its_options(name: str) -> None:
    assert f"switchover {name}" in README
    for action in commands()[name]._actions:
        for option in action.option_strings:
            assert option in README or option == "-h", f"{name} {option}"


def test_the_readme_names_every_key_of_a_plan() -> None:
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    keys = {key for table in tables for key in table.get("properties", {})}
    assert [
        key for key in sorted(keys) if f"`{key}`" not in README and f"{key}]" not in README and f"{key} =" not in README
    ] == []


def findings() -> set[str]:
    """The id of every finding and check in the code, for the source where it is for either side."""
    ids = set()
    for path in (ROOT / "switchover").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Finding", "Check"):
                if node.args and isinstance(node.args[0], ast.Constant):
                    ids.add(str(node.args[0].value))
                elif node.args and isinstance(node.args[0], ast.JoinedStr):
                    end = node.args[0].values[-1]
                    assert isinstance(end, ast.Constant)
                    ids.add(f"source{end.value}")
    return ids


def test_the_readme_names_every_finding() -> None:
    assert len(findings()) > 70
    assert [each for each in sorted(findings()) if f"`{each}`" not in README] == []


def test_the_two_commands_stand_in_the_readme() -> None:
    assert "pip install '.[demo]' && .venv/bin/switchover demo --auto" in README
    assert "pip install -e '.[dev]' && .venv/bin/pytest" in README
    assert (ROOT / ".github" / "wizard.svg").exists()


@pytest.mark.parametrize("example", sorted((ROOT / "plans").glob("*.toml")), ids=lambda path: path.name)
def test_the_example_can_be_loaded(example: Path) -> None:
    assert load(example).spec.name == "acme-shop"


def test_nothing_lies_at_the_top_but_what_belongs_there() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {line.split("/")[0] for line in tracked if line}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from switchover.cli import run_command\n"
        "try: run_command(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('textual', 'rich', 'psycopg', 'dns', 'httpx', 'pydantic', 'asyncio') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
