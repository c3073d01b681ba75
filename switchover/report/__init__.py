"""The report: facts from the journal alone, as Markdown and JSON."""

from switchover.report.facts import Report, as_json, make_report
from switchover.report.markdown import markdown

__all__ = ["Report", "as_json", "make_report", "markdown"]
