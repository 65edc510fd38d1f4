"""The HTML page: what the template is given."""

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from photoz.evaluate.calibration import Calibration
from photoz.evaluate.evaluation import Evaluation, Result
from photoz.evaluate.metrics import STATISTICS, Measurement, Metrics
from photoz.report.published import PUBLISHED
from photoz.report.tables import BY_COLOUR, FURTHER, PAPER, format_measurement
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config

_SUBSCRIPT = re.compile("([zσ])_(phot|spec|IQR)")
_LIBRARIES = ("photoz", "numpy", "pyarrow", "matplotlib", "hats")


class Picture(NamedTuple):
    """A figure as the page shows it; ``source`` is a data URI, width and height its proportions."""

    name: str
    title: str
    caption: str
    source: str
    width: int
    height: int


def render_page(
    config: Config,
    evaluation: Evaluation,
    records: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[Picture],
    *,
    selection: Mapping[str, Any],
) -> str:
    """Render the report as one HTML page that needs no other file.

    Parameters
    ----------
    config : Config
    evaluation : Evaluation
    records : mapping of str to mapping
        The run record of each catalogue by label; empty ones are left out of the page.
    pictures : sequence of Picture
    selection : mapping
        What `photoz.report.selection.make_selection_context` gives.

    Returns
    -------
    str
    """
    environment = Environment(
        loader=PackageLoader("photoz.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["maths"] = format_maths
    environment.filters["measurement"] = _format_cell
    return environment.get_template("page.html").render(
        config=config,
        style=Markup(files("photoz.report").joinpath("style.css").read_text(encoding="utf-8")),
        sample=describe_sample(config),
        sample_is_known=bool(config.evaluation.sample),
        evaluation=evaluation,
        differences=_make_differences(evaluation),
        paper=_describe(PAPER),
        further=_describe(FURTHER),
        by_colour=_describe(BY_COLOUR),
        halves=_make_halves(config, evaluation),
        calibrations=_make_calibrations(evaluation.results),
        published=PUBLISHED if config.evaluation.published else (),
        flags=_make_flag_rows(evaluation.results),
        runs=_make_run_rows(config, evaluation, records),
        settings=_format_settings(config),
        pictures=pictures,
        selection=selection,
    )


def describe_sample(config: Config) -> str:
    """Say what the test galaxies are, in the words of the settings or, without those, in what the settings imply."""
    return config.evaluation.sample or (
        f"Galaxies of {config.survey.name} matched within {config.crossmatch.radius_arcsec:g} arcsec to redshifts in "
        f"{config.crossmatch.file}. Whether the survey is real or simulated is not stated: evaluation.sample is empty."
    )


def format_maths(text: str) -> Markup:
    """Write the subscripts of our symbols as subscripts.

    >>> str(format_maths("z_phot > 3σ_IQR"))
    'z<sub>phot</sub> &gt; 3σ<sub>IQR</sub>'
    """
    return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(escape(text))))


def _format_cell(name: str, measurement: Measurement) -> str:
    """A figure that breaks, where a narrow screen must break it, before its error."""
    return format_measurement(name, measurement).replace("± ", "±\u00a0").replace(" %", "\u00a0%")


def _describe(names: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(name, STATISTICS[name].symbol, STATISTICS[name].description) for name in names]


def _make_differences(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Label, difference in SMAD with error, and what it means in words."""
    rows = []
    for label, values in evaluation.differences.items():
        value, error = values["smad"]
        certain = abs(value) > 2 * error
        verdict = ("smaller" if value < 0 else "larger") if certain else "no different within two sigma"
        rows.append((label, format_measurement("bias_smad", values["smad"]), verdict))
    return rows


def _make_halves(config: Config, evaluation: Evaluation) -> list[tuple[str, list[tuple[str, Metrics]]]]:
    """Title of each half in colour, and each catalogue's label and metrics there."""
    by_catalogue = [result.bins["colour_half"] for result in evaluation.results]
    if not all(by_catalogue):
        return []
    blue, red = config.evaluation.colour
    edge = by_catalogue[0][0].high
    titles = (f"Blue half, {blue} − {red} < {edge:.2f}", f"Red half, {blue} − {red} ≥ {edge:.2f}")
    labels = [result.label for result in evaluation.results]
    return [
        (title, [(label, bins[half].metrics) for label, bins in zip(labels, by_catalogue, strict=True)])
        for half, title in enumerate(titles)
    ]


def _make_calibrations(results: Sequence[Result]) -> list[tuple[str, str, str, Calibration]]:
    """Catalogue, group of galaxies, state and figures of p(z), before recalibration first; empty without p(z)."""
    rows = []
    for result in results:
        groups = result.calibration.groups if result.calibration is not None else ()
        compares = any(not group.recalibrated for group in groups)
        names = list(dict.fromkeys(group.group for group in groups))
        for group in sorted(groups, key=lambda each: (names.index(each.group), each.recalibrated)):
            state = ("after" if group.recalibrated else "before") if compares else "stored"
            rows.append((result.label, group.group, state, group))
    return rows


def _make_flag_rows(results: Sequence[Result]) -> list[tuple[str, str, list[str]]]:
    rows = []
    for flag in Flag:
        counts = [(result.scan.flags[flag.name or ""], result.scan.rows) for result in results]
        if any(count for count, _ in counts):
            cells = [f"{count:,} ({count / max(1, total):.2%})" for count, total in counts]
            rows.append((flag.name or "", _MEANINGS.get(flag, ""), cells))
    return rows


def _make_run_rows(
    config: Config, evaluation: Evaluation, records: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    rows = [("Run", config.run.name), ("Survey", config.survey.name)]
    for result in evaluation.results:
        scan = result.scan
        share = scan.estimated / max(1, scan.rows)
        rows.append(
            (
                f"Catalogue “{result.label}”",
                f"{result.location}: {scan.rows:,} rows in {len(scan.partitions):,} partitions, {scan.estimated:,} "
                f"({share:.2%}) with a redshift",
            )
        )
        record = records.get(result.label, {})
        if "started" in record:
            rows.append((f"Estimated “{result.label}”", f"{record['started']}, {record.get('seconds', 0):.0f} s"))
        if isinstance(record.get("estimator"), str):
            rows.append((f"Estimator “{result.label}”", record["estimator"]))
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    rows.append(("Errors", f"bootstrap, {config.evaluation.resamples} samples, seed {config.run.seed}"))
    return rows


def _format_settings(config: Config) -> str:
    """The resolved settings without storage options, which may hold addresses that are nobody's business."""
    values = {name: value for name, value in config_to_dict(config).items() if name != "storage"}
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode()


_MEANINGS = {
    Flag.BAND_NOT_DETECTED: "a band was observed and nothing measured in it",
    Flag.BAND_NOT_OBSERVED: "a band was not observed",
    Flag.NO_PHOTOMETRY: "no band has a magnitude",
    Flag.NO_TILE: "the tile is not in the tile store",
    Flag.TILE_UNREADABLE: "reading the tile failed",
    Flag.OFF_IMAGE: "the cutout lies outside the tile",
    Flag.PARTIAL_CUTOUT: "the cutout lies partly outside the tile or has pixels without a value",
    Flag.EMPTY_CUTOUT: "a band of the cutout has no pixel with a value",
    Flag.MASKED_PIXELS: "the survey's mask is set within the cutout",
    Flag.ESTIMATE_FAILED: "no redshift: the estimator gave none",
    Flag.PHOTOMETRY_ONLY: "estimated without the image",
    Flag.OUTSIDE_TRAINING: "farther from the training sample than all but few of the training galaxies",
}
