"""Exporting a catalogue: which format, where to, and the file, whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from photoz.errors import ConfigError
from photoz.export.fits import write_fits
from photoz.export.hdf5 import write_qp, write_rail
from photoz.export.parquet import write_parquet
from photoz.export.rows import select_rows
from photoz.export.settings import Export, Format
from photoz.export.text import write_csv
from photoz.storage import open_atomic

_ENDINGS: dict[Format, tuple[str, ...]] = {
    "fits": (".fits", ".fit"),
    "csv": (".csv",),
    "parquet": (".parquet", ".pq"),
    "qp": (".hdf5",),
    "rail": (".hdf5",),
}
_STREAMED = {"fits": write_fits, "csv": write_csv, "parquet": write_parquet}


@dataclass(frozen=True)
class Exported:
    """A file that was written: where, as what, and of how many rows."""

    location: str
    format: Format
    rows: int


def export_catalogue(catalogue: str, settings: Export) -> Exported:
    """Export a finished catalogue, or some of its rows and columns, as one file.

    A partition is held at a time. HDF5 is written in the folder for temporary files first (``TMPDIR``), since it is not
    written from beginning to end.

    Parameters
    ----------
    catalogue : str
        A photo-z catalogue (HATS), or any other that `photoz.catalogue.hats` reads.
    settings : Export

    Returns
    -------
    Exported

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it does not fit the format.
    ConfigError
        A setting makes no sense, or the file would lie within the catalogue.
    """
    kind, output = find_format(settings), locate_export(catalogue, settings)
    # The audit would find a file there that nobody lists, and the next run may remove it.
    if f"{output.rstrip('/')}/".startswith(f"{catalogue.rstrip('/')}/"):
        raise ConfigError(f"export.output = {output!r} lies within the catalogue {catalogue!r}: choose another place")
    # An ensemble has no row that says "none".
    if kind == "qp":
        settings = msgspec.structs.replace(settings, estimated=True, columns=())
    selection = select_rows(catalogue, settings)
    if kind in _STREAMED:
        with open_atomic(output) as file:
            return Exported(output, kind, _STREAMED[kind](selection, file))
    with _open_local(output) as name:
        rows = write_qp(selection, name, settings) if kind == "qp" else write_rail(selection, name)
    return Exported(output, kind, rows)


def find_format(settings: Export) -> Format:
    """Find the format that the settings ask for, by the ending of the file where they do not say.

    Raises
    ------
    ConfigError
        The ending is that of no format, or of several.

    Examples
    --------
    >>> find_format(Export(output="galaxies.csv")), find_format(Export())
    ('csv', 'fits')
    """
    if settings.format:
        _refuse_other_ending(settings.output, settings.format)
        return settings.format
    if not settings.output:
        return "fits"
    found = [kind for kind, endings in _ENDINGS.items() if settings.output.lower().endswith(endings)]
    if len(found) != 1:
        raise ConfigError(
            f"export.output = {settings.output!r} does not tell the format: set export.format to one of "
            f"{list(found or get_args(Format))}"
        )
    return found[0]


def _refuse_other_ending(output: str, kind: Format) -> None:
    # Most likely the name of another file, which would be replaced.
    other = next((name for name, endings in _ENDINGS.items() if output.lower().endswith(endings)), kind)
    if other != kind and not output.lower().endswith(_ENDINGS[kind]):
        raise ConfigError(
            f"export.output = {output!r} ends as {other}, and export.format = {kind!r}: give a name that ends with "
            f"{_ENDINGS[kind][0]}, or leave export.format out"
        )


def locate_export(catalogue: str, settings: Export) -> str:
    """Return the file of an export: ``export.output``, or the catalogue's name with the ending of the format."""
    kind = find_format(settings)
    ending = f"_{kind}{_ENDINGS[kind][0]}" if kind in ("qp", "rail") else _ENDINGS[kind][0]
    return settings.output or f"{catalogue.rstrip('/')}{ending}"


@contextmanager
def _open_local(location: str) -> Iterator[str]:
    """Yield the name of a local file, whose content becomes the location's when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder, "part.hdf5")
        yield str(name)
        with name.open("rb") as source, open_atomic(location) as target:
            shutil.copyfileobj(source, target, 1 << 22)
