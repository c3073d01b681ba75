"""A transaction of which no log and no statistics keep the words, for statements that may hold a password."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from psycopg import AsyncConnection

_SILENT: Mapping[str, str] = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
    "pg_stat_statements.track_utility": "off",
    "pgaudit.log": "none",
}
"""Only a superuser may set them; for others the server's log may hold the words (``limits`` says so)."""

_SET = """
SELECT set_config(s.name, w.value, true) FROM unnest(%s::text[], %s::text[]) AS w(name, value)
JOIN pg_settings s ON s.name = w.name
"""


@asynccontextmanager
async def unlogged(session: AsyncConnection) -> AsyncIterator[None]:
    """Run what is inside in a transaction whose statements go into no log, as far as we may decide it."""
    async with session.transaction():
        if session.info.parameter_status("is_superuser") == "on":
            await session.execute(_SET, (list(_SILENT), list(_SILENT.values())))
        yield
