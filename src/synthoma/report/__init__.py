"""The report: one self-contained HTML file that shows a cohort, what was made from it, and how well."""

from synthoma.report.content import ReportContent, read_log
from synthoma.report.page import write_report

__all__ = ["ReportContent", "read_log", "write_report"]
