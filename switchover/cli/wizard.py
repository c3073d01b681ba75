"""The wizard, with what it may not import itself handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.cli.trouble import WrongUse

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from switchover.plan.outline import StepName
    from switchover.plan.preview import PreviewAction


def wizard(options: argparse.Namespace) -> int:
    """Open the wizard on a plan, or on a folder's list of plans."""
    if not options.target.exists():
        raise WrongUse(f"{options.target} is not there; `switchover new` writes a plan, `switchover demo` shows one")
    return open_wizard(options.target)


def open_wizard(target: Path) -> int:
    """Open it, with the previews and the report that it may not make itself."""
    from switchover.tui.app import run

    return run(target, preview=preview, report=report)


def preview(path: Path, step: StepName) -> tuple[PreviewAction, ...]:
    """What a step will do; the adapters are imported the first time this is asked."""
    from switchover.steps.preview import preview_step

    return preview_step(path, step)


def report(path: Path) -> str:
    """The report as Markdown."""
    from switchover.plan.file import load
    from switchover.plan.progress import fold
    from switchover.report import make_report, markdown

    loaded = load(path)
    return markdown(make_report(loaded.spec, loaded.entries, fold(loaded.spec, loaded.entries)))
