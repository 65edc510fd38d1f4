from .page import write_comparison
from .plain import PlainCatalogue, read_plain_catalogue
from .run import Outcome, Result, compare_estimators
from .settings import Comparison

__all__ = [
    "Comparison",
    "Outcome",
    "PlainCatalogue",
    "Result",
    "compare_estimators",
    "read_plain_catalogue",
    "write_comparison",
]
