"""The figures of an overview, in its order, with their captions."""

from collections.abc import Iterator, Sequence

import numpy as np

from photoz.evaluate.skymap import SkyMap
from photoz.nz.distribution import Floats
from photoz.overview.examples import Examples
from photoz.overview.overview import Overview
from photoz.overview.sums import CatalogueSums, Kind
from photoz.plots.catalogue import SkyCounts, plot_sky, plot_sky_share
from photoz.plots.overview import plot_examples, plot_outside, plot_ranges, plot_stack
from photoz.report.overview_tables import make_titles
from photoz.report.plates import Plate

_LEAST_IN_CELL = 50  # mean galaxies a cell of the map of the share outside, so that it shows no noise of a few per cent


def draw_overview(overview: Overview, shown: Examples) -> Iterator[Plate]:
    """Draw the figures of an overview, one at a time.

    Parameters
    ----------
    overview : Overview
    shown : Examples
        Galaxies whose p(z) is drawn.

    Yields
    ------
    Plate
        What the catalogue does not have is not drawn: distances from the training sample, magnitudes, p(z).
    """
    sums = overview.sums
    partitions = [(partition.order, partition.pixel) for partition in overview.plan.partitions]
    if sums.measured:
        yield from _draw_outside(sums, partitions)
    yield from _draw_ranges(overview)
    yield Plate("nz", "Redshift distribution", _caption_nz(sums, overview.plan.algorithm), plot_stack(sums))
    if sums.with_pdf:
        yield Plate(
            "examples",
            "p(z) of some galaxies",
            "At the 10, 50 and 90 % quantiles of z_phot, from left to right: above, the galaxy with the narrowest "
            "p(z), relative to 1 + z_phot, in its step of 0.02; in the middle, one drawn at random; below, the "
            "broadest. None of them is flagged OUTSIDE_TRAINING; where any galaxy is, one of these takes the last "
            "place. Filled: the central 68 %; vertical line: z_phot.",
            plot_examples(shown, make_titles(shown)),
        )
    sky = sums.sky.finish()
    yield Plate(
        "sky",
        "Sky coverage",
        f"Surface density of the catalogue in HEALPix cells of order {sky.order}; the outlines are its "
        f"{len(partitions):,} partition{'s' * (len(partitions) != 1)}, one file each.",
        plot_sky(SkyCounts(sky.order, sky.cells, sky.counts, partitions)),
    )


def _draw_outside(sums: CatalogueSums, partitions: Sequence[tuple[int, int]]) -> Iterator[Plate]:
    yield Plate(
        "outside",
        "Galaxies outside the training sample",
        "Share flagged OUTSIDE_TRAINING by total magnitude and by z_phot, with errors that hold 68 % of the "
        "probability; right, the distance from the training sample, in units of that beyond which the flag is set "
        "(dashed). What is too far for the axis counts in its last bin.",
        plot_outside(sums),
    )
    measured, share_C = compute_sky_share(sums)
    cells = SkyCounts(measured.order, measured.cells, measured.counts, partitions)
    yield Plate(
        "sky-outside",
        "Where on the sky",
        f"Share flagged OUTSIDE_TRAINING in HEALPix cells of order {measured.order}, of {_LEAST_IN_CELL} galaxies or "
        "more on average. What stands out in one place hints at its observing conditions or calibration.",
        plot_sky_share(cells, share_C, "outside training [%]"),
    )


def _draw_ranges(overview: Overview) -> Iterator[Plate]:
    ranges, counts = overview.model.ranges, overview.counts
    if ranges is None or counts is None:
        return
    # One band has no colour.
    for name in ("magnitudes", "colours")[: len(ranges.bands)]:
        yield Plate(
            name,
            f"{name.capitalize()} of the target and of the training sample",
            "Grey: training sample; blue: target; each normalised to its own number, those with a value. Dashed: the "
            "training sample’s 1 and 99 % quantiles. What lies beyond them is extrapolated.",
            plot_ranges(ranges, counts, colours=name == "colours"),
        )


def _caption_nz(sums: CatalogueSums, algorithm: str) -> str:
    stacked = (
        f"Blue: p(z) of {algorithm}, stacked over {sums.stacked:,} galaxies: what is expected of the true redshifts "
        "where p(z) is calibrated for galaxies like these."
        if sums.with_pdf
        else "There is no p(z) to stack."
    )
    return f"Grey: z_phot of {int(sums.by_redshift_LZ[Kind.ROWS].sum()):,} galaxies. {stacked}"


def compute_sky_share(sums: CatalogueSums) -> tuple[SkyMap, Floats]:
    """Compute the share outside in each cell of the map of the galaxies whose distance was measured."""
    measured = sums.sky_measured.finish(least_in_cell=_LEAST_IN_CELL)
    outside = sums.sky_outside
    # Those outside are among those measured, whose map is never finer.
    while outside.order > measured.order:
        outside = outside.coarsen()
    counts = np.zeros(len(measured.cells))
    counts[np.searchsorted(measured.cells, outside.cells)] = outside.counts
    return measured, counts / measured.counts
