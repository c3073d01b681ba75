"""``demo``: the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def demo(options: argparse.Namespace) -> int:
    """Run the lab in the wizard, or headless with ``--auto``."""
    from switchover.cli.wizard import open_wizard
    from switchover.demo.auto import run_demo

    return run_demo(auto=options.auto, keep=options.keep, wizard=open_wizard)
