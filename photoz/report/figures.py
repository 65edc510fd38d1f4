"""The figures of a report, in its order, with their captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from photoz.evaluate.evaluation import Evaluation
from photoz.evaluate.scan import Z_EDGES
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
from photoz.settings.config import Config

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
_COLUMNS = 3  # estimators side by side in a figure


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure of the report: the name of its file, its heading, its caption and the figure itself."""

    name: str
    title: str
    caption: str
    figure: Figure


def draw_plates(config: Config, evaluation: Evaluation, histories: Histories) -> Iterator[Plate]:
    """Draw every figure, one at a time, so that only one is held in memory.

    Parameters
    ----------
    config : Config
    evaluation : Evaluation
    histories : mapping of str to sequence of mapping
        Training histories by estimator, as `photoz.plots.plot_history` takes them; may be empty.

    Yields
    ------
    Plate
    """
    samples = [Sample(r.label, r.scan.z_phot, evaluation.galaxies.z_spec) for r in evaluation.results]
    yield from _draw_redshifts(samples)
    yield from _draw_accuracy(config, evaluation, samples)
    for number, sample in enumerate(samples, start=1):
        suffix = "" if len(samples) == 1 else f"-{number}-{make_file_name(sample.label)}"
        yield from _draw_in_bins(config, evaluation, sample, suffix)
    yield from _draw_calibration(evaluation)
    yield from _draw_catalogue(evaluation, samples)
    if histories:
        yield Plate(
            "training",
            "Training",
            "Loss and SMAD after each epoch. The dot marks the epoch of the least validation loss, whose weights are "
            "kept. The training loss is taken with dropout and turned images, so it may lie above that of validation.",
            plot_history(histories),
        )


def label_quantities(config: Config) -> dict[str, str]:
    """Return the axis label of each quantity that accuracy is binned in."""
    blue, red = config.evaluation.colour
    return {"mag_auto": "$r$ [mag]", "z_spec": Z_SPEC, "z_phot": Z_PHOT, "colour": f"${blue} - {red}$ [mag]"}


def _draw_redshifts(samples: Sequence[Sample]) -> Iterator[Plate]:
    for number, start in enumerate(range(0, len(samples), _COLUMNS)):
        some = samples[start : start + _COLUMNS]
        suffix = f"-{number + 1}" if number else ""
        yield Plate(
            f"redshifts{suffix}",
            "Photometric against spectroscopic redshift",
            "Below, the normalised difference Δz = (z_phot − z_spec)/(1 + z_spec). Many galaxies are "
            "counted by colour, on a logarithmic scale. The black line is equality, the solid orange line the running "
            "median, the dashed ones lie one SMAD to either side of it.",
            plot_redshifts(some),
        )
        yield Plate(
            f"residuals{suffix}",
            "Normalised difference against photometric redshift",
            "The median at a given photometric redshift, which is what a user selects by. It need not be zero for an "
            "estimator that is unbiased at a given spectroscopic redshift, nor the reverse.",
            plot_residuals(some),
        )


def _draw_accuracy(config: Config, evaluation: Evaluation, samples: Sequence[Sample]) -> Iterator[Plate]:
    yield Plate(
        "residual-histogram",
        "Distribution of the normalised differences",
        "Left, the core; right, the wings on a logarithmic scale. Dashed: Gaussians with each sample's median and "
        "SMAD. What lies above them in the wings is what a Gaussian error would not foresee.",
        plot_residual_histogram(samples),
    )
    labels = label_quantities(config)
    bins = {name: {result.label: result.bins[name] for result in evaluation.results} for name in labels}
    yield Plate(
        "binned",
        "Accuracy in bins",
        "Median, SMAD and outliers of Δz in bins of total r magnitude, redshift and colour. Error bars: one sigma, "
        "bootstrap. Points lie at the median of their bin; bins with fewer than five galaxies are left out.",
        plot_binned(bins, labels),
    )


def _draw_in_bins(config: Config, evaluation: Evaluation, sample: Sample, suffix: str) -> Iterator[Plate]:
    labels, galaxies = label_quantities(config), evaluation.galaxies
    magnitude = Quantity(labels["mag_auto"], galaxies.mag_auto)
    colour = Quantity(labels["colour"], galaxies.colour)
    yield Plate(
        f"redshifts-in-bins{suffix}",
        f"{sample.label}: redshifts in bins of magnitude, redshift and colour",
        "Photometric against spectroscopic redshift; each row splits the sample into four bins of equally many "
        "galaxies. The panels of the middle row frame their own bin of spectroscopic redshift.",
        plot_redshifts_in_bins(sample, [magnitude, Quantity(Z_SPEC, sample.z_spec, zoom=True), colour]),
    )
    yield Plate(
        f"residuals-in-bins{suffix}",
        f"{sample.label}: differences in bins of magnitude, redshift and colour",
        "Normalised difference against photometric redshift, as above; the middle row is binned in photometric "
        "redshift.",
        plot_residuals_in_bins(sample, [magnitude, Quantity(Z_PHOT, sample.z_phot, zoom=True), colour]),
    )


def _draw_calibration(evaluation: Evaluation) -> Iterator[Plate]:
    found = [(result.label, result.calibration) for result in evaluation.results if result.calibration is not None]
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


def _draw_catalogue(evaluation: Evaluation, samples: Sequence[Sample]) -> Iterator[Plate]:
    first = evaluation.results[0]
    whole = (rf"{Z_PHOT}, all of {first.label}", first.scan.z_counts, Z_EDGES)
    yield Plate(
        "redshift-distribution",
        "Redshift distribution",
        "Grey: spectroscopic redshifts of the test galaxies; lines: photometric redshifts of the same galaxies; "
        f"dashed: of all {first.scan.estimated:,} galaxies with a redshift in the catalogue “{first.label}”.",
        plot_redshift_distribution(samples, whole),
    )
    partitions = [(partition.order, partition.pixel) for partition in first.scan.partitions]
    sky = SkyCounts(first.scan.sky_order, first.scan.sky_cells, first.scan.sky_counts, partitions)
    yield Plate(
        "sky",
        "Sky coverage",
        f"Surface density of the catalogue “{first.label}” in HEALPix cells of order {sky.order}; the outlines are its "
        f"{len(partitions):,} partition{'s' * (len(partitions) != 1)}, one file each.",
        plot_sky(sky),
    )


def make_file_name(label: str) -> str:
    """Turn a label into part of a file name.

    >>> make_file_name("Photometry only (v2)")
    'photometry-only-v2'
    """
    kept = "".join(c if c.isalnum() and c.isascii() else " " for c in label.lower())
    return "-".join(kept.split()) or "catalogue"
