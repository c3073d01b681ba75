"""Several files, or a service and the one it extends, made one, as the Compose specification merges them.

Tables merge, lists grow, scalars are replaced. What is a list of pairs becomes a table first, so that every rule and
every merge sees one shape; what has an identity (a port, a mount) is replaced by it and not doubled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.node import ComposeUnreadable, Mark, Node, Path
from switchover.readiness.compose.values import Mount, Port

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS: dict[Path, str] = {
    ("environment",): "=",
    ("labels",): "=",
    ("annotations",): "=",
    ("sysctls",): "=",
    ("deploy", "labels"): "=",
    ("build", "args"): "=",
    ("build", "labels"): "=",
    ("extra_hosts",): "=:",
    ("depends_on",): "",
    ("networks",): "",
}
"""Lists that mean a table, and what parts a key from its value; names alone stand for a table's keys."""

_REPLACED: frozenset[Path] = frozenset({("command",), ("entrypoint",), ("healthcheck", "test")})
_BY_IDENTITY: dict[Path, Callable[[Node], object]] = {
    ("ports",): Port.parse,
    ("volumes",): lambda node: Mount.parse(node).target,
    ("secrets",): lambda node: node.text("target") or node.text("source") or node.text(),
    ("configs",): lambda node: node.text("target") or node.text("source") or node.text(),
    ("devices",): lambda node: (node.text() or "").rpartition(":")[2],
}
_ONCE = frozenset({"cap_add", "cap_drop", "dns", "dns_opt", "dns_search", "env_file", "expose", "external_links"}) | {
    "links",
    "profiles",
    "security_opt",
    "tmpfs",
}


def canonical(service: Node) -> Node:
    """The service with every list of pairs written as a table."""
    for path, separators in PAIRS.items():
        node = service.get(*path)
        if node is not None and isinstance(node.value, list):
            service = _with(service, path, _paired(node, separators))
    return service


def merge_service(base: Node, over: Node) -> Node:
    """A service, both in canonical form."""
    return _merge(base, over, ())


def merge_file(base: Node, over: Node) -> Node:
    """A whole file, its services in canonical form."""
    table, keys = dict(base.value), dict(base.keys or {})
    for name, node in over.value.items():
        ours = table.get(name)
        if isinstance(node.value, dict) and ours is not None and isinstance(ours.value, dict):
            merged = _services(ours, node) if name == "services" else _merge(ours, node, ("",))
        else:
            merged = node
        table[name], keys[name] = merged, over.mark(name)
    return Node(table, base.at, keys)


def _services(base: Node, over: Node) -> Node:
    table, keys = dict(base.value), dict(base.keys or {})
    for name, node in over.value.items():
        if node.tag == "!reset":
            table.pop(name, None)
            continue
        both = name in table and isinstance(node.value, dict) and node.tag != "!override"
        table[name] = _merge(table[name], node, ()) if both else node
        keys[name] = over.mark(name)
    return Node(table, base.at, keys)


def _merge(base: Node, over: Node, path: Path) -> Node:
    if over.value is None:
        return base
    if over.tag == "!override" or base.value is None or path in _REPLACED:
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        if path == ("logging",) and base.text("driver") != (over.text("driver") or base.text("driver")):
            return over
        return _merge_tables(base, over, path)
    if isinstance(base.value, list) or isinstance(over.value, list):
        if isinstance(base.value, dict) or isinstance(over.value, dict):
            raise ComposeUnreadable(f"{over.at}: a list and a table cannot be merged; the other is at {base.at}")
        return Node(_merge_lists(base, over, path), over.at)
    return over


def _merge_tables(base: Node, over: Node, path: Path) -> Node:
    table, keys = dict(base.value), dict(base.keys or {})
    for name, node in over.value.items():
        if node.tag == "!reset":
            table.pop(name, None)
            continue
        table[name] = _merge(table[name], node, (*path, name)) if name in table else node
        keys[name] = over.mark(name)
    return Node(table, over.at, keys)


def _merge_lists(base: Node, over: Node, path: Path) -> list[Node]:
    both = [*base.items(), *over.items()]
    if path in _BY_IDENTITY:
        return list({_BY_IDENTITY[path](node): node for node in both}.values())
    if path and path[-1] in _ONCE:
        return list({node.text(): node for node in both}.values())
    return both


def _with(node: Node, path: Path, value: Node) -> Node:
    """The tree with one value replaced; the old one stays as it is."""
    if not path:
        return value
    first, *rest = path
    return Node({**node.value, first: _with(node.value[first], tuple(rest), value)}, node.at, node.keys, tag=node.tag)


def _paired(node: Node, separators: str) -> Node:
    table: dict[str, Node] = {}
    keys: dict[str, Mark] = {}
    for item in node.value:
        text = item.text()
        if text is None:
            continue
        cut = min((place for sign in separators if (place := text.find(sign)) >= 0), default=len(text))
        key, value = text[:cut], text[cut + 1 :] if cut < len(text) else None
        source = item.source.partition(text[cut])[2] if item.source and cut < len(text) else ""
        table[key], keys[key] = Node(value, item.at, source=source), item.at
    return Node(table, node.at, keys, tag=node.tag)
