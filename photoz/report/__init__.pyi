from .tables import format_metrics, format_table
from .writer import write_report

__all__ = ["format_metrics", "format_table", "write_report"]
