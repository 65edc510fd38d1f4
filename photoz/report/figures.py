"""The figures of a report, in its order, with their captions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from photoz.evaluate.evaluation import Accuracy
from photoz.evaluate.galaxies import Galaxies
from photoz.evaluate.scan import Z_EDGES
from photoz.metrics import FloatArray
from photoz.plots import (
    Quantity,
    Sample,
    SkyCounts,
    plot_binned,
    plot_calibration,
    plot_history,
    plot_redshift_distribution,
    plot_redshifts,
    plot_redshifts_in_bins,
    plot_residual_histogram,
    plot_residuals,
    plot_residuals_in_bins,
    plot_sky,
)
from photoz.plots.style import Z_PHOT, Z_SPEC
from photoz.report.plates import Plate

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
# With a fourth, panels would be less than two inches wide.
_COLUMNS = 3  # estimators side by side in a figure


def draw_plates(accuracy: Accuracy, colour: tuple[str, str], histories: Histories) -> Iterator[Plate]:
    """Draw every figure, one at a time, so that only one is held in memory.

    Parameters
    ----------
    accuracy : Accuracy
    colour : (str, str)
        Bands whose difference of magnitudes is the colour.
    histories : mapping of str to sequence of mapping
        Training histories by estimator, as `photoz.plots.plot_history` takes them; may be empty.

    Yields
    ------
    Plate
    """
    samples = [Sample(r.label, r.scan.z_phot, accuracy.galaxies.z_spec) for r in accuracy.results]
    yield from _draw_redshifts(samples)
    labels = _drop_unknown(label_quantities(colour), accuracy.galaxies)
    yield from _draw_accuracy(accuracy, samples, labels)
    # Each catalogue has figures of its own here, since twelve panels leave no room for a second column.
    for number, sample in enumerate(samples, start=1):
        # The number keeps apart the files of labels that come to one name, as two without an ASCII letter do.
        suffix = "" if len(samples) == 1 else f"-{number}-{make_file_name(sample.label)}"
        yield from _draw_in_bins(accuracy, sample, labels, suffix)
    yield from _draw_calibration(accuracy)
    yield from _draw_catalogue(accuracy, samples)
    # A catalogue may be evaluated where its estimator's training has left nothing.
    if histories:
        yield Plate(
            "training",
            "Training",
            "Loss and SMAD after each epoch. The dot marks the epoch of the least validation loss, whose weights are "
            "kept. The training loss is taken with dropout and turned images, so it may lie above that of validation.",
            plot_history(histories),
        )


def label_quantities(colour: tuple[str, str]) -> dict[str, str]:
    """Return the axis label of each quantity that accuracy is binned in."""
    blue, red = colour
    return {"mag_auto": "$r$ [mag]", "z_spec": Z_SPEC, "z_phot": Z_PHOT, "colour": f"${blue} - {red}$ [mag]"}


def _drop_unknown(labels: Mapping[str, str], galaxies: Galaxies) -> dict[str, str]:
    """Leave out what no test galaxy has, as of a catalogue of others: an empty column of panels says nothing."""
    values = {"mag_auto": galaxies.mag_auto, "colour": galaxies.colour}
    return {name: label for name, label in labels.items() if name not in values or np.isfinite(values[name]).any()}


def _draw_redshifts(samples: Sequence[Sample]) -> Iterator[Plate]:
    for number, start in enumerate(range(0, len(samples), _COLUMNS)):
        some = samples[start : start + _COLUMNS]
        # The first has no number: with up to three estimators it is the only one.
        suffix = f"-{number + 1}" if number else ""
        yield Plate(
            f"redshifts{suffix}",
            "Photometric against spectroscopic redshift",
            "Below, the normalised difference Δz = (z_phot − z_spec)/(1 + z_spec). Many galaxies are "
            "counted by colour, on a logarithmic scale. The black line is equality, the solid orange line the running "
            "median, the dashed ones lie one SMAD to either side of it. Triangles at the edge stand for galaxies "
            "beyond it, whose number is given.",
            plot_redshifts(some),
        )
        yield Plate(
            f"residuals{suffix}",
            "Normalised difference against photometric redshift",
            "The median at a given photometric redshift, which is what a user selects by. It need not be zero for an "
            "estimator that is unbiased at a given spectroscopic redshift, nor the reverse.",
            plot_residuals(some),
        )


def _draw_accuracy(accuracy: Accuracy, samples: Sequence[Sample], labels: Mapping[str, str]) -> Iterator[Plate]:
    yield Plate(
        "residual-histogram",
        "Distribution of the normalised differences",
        "Left, the core; right, the wings on a logarithmic scale. Dashed: Gaussians with each sample's median and "
        "SMAD. What lies above them in the wings is what a Gaussian error would not foresee.",
        plot_residual_histogram(samples),
    )
    # By `labels` and not by what was measured: the two halves in colour have a table of their own and no axis here.
    bins = {name: {result.label: result.bins[name] for result in accuracy.results} for name in labels}
    yield Plate(
        "binned",
        "Accuracy in bins",
        f"Median, SMAD and outliers of Δz in bins of {_name_quantities(labels, total=True)}. Error bars: one sigma, "
        "bootstrap. Points lie at the median of their bin; bins with fewer than five galaxies are left out.",
        plot_binned(bins, labels),
    )


def _draw_in_bins(accuracy: Accuracy, sample: Sample, labels: Mapping[str, str], suffix: str) -> Iterator[Plate]:
    galaxies, names = accuracy.galaxies, _name_quantities(labels)
    # z_spec and z_phot frame their own bins: such a bin is a slice of the common frame and would fill a strip of its
    # panel.
    quantities = {
        "mag_auto": Quantity(labels.get("mag_auto", ""), galaxies.mag_auto),
        "z_spec": Quantity(Z_SPEC, sample.z_spec, zoom=True),
        "z_phot": Quantity(Z_PHOT, sample.z_phot, zoom=True),
        "colour": Quantity(labels.get("colour", ""), galaxies.colour),
    }
    yield Plate(
        f"redshifts-in-bins{suffix}",
        f"{sample.label}: redshifts in bins of {names}",
        "Photometric against spectroscopic redshift; each row splits the sample into four bins of equally many "
        "galaxies. The panels of the row of spectroscopic redshift frame their own bin.",
        plot_redshifts_in_bins(sample, [quantities[name] for name in labels if name != "z_phot"]),
    )
    yield Plate(
        f"residuals-in-bins{suffix}",
        f"{sample.label}: differences in bins of {names}",
        "Normalised difference against photometric redshift, as above, also in bins of it.",
        plot_residuals_in_bins(sample, [quantities[name] for name in labels if name != "z_spec"]),
    )


def _name_quantities(labels: Mapping[str, str], *, total: bool = False) -> str:
    """Say what there are bins of.

    >>> _name_quantities({"mag_auto": "", "z_spec": "", "colour": ""}), _name_quantities({"z_spec": ""})
    ('magnitude, redshift and colour', 'redshift')
    """
    magnitude = "total r magnitude" if total else "magnitude"
    *first, last = [
        name
        for quantity, name in (("mag_auto", magnitude), ("z_spec", "redshift"), ("colour", "colour"))
        if quantity in labels
    ]
    return f"{', '.join(first)} and {last}" if first else last


def _draw_calibration(accuracy: Accuracy) -> Iterator[Plate]:
    found = [(result.label, result.calibration) for result in accuracy.results if result.calibration is not None]
    for number, (label, calibration) in enumerate(found, start=1):
        suffix = "" if len(found) == 1 else f"-{number}-{make_file_name(label)}"
        before = (
            "Orange: p(z) as the estimator gave it, for the galaxies that lack no input; blue: as it is stored."
            if calibration.compares
            else "Of p(z) as the catalogue holds it."
        )
        yield Plate(
            f"calibration{suffix}",
            f"{label}: does p(z) come true?",
            "PIT is the probability that p(z) puts below the true redshift, and uniformly distributed where p(z) is "
            "calibrated: high at the ends where p(z) is too narrow, in the middle where it is too wide, rising where "
            f"redshifts come out too low. {before} The grey bands hold what 95 % of calibrated samples of this size "
            "give: in each bin, and anywhere along the curve.",
            plot_calibration(calibration.pit, calibration.pit_before),
        )


def _draw_catalogue(accuracy: Accuracy, samples: Sequence[Sample]) -> Iterator[Plate]:
    first = accuracy.results[0]
    whole = (rf"{Z_PHOT}, all of {first.label}", first.scan.z_counts, Z_EDGES)
    stacks = {r.label: (r.calibration.stack_Z, Z_EDGES) for r in accuracy.results if r.calibration is not None}
    yield Plate(
        "redshift-distribution",
        "Redshift distribution",
        "Grey: spectroscopic redshifts of the test galaxies; lines: photometric redshifts of the same galaxies; "
        f"dashed: of all {first.scan.estimated:,} galaxies with a redshift in the catalogue “{first.label}”."
        + _caption_stacks(stacks, accuracy.galaxies.z_spec),
        plot_redshift_distribution(samples, whole, stacks),
    )
    partitions = [(partition.order, partition.pixel) for partition in first.scan.partitions]
    sky = SkyCounts(first.scan.sky.order, first.scan.sky.cells, first.scan.sky.counts, partitions)
    yield Plate(
        "sky",
        "Sky coverage",
        f"Surface density of the catalogue “{first.label}” in HEALPix cells of order {sky.order}; the outlines are its "
        f"{len(partitions):,} partition{'s' * (len(partitions) != 1)}, one file each.",
        plot_sky(sky),
    )


def _caption_stacks(stacks: Mapping[str, tuple[FloatArray, FloatArray]], z_spec_T: FloatArray) -> str:
    """Say what the dotted lines are, and how their mean redshifts compare: what weak lensing asks of an n(z)."""
    if not stacks:
        return ""
    means = [
        f"{np.average(0.5 * (edges[1:] + edges[:-1]), weights=stack):.4f} of “{label}”"
        for label, (stack, edges) in stacks.items()
        if stack.any()
    ]
    spectroscopic = f"{np.nanmean(z_spec_T):.4f} spectroscopic"
    return f" Dotted: p(z) stacked over the test galaxies. Mean redshift: {', '.join([spectroscopic, *means])}."


def make_file_name(label: str) -> str:
    """Turn a label into part of a file name.

    >>> make_file_name("Photometry only (v2)")
    'photometry-only-v2'
    """
    # ASCII alone, since the name goes into files and URLs of any store.
    kept = "".join(c if c.isalnum() and c.isascii() else " " for c in label.lower())
    return "-".join(kept.split()) or "catalogue"
