from .base import Table, TablePart
from .check import Checked, check_columns
from .columns import choose_columns
from .convert import Converted, convert, open_survey_table, read_sources
from .load import list_surveys, load_survey
from .open import open_table
from .settings import TableSurvey

__all__ = [
    "Checked",
    "Converted",
    "Table",
    "TablePart",
    "TableSurvey",
    "check_columns",
    "choose_columns",
    "convert",
    "list_surveys",
    "load_survey",
    "open_survey_table",
    "open_table",
    "read_sources",
]
