"""A restore words some definitions otherwise than they were first written; both are one."""

from __future__ import annotations

from switchover.postgres.wording import folded, pushed


def test_a_cast_of_a_list_is_pushed_to_its_elements() -> None:
    first = "CHECK (((a)::text = ANY ((ARRAY['x'::character varying, 'y,]'::character varying])::text[])))"
    again = "CHECK (((a)::text = ANY (ARRAY[('x'::character varying)::text, ('y,]'::character varying)::text])))"
    assert pushed(first) == pushed(again) == again


def test_brackets_quotes_and_lists_without_a_cast_are_left() -> None:
    for text in ("(ARRAY[1, 2])", "(ARRAY['it''s', ']'])[1]", "x (ARRAY[", "(ARRAY['a"):
        assert pushed(text) == text
    assert pushed("(ARRAY[f(a, b), ARRAY[1]])::bigint[]") == "ARRAY[(f(a, b))::bigint, (ARRAY[1])::bigint]"


def test_white_space_is_folded_outside_quotes_alone() -> None:
    assert folded(" SELECT 'a  b',\n   \"c  d\"\tFROM  t ") == "SELECT 'a  b', \"c  d\" FROM t"
