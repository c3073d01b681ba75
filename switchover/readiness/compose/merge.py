"""Several files, or a service and the one it extends, made one, as the Compose specification merges them.

Tables merge, lists grow, scalars are replaced. What is a list of pairs becomes a table first, so that every rule and
every merge sees one shape; what has an identity (a port, a mount) is replaced by it and not doubled.
"""

from __future__ import annotations

from posixpath import normpath
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

_LABELLED = ("networks", "volumes", "secrets", "configs")
_REPLACED: frozenset[Path] = frozenset({("command",), ("entrypoint",), ("healthcheck", "test")})
_LISTS = frozenset({"dns", "dns_opt", "dns_search", "env_file", "tmpfs"})
"""One alone may be written without the list."""


def _port(node: Node) -> object:
    port = Port.parse(node)
    ip = port.ip if set(port.ip) - set("0.") else ""  # every address
    return ip, port.published, port.target, port.protocol


def _device(node: Node) -> object:
    parts = (node.text() or "").split(":")
    return node.text("target") or parts[min(1, len(parts) - 1)]


def _mounted(folder: str) -> Callable[[Node], object]:
    return lambda node: node.text("target") or f"{folder}/{node.text('source') or node.text()}"


def _name(node: Node) -> object:
    return (node.text() or "").partition("=")[0]


_BY_IDENTITY: dict[Path, Callable[[Node], object]] = {
    ("ports",): _port,
    ("volumes",): lambda node: normpath(Mount.parse(node).target),
    ("secrets",): _mounted("/run/secrets"),
    ("configs",): _mounted(""),
    ("devices",): _device,
    ("env_file",): lambda node: node.text("path") or node.text(),
    **{(key,): _name for key in ("cap_add", "cap_drop", "dns", "dns_opt", "dns_search", "tmpfs")},
    **{(key,): _name for key in ("expose", "links", "profiles")},
    ("build", "tags"): _name,
}
"""What makes two items one, of which the later stays. Source: compose-go, ``override/uncity.go``."""


def canonical(document: Node) -> Node:
    """The file with every list of pairs written as a table."""
    table = dict(document.value)
    for kind in ("services", *_LABELLED):
        node = table.get(kind)
        if node is not None and isinstance(node.value, dict):
            one = _service if kind == "services" else _labelled
            made = {name: one(each) if isinstance(each.value, dict) else each for name, each in node.value.items()}
            table[kind] = Node(made, node.at, node.keys, tag=node.tag)
    return Node(table, document.at, document.keys)


def _labelled(node: Node) -> Node:
    labels = node.get("labels")
    is_list = labels is not None and isinstance(labels.value, list)
    return _with(node, ("labels",), _paired(labels, "=")) if labels is not None and is_list else node


def _service(service: Node) -> Node:
    for path, separators in PAIRS.items():
        node = service.get(*path)
        if node is not None and isinstance(node.value, list):
            service = _with(service, path, _paired(node, separators))
    node = service.get("depends_on")
    if node is not None and isinstance(node.value, dict):
        made = {name: _started(each) for name, each in node.value.items()}
        service = _with(service, ("depends_on",), Node(made, node.at, node.keys, tag=node.tag))
    return service


def merge_service(base: Node, over: Node) -> Node:
    """A service, both in canonical form."""
    return _merge(base, over, ())


def merge_file(base: Node, over: Node) -> Node:
    """A whole file, in canonical form."""
    table, keys = dict(base.value), dict(base.keys or {})
    for name, node in over.value.items():
        ours = table.get(name)
        if node.tag == "!reset":
            table.pop(name, None)
            continue
        if isinstance(node.value, dict) and ours is not None and isinstance(ours.value, dict) and not node.tag:
            merged = _services(ours, node) if name == "services" else _merge_tables(ours, node, ("", name))
        else:
            merged = node if ours is None or node.value is not None else ours
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
    if over.tag == "!override" or path in _REPLACED or path[:-1] == ("ulimits",):
        return over
    if over.value is None:
        return over if _is_pair(path) else base
    if base.value is None:
        return over
    if path == ("build",):
        base, over = _built(base), _built(over)
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        drivers = {base.text("driver"), over.text("driver")} - {None}
        if path == ("logging",) and len(drivers) == 2:
            return over
        return _merge_tables(base, over, path)
    if isinstance(base.value, list) or isinstance(over.value, list) or (path and path[-1] in _LISTS):
        if isinstance(base.value, dict) or isinstance(over.value, dict):
            raise ComposeUnreadable(f"{over.at}: a list and a table cannot be merged; the other is at {base.at}")
        return Node(_merge_lists(base, over, path), over.at)
    return over


def _is_pair(path: Path) -> bool:
    """A value that is in a table and could be in a list, where a name alone takes away what it had."""
    return PAIRS.get(path[:-1]) == "=" or (path[:1] == ("",) and path[3:-1] == ("labels",))


def _built(build: Node) -> Node:
    """``build: .`` written out."""
    is_short = not isinstance(build.value, dict | list)
    return Node({"context": build}, build.at, {"context": build.at}) if is_short else build


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
    is_of_network = path[:1] == ("networks",) and path[2:] in (("aliases",), ("link_local_ips",))
    identity = _name if is_of_network else _BY_IDENTITY.get(path)
    return both if identity is None else list({identity(node): node for node in both}.values())


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


def _started(node: Node) -> Node:
    """``depends_on`` by name alone means that the other has started."""
    if node.value is not None:
        return node
    return Node({"condition": Node("service_started", node.at)}, node.at, {"condition": node.at})
