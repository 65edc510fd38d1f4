"""The HTML page: what the template is given."""

import math
from collections.abc import Sequence

from photoz.catalogue.records import read_past_run
from photoz.evaluate.calibration import Calibration
from photoz.evaluate.evaluation import Accuracy, CatalogueAccuracy
from photoz.evaluate.settings import Evaluation
from photoz.evaluate.systematics import LEAST_TILES
from photoz.metrics import Metrics
from photoz.report.flags import MEANINGS
from photoz.report.numbers import format_measurement
from photoz.report.plates import Picture
from photoz.report.provenance import format_settings, list_versions
from photoz.report.published import PUBLISHED
from photoz.report.selection import SelectionRows
from photoz.report.shown import ShownRow
from photoz.report.tables import BY_COLOUR, FURTHER, PAPER, describe_statistics
from photoz.report.template import render_template
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.training.settings import Crossmatch


def render_page(
    config: Config,
    accuracy: Accuracy,
    pictures: Sequence[Picture],
    selection: Sequence[SelectionRows],
    *,
    shown: Sequence[ShownRow] = (),
) -> str:
    """Render the report as one HTML page that needs no other file.

    Parameters
    ----------
    config : Config
    accuracy : Accuracy
    pictures : sequence of Picture
        In the page's order.
    selection : sequence of SelectionRows
        One a catalogue.
    shown : sequence of ShownRow
        Galaxies of the figure ``galaxies-shown``.

    Returns
    -------
    str
        HTML. The run record beside each catalogue is read; a catalogue without one is shown without it.
    """
    return render_template(
        "photoz.report",
        run=config.run,
        settings=config.evaluation,
        sample=describe_sample(config.evaluation, config.survey.name, config.crossmatch),
        sample_is_known=bool(config.evaluation.sample),
        accuracy=accuracy,
        differences=_make_differences(accuracy),
        paper=describe_statistics(PAPER),
        further=describe_statistics(FURTHER),
        by_colour=describe_statistics(BY_COLOUR),
        halves=_make_halves(accuracy, config.evaluation.colour),
        calibrations=_make_calibrations(accuracy.results),
        published=PUBLISHED if config.evaluation.published else (),
        flags=_make_flag_rows(accuracy.results),
        runs=[
            ("Run", config.run.name),
            ("Survey", _find_survey(accuracy) or config.survey.name),
            *_make_run_rows(accuracy),
            *_make_method_rows(config.evaluation.resamples, config.run.seed),
        ],
        all_settings=format_settings(config_to_dict(config)),
        pictures=pictures,
        selection=selection,
        shown=shown,
        least_tiles=LEAST_TILES,
    )


def describe_sample(settings: Evaluation, survey: str, crossmatch: Crossmatch) -> str:
    """Say what the test galaxies are.

    Parameters
    ----------
    settings : Evaluation
        ``sample`` says it in the user's words; "" leaves it to what the others imply, ``truth`` before them.
    survey : str
        Name of the survey.
    crossmatch : Crossmatch
        How redshifts were matched to it.

    Returns
    -------
    str
        Sentences.
    """
    truth = settings.truth
    if truth.table and not settings.sample:
        how = f"within {truth.radius_arcsec:g} arcsec" if truth.join == "position" else "by their identifiers"
        return (
            f"Galaxies with a redshift in {truth.table}, found in the catalogue {how}. Whether the estimator was "
            "trained on some of them is not known here: those come out better than others do."
        )
    return settings.sample or (
        f"Galaxies of {survey} matched within {crossmatch.radius_arcsec:g} arcsec to redshifts in "
        # Said outright, since a page of a simulated survey looks like one of real data.
        f"{crossmatch.file}. Whether the survey is real or simulated is not stated: evaluation.sample is empty."
    )


def _find_survey(accuracy: Accuracy) -> str:
    """Return the survey that the first catalogue's run record names, of which these settings may know nothing."""
    survey = read_past_run(accuracy.results[0].location).config.get("survey")
    return str(survey.get("name", "")) if isinstance(survey, dict) else ""


