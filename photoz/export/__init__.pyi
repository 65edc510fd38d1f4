from .catalogue import export_catalogue, find_format, locate_export

__all__ = ["export_catalogue", "find_format", "locate_export"]
