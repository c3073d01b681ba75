"""A verdict as the documents that other programs read: JSON, SARIF 2.1.0, JUnit; the large ones line by line."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchover.readiness.compose.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from switchover.readiness.compose.lint import Verdict
    from switchover.readiness.compose.rule import Finding, Rule

_ROWS = "rows"
"""Stands in a document for the findings."""
_LEVELS = {"error": "error", "warn": "warning", "info": "note"}


def as_json(verdict: Verdict) -> Iterator[str]:
    """Our own document; ``version`` rises when a reader has to change."""
    document = {
        "version": 1,
        "dialect": verdict.dialect,
        "dialect_why": verdict.dialect_why,
        "clean": verdict.is_clean,
        "services": verdict.services,
        "inactive": list(verdict.inactive),
        "findings": _ROWS,
    }
    return _written(document, (_as_json(finding) for finding in verdict.findings))


def _written(document: dict[str, Any], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The lines of the document, with the rows in their place, one a line."""
    head, tail = json.dumps(document, indent=2).split(json.dumps(_ROWS))
    yield head + "["
    before = ""
    for row in rows:
        if before:
            yield before + ","
        before = json.dumps(row)
    if before:
        yield before
    yield "]" + tail


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.rule.id,
        "severity": finding.severity,
        "service": finding.service,
        "path": finding.path,
        "evidence": finding.evidence,
        "why": finding.rule.why,
        "mend": finding.rule.mend,
        "seed": finding.rule.seed,
        "file": finding.at.file,
        "line": finding.at.line,
        "column": finding.at.column,
        "accepted": finding.accepted,
    }


def as_sarif(verdict: Verdict, version: str) -> Iterator[str]:
    """SARIF 2.1.0; accepted findings are results with a suppression."""
    rules = [rule for rule in RULES if rule.severity(verdict.dialect) is not None]
    index = {rule.id: number for number, rule in enumerate(rules)}
    driver = {
        "name": "switchover",
        "version": version,
        "rules": [_sarif_rule(rule, _LEVELS[rule.severity(verdict.dialect) or "info"]) for rule in rules],
    }
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": _ROWS}],
    }
    return _written(document, (_sarif_result(finding, index[finding.rule.id]) for finding in verdict.findings))


def _sarif_rule(rule: Rule, level: str) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.id.replace("-", " ")},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": list(rule.seeds)},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    at = finding.at
    region = {"startLine": at.line, "startColumn": at.column, "endColumn": max(at.end, at.column + 1)}
    identity = f"{finding.rule.id} {finding.path}".encode()
    result: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.service}: {finding.evidence}" if finding.service else finding.evidence},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(at.file)}, "region": region}}],
        "partialFingerprints": {"ruleAndPath/v1": hashlib.sha256(identity).hexdigest()},
    }
    if finding.accepted:
        result["suppressions"] = [{"kind": "external", "justification": finding.accepted}]
    return result


@cache
def _uri(file: str) -> str:
    return Path(file).absolute().as_uri()


def as_junit(verdict: Verdict) -> str:
    """One test case for every rule and service that has something to say; errors fail, the rest is output."""
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    cases: dict[tuple[str, str], list[Finding]] = {}
    for finding in verdict.findings:
        cases.setdefault((finding.service or "file", finding.rule.id), []).append(finding)
    suite = Element("testsuite", name="switchover lint")
    failures = skipped = 0
    for (service, rule), findings in sorted(cases.items()):
        case = SubElement(suite, "testcase", classname=service, name=rule)
        text = "\n".join(f"{finding.at}: {finding.evidence}" for finding in findings)
        standing = [finding for finding in findings if not finding.accepted]
        if not standing:
            skipped += 1
            SubElement(case, "skipped", message=findings[0].accepted)
        elif any(finding.severity == "error" for finding in standing):
            failures += 1
            SubElement(case, "failure", message=standing[0].evidence, type=rule).text = text
        else:
            SubElement(case, "system-out").text = text
    if not cases:
        SubElement(suite, "testcase", classname="file", name="every rule")
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    suite.set("skipped", str(skipped))
    indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode")
