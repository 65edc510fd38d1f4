"""The accuracy report: one self-contained HTML page, its figures as files, and the figures of merit as JSON and CSV."""

from photoz.report.tables import format_metrics, format_table
from photoz.report.writer import write_report

__all__ = ["format_metrics", "format_table", "write_report"]
