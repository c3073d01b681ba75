"""The command line: parse, call, print. What a command needs is imported inside the command."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from switchover import __version__

STEPS = ("readiness", "rehearsal", "lower-ttl", "replicate", "window", "cutover", "verify", "finish")

EXITS = """exit codes:
  0  done, or yes            3  not yet: waits for time or a person
  1  no: failed or blocked   4  unknown: a person must look
  2  wrong use               5  another run holds the plan
"""


def run_command(argv: list[str]) -> int:
    """Run one command; returns its exit code and shows no traceback unless ``--debug`` is given."""
    parser = _parser()
    commands = set(_COMMANDS)
    words = [word for word in argv if not word.startswith("-")]
    if not {"-h", "--help", "--version"} & set(argv[:1]) and (not words or words[0] not in commands):
        argv = ["wizard", *argv]
    options = parser.parse_args(argv)
    module = import_module(f"switchover.cli.{_COMMANDS[options.command]}")
    from switchover.cli.trouble import told

    return told(lambda: getattr(module, options.command)(options), debug=options.debug)


_COMMANDS = {
    "wizard": "wizard",
    "new": "new",
    "check": "check",
    "run": "run",
    "rollback": "run",
    "checklist": "checklist",
    "attest": "say",
    "decide": "say",
    "status": "status",
    "report": "status",
    "runbook": "status",
    "schema": "status",
    "lint": "lint",
    "compare": "compare",
    "lag": "lag",
    "dns": "dns",
    "rollout": "rollout",
    "demo": "demo",
}


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    answers = argparse.ArgumentParser(add_help=False)
    answers.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else there")
    parser = argparse.ArgumentParser(
        prog="switchover",
        description="Move a live application and its PostgreSQL database to a new host, step by step, with proof.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"switchover {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, says: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=says, description=says, parents=[shared, *parents])

    def plan(to: argparse.ArgumentParser) -> argparse.ArgumentParser:
        to.add_argument("plan", type=Path, metavar="PLAN", help="the plan file")
        return to

    wizard = command("wizard", "the wizard; also: switchover [PLAN or FOLDER]")
    wizard.add_argument("target", type=Path, nargs="?", default=Path("plans"), metavar="PLAN or FOLDER")
    new = command("new", "ask, discover and write a commented plan")
    new.add_argument("name", nargs="?", metavar="NAME")
    plan(command("check", "read everything, change nothing", answers))
    run = plan(command("run", "run the steps up to the first hold"))
    run.add_argument("--through", choices=STEPS, metavar="STEP", help=f"stop after this step: {', '.join(STEPS)}")
    run.add_argument("--yes", action="store_true", help="say go where a person's go is asked for")
    run.add_argument("--events", action="store_true", help="one JSON line per event on stdout")
    back = plan(command("rollback", "undo or roll back, whichever the state allows, after a preview"))
    back.add_argument("--yes", action="store_true", help="do not ask for the plan's name")
    back.add_argument("--events", action="store_true", help="one JSON line per event on stdout")
    plan(command("checklist", "what production asks for, item by item, and what is signed", answers))
    attest = plan(command("attest", "sign a checklist item", answers))
    attest.add_argument("item", metavar="ITEM", help="the item's id")
    attest.add_argument("--note", required=True, help="the evidence, in a sentence")
    attest.add_argument("--link", default="", help="where the evidence is")
    attest.add_argument("--owner", default="", help="who answers for it, where that is somebody else")
    attest.add_argument("--expires", default="", metavar="DAY", help="the last day it holds: 2027-06-30, or 90d")
    decide = plan(command("decide", "answer a hold", answers))
    decide.add_argument("hold", metavar="HOLD", help="the hold's key, as `status` shows it")
    decide.add_argument("choice", choices=("go", "abort"))
    decide.add_argument("--note", default="", help="why")
    status = plan(command("status", "where every step stands, what is next, what it waits for", answers))
    status.add_argument("--follow", action="store_true", help="go on until the run ends")
    report = plan(command("report", "the report, from the journal alone"))
    report.add_argument("--format", default="md", choices=("md", "json"), help="md (default) or json")
    plan(command("runbook", "the recovery plan: what to do in every state, with and without this program"))
    command("schema", "the JSON Schema of the plan file, for editors")
    lint = command("lint", "hold Compose or stack files against what production asks of them", answers)
    lint.add_argument("files", nargs="*", type=Path, metavar="FILE", help="several are merged, as Compose does it")
    lint.add_argument("--plan", type=Path, metavar="PLAN", help="files and what is said of them: the plan's [compose]")
    lint.add_argument("--dialect", choices=("stack", "compose"), help="who deploys it (default: what the file shows)")
    lint.add_argument("--env-file", type=Path, metavar="FILE", help="variables (default: .env beside the first file)")
    lint.add_argument("--root", type=Path, metavar="FOLDER", help="where files that are named in FILE have to lie")
    lint.add_argument(
        "--startup", action="append", default=[], metavar="[SERVICE=]TIME", help="how long a start takes, such as 20s"
    )
    lint.add_argument("--format", default="text", choices=("text", "json", "sarif", "junit"))
    lint.add_argument("--explain", action="store_true", help="the table of rules, and nothing else")
    compare = command("compare", "compare two databases exactly", answers)
    compare.add_argument("source", metavar="SOURCE", help="conninfo or URI")
    compare.add_argument("target", metavar="TARGET", help="conninfo or URI")
    compare.add_argument("--any-partitions", action="store_true", help="rows of partitioned tables as a whole")
    compare.add_argument("--jobs", type=int, default=2, metavar="N", help="sessions on each side (default: 2)")
    lag = plan(command("lag", "how the live copy follows: asked of both servers, changes nothing", answers))
    lag.add_argument("--watch", type=float, nargs="?", const=0.0, metavar="S", help="look again and again, every S s")
    dns = command("dns", "who decides about a name, what each address serves, when caches have forgotten", answers)
    dns.add_argument("names", nargs="*", metavar="NAME")
    dns.add_argument("--plan", type=Path, metavar="PLAN", help="the plan's names, and what it expects of them by now")
    dns.add_argument("--at", metavar="SERVER", help="the one resolver to ask: ip, tls://ip#name or https://host/path")
    dns.add_argument("--watch", type=float, nargs="?", const=0.0, metavar="S", help="look again and again, every S s")
    dns.add_argument("--port", type=int, default=53, help="port of the authoritative servers (for labs)")
    rollout = command("rollout", "simulate a rolling update of a Swarm service: what is lost, what to change", answers)
    rollout.add_argument("file", type=Path, metavar="FILE", help="the Compose file of the stack")
    rollout.add_argument("service", metavar="SERVICE", help="the service's name in it")
    rollout.add_argument("--startup", metavar="20s", help="from a container's start to its first answer")
    rollout.add_argument("--stop", metavar="1s", help="from the signal to the end of a container (default: 1s)")
    rollout.add_argument("--poll", metavar="15s", help="how often Traefik asks Docker (default: the file's, or 15s)")
    rollout.add_argument(
        "--first-check",
        choices=("after-interval", "at-once"),
        default="after-interval",
        help="Traefik's first check of a server it has just seen: after one interval (v3, default) or at once (v2)",
    )
    rollout.add_argument(
        "--image",
        choices=("works", "exits", "refuses", "hangs"),
        default="works",
        help="what the new image does in the chart (default: works)",
    )
    demo = command("demo", "a real migration on this machine: two PostgreSQL versions, DNS, two web applications")
    demo.add_argument("--auto", action="store_true", help="headless, to the report")
    demo.add_argument("--keep", action="store_true", help="keep the lab's folder")
    return parser


def say(text: str) -> None:
    """Print on stdout; a terminal that has gone away is no reason to stop."""
    _write(sys.stdout, text)


def tell(text: str) -> None:
    """Print on stderr."""
    _write(sys.stderr, text)


_gone: set[int] = set()


def _write(stream: object, text: str) -> None:
    if id(stream) in _gone:
        return
    try:
        print(text, file=stream, flush=True)  # type: ignore[call-overload]
    except OSError:
        _gone.add(id(stream))
