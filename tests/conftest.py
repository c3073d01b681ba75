"""Coroutine tests run by ``asyncio.run``, with their fixtures; no plugin needed."""

from __future__ import annotations

import asyncio
import inspect
import signal

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start, also where a shell in the background had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    asyncio.run(function(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True
