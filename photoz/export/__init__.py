"""A finished catalogue, or some of its rows and columns, as one file that other programs read."""

from photoz.export.catalogue import export_catalogue, find_format, locate_export

__all__ = ["export_catalogue", "find_format", "locate_export"]
