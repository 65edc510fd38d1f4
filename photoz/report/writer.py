"""Write a report's files."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from photoz.errors import PhotozError
from photoz.evaluate.evaluation import Accuracy
from photoz.evaluate.examples import read_shown
from photoz.evaluate.systematics import measure_systematics
from photoz.report.figures import draw_plates
from photoz.report.page import render_page
from photoz.report.plates import write_bytes, write_plate
from photoz.report.selection import draw_selection, make_selection_rows
from photoz.report.shown import draw_shown, make_shown_rows
from photoz.report.summary import make_summary
from photoz.report.tables import format_metrics
from photoz.settings.config import Config
from photoz.storage import join, list_folder, read_json, write_json

logger = logging.getLogger(__name__)

Histories = dict[str, Sequence[Mapping[str, Any]]]


def write_report(config: Config, accuracy: Accuracy) -> str:
    """Write ``index.html``, ``metrics.json``, ``metrics.csv`` and ``figures/*.png`` into ``locations.report``.

    Parameters
    ----------
    config : Config
    accuracy : Accuracy

    Returns
    -------
    str
        Location of the page. Files of an earlier report are replaced, each in one step.

    Notes
    -----
    ``evaluation.vector_figures`` adds each figure as PDF. The page needs no other file and asks nothing of the network.
    """
    report, settings = config.locations.report, config.evaluation
    # Everything is measured before a file is replaced, so that damaged data leave the earlier report as it was.
    measured = {result.label: measure_systematics(config, result, accuracy.galaxies) for result in accuracy.results}
    size, survey = config.training.cutout_size, config.survey
    shown = read_shown(accuracy, config.locations.tiles, survey.image_bands, size=size, seed=config.run.seed)
    # Generators: each figure is drawn when it is written, so that one is in memory and not all.
    plates = chain(
        draw_plates(accuracy, settings.colour, read_histories(config.locations.training)),
        draw_shown(shown, width=size * survey.pixel_scale),
        draw_selection(measured, survey.mag_auto_band),
    )
    pictures = [write_plate(join(report, "figures"), plate, as_pdf=settings.vector_figures) for plate in plates]
    summary = make_summary(accuracy, measured, config.run, sample=settings.sample, resamples=settings.resamples)
    write_json(join(report, "metrics.json"), summary)
    write_bytes(join(report, "metrics.csv"), format_metrics(accuracy).encode())
    # The page last: who finds it finds the files of the same run beside it.
    page = join(report, "index.html")
    text = render_page(config, accuracy, pictures, make_selection_rows(measured), shown=make_shown_rows(shown))
    write_bytes(page, text.encode())
    return page


def read_histories(training: str) -> Histories:
    """Read the training histories ``<training>/history-<name>.json``; one that cannot be read is left out.

    Returns
    -------
    dict of str to sequence of mapping
        By name, one mapping an epoch; empty when there are none.
    """
    histories: Histories = {}
    # A catalogue that is measured on a table of redshifts may have no training set; "" would be the working folder.
    if not training:
        return histories
    # Of every estimator trained into this folder, compared or not: the name in the file is the estimator's, the label
    # the user's.
    for location in list_folder(training, "history-*.json"):
        name = location.rpartition("/history-")[2].removesuffix(".json")
        try:
            content = read_json(location)
        # A damaged record of a training costs its curve, not the report.
        except PhotozError as error:
            logger.warning("the report has no training curve of %s: %s", name, error)
            continue
        epochs = content.get("epochs", []) if isinstance(content, dict) else content
        if isinstance(epochs, list) and epochs and all(isinstance(epoch, dict) for epoch in epochs):
            histories[name] = epochs
    return histories
