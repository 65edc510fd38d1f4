"""The figures of a report as plain values, in the form of ``metrics.json``; what does not exist is None."""

import math
from collections.abc import Mapping

from photoz.evaluate.evaluation import Accuracy, CatalogueAccuracy
from photoz.evaluate.systematics import DistanceCut, Systematics
from photoz.metrics import STATISTICS, Measurement
from photoz.report.tables import list_rows
from photoz.settings.run import Run

# Those of the page's table of cuts (`photoz.report.selection`), so that both tell the same.
_OF_CUTS = ("smad", "outlier_fraction_005", "bias_mean")


def make_summary(
    accuracy: Accuracy, measured: Mapping[str, Systematics], run: Run, *, sample: str, resamples: int
) -> dict[str, object]:
    """Collect every figure with its error, and what it rests on.

    Parameters
    ----------
    accuracy : Accuracy
    measured : mapping of str to Systematics
        By the catalogue's label.
    run : Run
        Name and seed.
    sample : str
        What the test galaxies are, in the user's words.
    resamples : int
        Bootstrap samples behind the errors.

    Returns
    -------
    dict
        As JSON: mappings, lists, texts, numbers and None.
    """
    return {
        "run": run.name,
        "sample": sample,
        "truth": accuracy.galaxies.truth,
        "notes": list(accuracy.galaxies.notes),
        "test_galaxies": len(accuracy.galaxies),
        "seed": run.seed,
        "resamples": resamples,
        # The file stands alone: others read it without this package at hand.
        "definitions": {name: statistic.description for name, statistic in STATISTICS.items()},
        "catalogues": [_summarize_catalogue(result) for result in accuracy.results],
        "differences_from_first": {label: _to_plain(values) for label, values in accuracy.differences.items()},
        # The rows of metrics.csv, made once, so that both files say the same.
        "bins": [{key: _finite(value) for key, value in row.items()} for row in list_rows(accuracy)],
        "selection": {label: _summarize_selection(each) for label, each in measured.items()},
    }


def _summarize_catalogue(result: CatalogueAccuracy) -> dict[str, object]:
    return {
        "label": result.label,
        # A label is free text; the location says which files were measured.
        "location": result.location,
        "rows": result.scan.rows,
        "estimated": result.scan.estimated,
        "flags": result.scan.flags,
        "test_galaxies_found": int(result.scan.found.sum()),
        "test_galaxies_estimated": result.metrics.count,
        "completeness": result.metrics.completeness,
        "metrics": _to_plain(result.metrics.values),
    }


def _summarize_selection(each: Systematics) -> dict[str, object]:
    return {
        "tiles": {name: _summarize_tile(each, i) for i, name in enumerate(each.scan.tiles)},
        "trends": {
            name: {
                what: {"slope": _finite(trend.slope), "error": _finite(trend.error), "tiles": trend.tiles}
                for what, trend in zip(("z_phot", "dz"), trends, strict=True)
            }
            for name, trends in each.trends.items()
        },
        "chi_square_of_bias": {"value": _finite(each.uniformity[0]), "degrees_of_freedom": each.uniformity[1]},
        "training_distance_cuts": [_summarize_cut(cut) for cut in each.cuts],
        # Or a condition that is not among the trends could be unknown as well as the same in all tiles.
        "absent": list(each.conditions.absent),
    }


def _summarize_tile(each: Systematics, place: int) -> dict[str, object]:
    redshift, difference = each.scan.redshift, each.scan.difference
    return {
        "galaxies": int(redshift.count[place]),
        "mean_z_phot": _finite(float(redshift.mean[place])),
        "mean_z_phot_error": _finite(float(redshift.error[place])),
        "test_galaxies": int(difference.count[place]),
        "bias_mean": _finite(float(difference.mean[place])),
        "bias_mean_error": _finite(float(difference.error[place])),
        **{name: _finite(float(values_T[place])) for name, values_T in each.conditions.values.items()},
    }


def _summarize_cut(cut: DistanceCut) -> dict[str, object]:
    figures = {name: _finite(cut.metrics[name].value) for name in _OF_CUTS}
    return {"kept": cut.kept, "largest_distance": cut.largest, "galaxies": cut.metrics.count, **figures}


def _to_plain(values: Mapping[str, Measurement]) -> dict[str, dict[str, object]]:
    return {name: {"value": _finite(m.value), "error": _finite(m.error)} for name, m in values.items()}


def _finite(value: object) -> object:
    """JSON has no NaN."""
    # Python writes NaN without complaint, and most other programs refuse the whole file.
    return None if isinstance(value, float) and not math.isfinite(value) else value
