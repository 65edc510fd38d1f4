"""Write a report's files."""

import base64
import logging
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from photoz.catalogue.records import read_run_record
from photoz.errors import PhotozError
from photoz.evaluate.evaluation import Evaluation, list_rows
from photoz.evaluate.metrics import STATISTICS, Measurement
from photoz.plots import render_pdf, render_png
from photoz.report.figures import draw_plates
from photoz.report.page import Picture, render_page
from photoz.report.selection import draw_selection, make_selection_context, measure_selection, summarize_selection
from photoz.report.tables import format_csv
from photoz.settings.config import Config
from photoz.storage import join, list_folder, open_atomic, read_json, write_json

logger = logging.getLogger(__name__)

Histories = dict[str, Sequence[Mapping[str, Any]]]


def write_report(config: Config, evaluation: Evaluation) -> str:
    """Write ``index.html``, ``metrics.json``, ``metrics.csv`` and ``figures/*.png`` into ``locations.report``.

    Parameters
    ----------
    config : Config
    evaluation : Evaluation

    Returns
    -------
    str
        Location of the page. Files of an earlier report are replaced, each in one step.

    Notes
    -----
    ``evaluation.vector_figures`` adds each figure as PDF. The page needs no other file and asks nothing of the network.
    """
    report = config.locations.report
    measured = measure_selection(config, evaluation)
    pictures = [
        _write_picture(config, plate.name, plate.title, plate.caption, plate.figure)
        for plate in chain(draw_plates(config, evaluation, read_histories(config)), draw_selection(config, measured))
    ]
    summary = make_summary(config, evaluation) | {"selection": summarize_selection(measured)}
    write_json(join(report, "metrics.json"), summary)
    _write_text(join(report, "metrics.csv"), format_csv(evaluation))
    records = {result.label: read_run_record(result.location) for result in evaluation.results}
    page = join(report, "index.html")
    _write_text(page, render_page(config, evaluation, records, pictures, selection=make_selection_context(measured)))
    return page


def make_summary(config: Config, evaluation: Evaluation) -> dict[str, Any]:
    """Collect every figure with its error, and what it rests on, as plain values; what does not exist is None."""
    return {
        "run": config.run.name,
        "sample": config.evaluation.sample,
        "test_galaxies": len(evaluation.galaxies),
        "seed": config.run.seed,
        "resamples": config.evaluation.resamples,
        "definitions": {name: statistic.description for name, statistic in STATISTICS.items()},
        "catalogues": [
            {
                "label": result.label,
                "location": result.location,
                "rows": result.scan.rows,
                "estimated": result.scan.estimated,
                "flags": result.scan.flags,
                "test_galaxies_found": int(result.scan.found.sum()),
                "test_galaxies_estimated": result.metrics.count,
                "completeness": result.metrics.completeness,
                "metrics": _to_plain(result.metrics.values),
            }
            for result in evaluation.results
        ],
        "differences_from_first": {label: _to_plain(values) for label, values in evaluation.differences.items()},
        "bins": [{key: _finite(value) for key, value in row.items()} for row in list_rows(evaluation)],
    }


def read_histories(config: Config) -> Histories:
    """Read the training histories ``<training>/history-<name>.json``; one that cannot be read is left out.

    Returns
    -------
    dict of str to sequence of mapping
        By name, one mapping an epoch; empty when there are none.
    """
    histories: Histories = {}
    for location in list_folder(config.locations.training, "history-*.json"):
        name = location.rpartition("/history-")[2].removesuffix(".json")
        try:
            content = read_json(location)
        except PhotozError as error:
            logger.warning("the report has no training curve of %s: %s", name, error)
            continue
        epochs = content.get("epochs", []) if isinstance(content, dict) else content
        if isinstance(epochs, list) and epochs and all(isinstance(epoch, dict) for epoch in epochs):
            histories[name] = epochs
    return histories


def _write_picture(config: Config, name: str, title: str, caption: str, figure: Any) -> Picture:
    image = render_png(figure)
    width, height = (round(100 * inches) for inches in figure.get_size_inches())
    _write_bytes(join(config.locations.report, "figures", f"{name}.png"), image)
    if config.evaluation.vector_figures:
        _write_bytes(join(config.locations.report, "figures", f"{name}.pdf"), render_pdf(figure))
    source = "data:image/png;base64," + base64.b64encode(image).decode()
    return Picture(name=name, title=title, caption=caption, source=source, width=width, height=height)


def _write_text(location: str, text: str) -> None:
    _write_bytes(location, text.encode())


def _write_bytes(location: str, content: bytes) -> None:
    with open_atomic(location) as file:
        file.write(content)


def _to_plain(values: Mapping[str, Measurement]) -> dict[str, dict[str, float | None]]:
    return {name: {"value": _finite(m.value), "error": _finite(m.error)} for name, m in values.items()}


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