def _make_differences(accuracy: Accuracy) -> list[tuple[str, str, str]]:
    """Label, difference in SMAD with error, and what it means in words."""
    rows = []
    for label, values in accuracy.differences.items():
        value, error = values["smad"]
        # The name begins with "bias" to be written with its sign; no figure is called so.
        rows.append((label, format_measurement("bias_smad", values["smad"]), _judge(value, error)))
    return rows


def _judge(value: float, error: float) -> str:
    # Too few samples or galaxies have no error, and a comparison with NaN would say that nothing differs.
    if math.isnan(error):
        return "without an error, which alone would tell whether they differ"
    # The bootstrap error of the difference itself, of the same galaxies; the errors of the two figures say less.
    if abs(value) > 2 * error:
        return "smaller" if value < 0 else "larger"
    return "no different within two sigma"


def _make_halves(accuracy: Accuracy, colour: tuple[str, str]) -> list[tuple[str, list[tuple[str, Metrics]]]]:
    """Title of each half in colour, and each catalogue's label and metrics there."""
    by_catalogue = [result.bins["colour_half"] for result in accuracy.results]
    # Empty where the colour does not vary or is unknown: there are no halves then.
    if not all(by_catalogue):
        return []
    blue, red = colour
    # The same for all: edges are chosen once, of the test galaxies' own colours.
    edge = by_catalogue[0][0].high
    titles = (f"Blue half, {blue} − {red} < {edge:.2f}", f"Red half, {blue} − {red} ≥ {edge:.2f}")
    labels = [result.label for result in accuracy.results]
    return [
        (title, [(label, bins[half].metrics) for label, bins in zip(labels, by_catalogue, strict=True)])
        for half, title in enumerate(titles)
    ]


def _make_calibrations(results: Sequence[CatalogueAccuracy]) -> list[tuple[str, str, str, Calibration]]:
    """Catalogue, group of galaxies, state and figures of p(z), before recalibration first; empty without p(z)."""
    rows = []
    for result in results:
        groups = result.calibration.groups if result.calibration is not None else ()
        # "After" means nothing without a "before" beside it, so alone it is called stored.
        compares = any(not group.recalibrated for group in groups)
        names = list(dict.fromkeys(group.group for group in groups))
        # Before and after of a group side by side, groups as they were measured.
        for group in sorted(groups, key=lambda each: (names.index(each.group), each.recalibrated)):
            state = ("after" if group.recalibrated else "before") if compares else "stored"
            rows.append((result.label, group.group, state, group))
    return rows


def _make_flag_rows(results: Sequence[CatalogueAccuracy]) -> list[tuple[str, str, list[str]]]:
    rows = []
    for flag in Flag:
        counts = [(result.scan.flags[flag.name or ""], result.scan.rows) for result in results]
        # A flag that no catalogue has would be a row of zeros.
        if any(count for count, _ in counts):
            cells = [f"{count:,} ({count / max(1, total):.2%})" for count, total in counts]
            rows.append((flag.name or "", MEANINGS.get(flag, ""), cells))
    return rows


def _make_run_rows(accuracy: Accuracy) -> list[tuple[str, str]]:
    rows = []
    for result in accuracy.results:
        scan = result.scan
        # An empty catalogue is shown, not divided by.
        share = scan.estimated / max(1, scan.rows)
        rows.append(
            (
                f"Catalogue “{result.label}”",
                f"{result.location}: {scan.rows:,} rows in {len(scan.partitions):,} partitions, {scan.estimated:,} "
                f"({share:.2%}) with a redshift",
            )
        )
        run = read_past_run(result.location)
        # Catalogues of others have no run record.
        if run.started is not None:
            # Of the last run on this output, which may have found most partitions done.
            rows.append((f"Estimated “{result.label}”", f"{run.started}, {run.seconds:.0f} s"))
        if run.estimator is not None:
            rows.append((f"Estimator “{result.label}”", run.estimator))
    return rows


def _make_method_rows(resamples: int, seed: int) -> list[tuple[str, str]]:
    return [
        ("Versions", list_versions()),
        ("Errors", f"bootstrap, {resamples} samples, seed {seed}"),
    ]
