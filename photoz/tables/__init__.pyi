from .base import Table, TablePart
from .open import open_table

__all__ = ["Table", "TablePart", "open_table"]
