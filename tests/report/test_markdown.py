"""The report as text: every section, and nothing from outside that acts as markup."""

from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from switchover.plan.journal import What
from switchover.plan.outline import StepName
from switchover.report.escape import code, escape, said
from tests.report.conftest import Story

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; &#60;i>",
    "[click](javascript:alert(1)) ![x](http://x/y.png) <http://x>",
    "a | b || c \\| d \\\\| e",
    "`code` ``` ~~~ *b* __i__ ~~s~~ # h",
    "line\n\n# heading\n\n| a |\n| --- |\n| b |",
    "\x1b]0;x\x07\u202eoverride\u200b",
    "--- === + x",
]


def html(text: str) -> str:
    """As a renderer shows it that lets raw HTML through."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def shown(text: str) -> str:
    """One paragraph as a person sees it."""
    inner = re.fullmatch(r"<p>([^<]*)</p>\n", html(text))
    assert inner is not None, html(text)
    return unescape(inner[1])


@pytest.mark.parametrize("text", [*HOSTILE, "1. x", "12) y", "- z", "+ z", "=====", "-----", "0.25 s", "a_b_c", "-1"])
def test_escaped_text_is_shown_as_it_is_on_one_line(text: str) -> None:
    cleaned = " ".join(re.sub(r"[\x00-\x08\x0b-\x1f\u200b\u202e]", "", text).split())

    assert shown(escape(text)) == cleaned


def test_numbers_and_addresses_stay_readable_in_the_raw_text() -> None:
    assert [escape(text) for text in ("0.25 s", "198.51.100.20", "2026-12-05 22:00:00 -05:00", "-1")] == [
        "0.25 s",
        "198.51.100.20",
        "2026-12-05 22:00:00 -05:00",
        "-1",
    ]


def test_a_code_span_cannot_be_left() -> None:
    assert html(code("a`<b>`c\n\nd")) == "<p><code>a&lt;b&gt;c d</code></p>\n"
    assert code("") == "unknown"


def test_values_are_said_in_words() -> None:
    assert said([]) == ""
    assert (
        said({"ok": True, "names": ["a", "b"], "none": None, "rows": [{"n": 1}]})
        == "ok: yes; names: a, b; rows: (n: 1)"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_anywhere_in_the_journal_changes_no_structure(story: Story, text: str) -> None:
    """The same story told with harmless words has the same tags, table by table."""

    def tags(word: str) -> list[str]:
        told = Story(who=word)
        told.prepare()
        told.begin(StepName.CUTOVER, word, "open-target")
        told.tell(StepName.CUTOVER, What.INTENT, word, before={})
        told.act(StepName.CUTOVER, "open-target", servers=[{"host": word, "at": word}], changes=[{"table": word}])
        told.act(
            StepName.CUTOVER, "open-target", comparison={"verdict": word, "differing": [word, word]}, odd={"x": word}
        )
        told.tell(StepName.CUTOVER, What.FAILED, word, reason=word)
        told.tell(StepName.CUTOVER, What.FAILED, reason=word)
        told.tell(StepName.CUTOVER, What.DECIDED, hold=word, choice=word, note=word)
        summary = {"total_s": 1.0, "samples": 4, "outages": [{"start": word, "end": word, "reason": word}]}
        told.tell(StepName.CUTOVER, What.EVIDENCE, kind="outage", file=word, sha256=word, summary=summary)
        told.tell("", What.RECOVERED, file=word, bytes=1)
        return re.findall(r"<[^>]*>", html(told.markdown()))

    assert tags(text) == tags("word")


def test_keys_from_outside_cannot_break_a_tables_head(story: Story) -> None:
    story.begin(StepName.CUTOVER, "x")
    story.act(StepName.CUTOVER, "x", servers=[{"a | <b>": "c"}])

    assert "<th>a | &lt;b&gt;</th>" in html(story.markdown())


def test_every_section_is_there_in_a_finished_report(finished: Story) -> None:
    titles = re.findall(r"^## (.+)$", finished.markdown(), re.MULTILINE)

    assert titles == [
        "Proved",
        "How long writes were paused, and how long until clients reached the other host",
        "Outage",
        "Rows written on the target since it opened",
        "Durations",
        "Comparison",
        "Timeline",
        "DNS, address by address",
        "What each action found",
        "What of the plan each step relied on",
        "Side files of the outage meter",
    ]


def test_the_headline_comes_first_and_the_chain_is_not_called_signed(finished: Story) -> None:
    text = finished.markdown()

    assert text.startswith("# acme-shop\n\n**Done: users are on the new host, and every step is proved.**\n")
    assert f"head of chain `{finished.entries[-1].chain}`" in text
    assert "shows accidents, not forgery; it is no signature" in text


def test_times_are_shown_in_the_plans_zone_which_is_said_once(finished: Story) -> None:
    text = finished.markdown()

    assert "Times are in America/Toronto." in text
    assert text.count("America/Toronto") == 1
    assert "| 2026-12-05 22:00:00 -05:00 |" in text
    assert not re.search(r"\| 2026-12-06", text)


def test_the_outage_is_stated_to_a_quarter_and_for_whom(finished: Story) -> None:
    text = finished.markdown()

    assert "each end known to 0.25 s" in text
    assert "a cache that held the old address may have kept its users out for up to 1m more" in text


def test_rows_not_counted_are_unknown_and_counted_none_is_none(story: Story) -> None:
    story.prepare()
    assert "Rows written" not in story.markdown()
    story.cut_over()
    assert "Not counted: unknown." in story.markdown()
    story.verify(written=())
    assert "None was found." in story.markdown()


def test_dns_is_shown_server_by_server(finished: Story) -> None:
    row = "ns1.example.com | 192.0.2.53 | ok | 198.51.100.20 | 60 | 2026-12-05 22:00:20 -05:00 |"

    assert f"| cutover | set-address | {row}" in finished.markdown()
