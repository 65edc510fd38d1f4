"""The overview of a catalogue as files: one HTML page, its figures, and all numbers as JSON."""

from photoz.overview.examples import Examples
from photoz.overview.overview import Overview
from photoz.report.overview_figures import draw_overview
from photoz.report.overview_tables import (
    choose_examples,
    describe_outside,
    format_share,
    make_example_rows,
    make_flag_rows,
    make_magnitude_rows,
    make_main_rows,
    make_nz_rows,
    make_range_rows,
    make_run_rows,
    summarize_overview,
)
from photoz.report.plates import Picture, write_bytes, write_plate
from photoz.report.provenance import format_settings
from photoz.report.template import render_template
from photoz.settings.config import Config
from photoz.storage import join, write_json

FOLDER = "overview"
"""Of the overview's files, within ``locations.report``."""


def write_overview(config: Config, overview: Overview) -> str:
    """Write ``index.html``, ``overview.json`` and ``figures/*.png`` into the folder ``overview`` of the report's.

    Parameters
    ----------
    config : Config
        ``locations.report``; ``evaluation.vector_figures`` adds each figure as PDF.
    overview : Overview

    Returns
    -------
    str
        Location of the page, which needs no other file and asks nothing of the network. Files of an earlier overview
        are replaced, each in one step.
    """
    folder = join(config.locations.report, FOLDER)
    shown = choose_examples(overview.sums)
    pictures = {
        plate.name: write_plate(join(folder, "figures"), plate, as_pdf=config.evaluation.vector_figures)
        for plate in draw_overview(overview, shown)
    }
    write_json(join(folder, "overview.json"), summarize_overview(overview, shown))
    # The page last: who finds it finds the files of the same run beside it.
    page = join(folder, "index.html")
    write_bytes(page, render_overview(overview, shown, pictures, name=config.run.name).encode())
    return page


def format_overview(overview: Overview) -> str:
    """Format the main figures as lines of text."""
    sums = overview.sums
    lines = [
        f"catalogue: {overview.plan.catalogue}, {sums.rows:,} rows in {len(overview.plan.partitions):,} partitions",
        f"with a redshift: {format_share(sums.estimated, sums.rows)}",
        f"outside the training sample: {describe_outside(sums)}",
    ]
    return "\n".join([*lines, f"magnitudes and colours: {overview.problem}"] if overview.problem else lines)


def render_overview(overview: Overview, shown: Examples, pictures: dict[str, Picture], *, name: str) -> str:
    """Render the page, which needs no other file.

    Parameters
    ----------
    overview : Overview
    shown : Examples
        Galaxies whose p(z) is drawn.
    pictures : dict of str to Picture
        By name.
    name : str
        Of the run, for the title.

    Returns
    -------
    str
        HTML.
    """
    sums = overview.sums
    return render_template(
        "photoz.report",
        template="overview.html",
        name=name,
        main=make_main_rows(overview),
        measured=sums.measured,
        flagged=sums.outside,
        outside=describe_outside(sums),
        problem=overview.problem,
        ranges=make_range_rows(overview),
        training_rows=overview.model.ranges.rows if overview.model.ranges else 0,
        source_rows=overview.counts.rows if overview.counts else 0,
        magnitudes=make_magnitude_rows(sums),
        without_magnitude=sums.rows - sums.with_magnitude,
        nz=make_nz_rows(overview),
        shown=make_example_rows(shown),
        algorithm=overview.plan.algorithm,
        flags=make_flag_rows(sums),
        pictures=pictures,
        runs=make_run_rows(overview),
        recorded=overview.run.started is not None,
        all_settings=format_settings(overview.run.config) if overview.run.config else "",
    )
