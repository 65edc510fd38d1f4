"""A figure of a page: its files, and itself within the page."""

from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.figure import Figure

from photoz.plots.style import render_pdf, render_png
from photoz.report.template import encode_png
from photoz.storage import join, open_atomic

_COLOURS = 256  # of a figure; those of photographs are left as they are


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure of the report: the name of its file, its heading, its caption and the figure itself.

    ``photograph`` tells that it holds images, whose colours a page on dark ground must leave alone.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    photograph: bool = False


class Picture(NamedTuple):
    """A figure as the page shows it; ``source`` is a data URI, width and height its proportions.

    ``photograph``: its colours are left alone on dark ground.
    """

    name: str
    title: str
    caption: str
    source: str
    width: int
    height: int
    photograph: bool = False


def write_plate(folder: str, plate: Plate, *, as_pdf: bool) -> Picture:
    """Write a figure's files.

    Parameters
    ----------
    folder : str
        Of the figures.
    plate : Plate
    as_pdf : bool
        Write it as PDF beside the PNG.

    Returns
    -------
    Picture
        The PNG, to stand in the page.
    """
    # A page of ten estimators would else pass what a mail or a browser's memory takes.
    image = render_png(plate.figure, colours=None if plate.photograph else _COLOURS)
    # Only their ratio counts: the browser keeps the place while the image loads.
    width, height = (round(100 * inches) for inches in plate.figure.get_size_inches())
    write_bytes(join(folder, f"{plate.name}.png"), image)
    if as_pdf:
        write_bytes(join(folder, f"{plate.name}.pdf"), render_pdf(plate.figure))
    source = encode_png(image)
    return Picture(plate.name, plate.title, plate.caption, source, width, height, photograph=plate.photograph)


def write_bytes(location: str, content: bytes) -> None:
    """Write a file in one step."""
    with open_atomic(location) as file:
        file.write(content)
