"""Where a query is put together as text, only constants go into it: no value from outside can become SQL."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

QUERIES = Path(__file__).parent.parent / "switchover" / "postgres"
"""The modules for which pyproject switches off ruff's own rule, which takes every put-together query for a danger."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def inside(tree: ast.Module) -> dict[ast.AST, Function | None]:
    """Each node with the innermost function around it."""
    found: dict[ast.AST, Function | None] = {}

    def visit(node: ast.AST, function: Function | None) -> None:
        found[node] = function
        for child in ast.iter_child_nodes(node):
            visit(child, node if isinstance(node, Function) else function)

    visit(tree, None)
    return found


def callers(around: dict[ast.AST, Function | None], function: Function) -> Iterator[Function | None]:
    """The functions in which it is named; None is the module itself, which runs once, before any value is known."""
    for node, caller in around.items():
        if isinstance(node, ast.Name) and node.id == function.name and isinstance(node.ctx, ast.Load):
            yield caller


def is_constant(around: dict[ast.AST, Function | None], function: Function | None) -> bool:
    """Whether the function is only ever run while its module is imported."""
    if function is None:
        return True
    others = [each for each in callers(around, function) if each is not function]
    return bool(others) and all(is_constant(around, each) for each in others)


def strangers(source: str, rows: set[int]) -> list[str]:
    """What goes into the put-together texts of these rows at run time, but for the module's own constants."""
    tree = ast.parse(source)
    around = inside(tree)
    found = []
    for text in around:
        if not isinstance(text, ast.JoinedStr | ast.BinOp | ast.Call) or text.lineno not in rows:
            continue
        if is_constant(around, around[text]):
            continue
        parts = [part.value for part in ast.walk(text) if isinstance(part, ast.FormattedValue)]
        found += [ast.unparse(part) for part in parts if not (isinstance(part, ast.Name) and part.id.isupper())]
    return found


def suspected() -> dict[Path, set[int]]:
    """The rows where ruff sees a query that is put together as text."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "S608", "--output-format", "json", QUERIES]
    ended = subprocess.run([str(each) for each in ruff], capture_output=True, text=True, check=False)
    found: dict[Path, set[int]] = {}
    for each in json.loads(ended.stdout):
        found.setdefault(Path(each["filename"]), set()).add(each["location"]["row"])
    return found


def test_only_constants_go_into_a_query_as_text() -> None:
    places = suspected()
    assert len(places) > 5
    assert {path.name: left for path, rows in places.items() if (left := strangers(path.read_text(), rows))} == {}


def test_a_value_of_run_time_is_found() -> None:
    source = (
        "ALL = 'x'\n"
        "def made(name): return f'SELECT {name} FROM t'\n"
        "Q = made('x')\n"
        "def asked(name): return f'SELECT {name} FROM {ALL}'\n"
        "def ask(): return asked('y')\n"
        "def direct(who): return f'SELECT {who.name} FROM t'\n"
    )
    assert strangers(source, {2, 4, 6}) == ["name", "who.name"]
