"""A view read by PostgreSQL 15 and by a later server is worded alike, and two different views are not."""

from __future__ import annotations

import pytest

from switchover.postgres.viewdef import unqualified

ALIKE = {
    " SELECT t.a, t.b FROM s.t;": " SELECT a, b FROM s.t;",
    " SELECT x.a FROM s.t x WHERE (x.a > 1) ORDER BY x.a;": " SELECT a FROM s.t x WHERE (a > 1) ORDER BY a;",
    ' SELECT "T.x".a FROM "T.x" TABLESAMPLE system (5);': ' SELECT a FROM "T.x" TABLESAMPLE system (5);',
    " SELECT t.a FROM t.t WHERE (EXISTS ( SELECT u.a FROM s.u WHERE (u.a = t.a)));": " SELECT a FROM t.t "
    "WHERE (EXISTS ( SELECT u.a FROM s.u WHERE (u.a = a)));",
    " SELECT EXTRACT(year FROM t.d) AS y, t.a FROM s.t;": " SELECT EXTRACT(year FROM d) AS y, a FROM s.t;",
    " SELECT f.f FROM generate_series(1, 2) f(f);": " SELECT f FROM generate_series(1, 2) f(f);",
    " WITH w AS ( SELECT t.a FROM s.t, s.u ) SELECT w.a FROM w;": " WITH w AS ( SELECT t.a FROM s.t, s.u ) "
    "SELECT a FROM w;",
    " SELECT 't.a FROM x'::text AS c, t.d FROM s.t;": " SELECT 't.a FROM x'::text AS c, d FROM s.t;",
}
AS_THEY_ARE = [
    " SELECT t.a FROM s.t, s.u;",
    " SELECT t.a FROM (s.t JOIN s.u ON (true));",
    " SELECT t.a FROM s.t JOIN s.u ON true;",
    " SELECT t.a FROM s.t UNION SELECT u.a FROM s.u;",
    " SELECT 1 AS one;",
]


@pytest.mark.parametrize("older", ALIKE)
def test_the_only_relation_of_a_view_qualifies_no_column(older: str) -> None:
    assert unqualified(older) == ALIKE[older]


@pytest.mark.parametrize("newer", ALIKE.values())
def test_what_is_worded_so_stays(newer: str) -> None:
    assert unqualified(newer) == newer


@pytest.mark.parametrize("definition", AS_THEY_ARE)
def test_several_relations_and_none_are_left_as_they_are(definition: str) -> None:
    assert unqualified(definition) == definition
