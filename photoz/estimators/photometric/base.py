"""What the estimators that read photometry alone share: the sample they are fitted on, rows in and out, the folder."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from photoz.errors import EstimatorError, TrainingError
from photoz.estimators.base import Estimates, Inputs, Pdfs, Precision, split_rows
from photoz.estimators.folder import ARRAYS, read_arrays, read_bytes, read_manifest, write_folder
from photoz.estimators.photometric.values import is_like, is_number, to_plain
from photoz.photometry import Floats, Magnitudes, clean_fluxes, derive_magnitudes
from photoz.ranges import Ranges, find_outside, summarize_photometry
from photoz.schema import Flag
from photoz.storage import join

LEAST_ROWS = 20
"""Fewer training galaxies than this are refused: a method that holds some of them back would have nothing left."""

_MAY_BE_NONE = frozenset({"between", "least_steps"})
"""Whole numbers of settings that mean something as 0: no mixtures of templates, and no least number of steps."""

_SHARES = ("held_out", "_fraction", "dropout")
"""How settings end that are a part of something, and at most 1."""

M = TypeVar("M")
"""What a method computes with, made of what is saved."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Galaxies with known redshifts, as arrays.

    Parameters
    ----------
    bands : tuple of str
        In order of wavelength, which filling a missing band relies on.
    fluxes_NF, errors_NF : ndarray of float, shape (N, F)
        [nJy] AB, in the order of ``bands``; NaN as in `photoz.estimators.base.Inputs`.
    z_N : ndarray of float, shape (N,)
        Spectroscopic redshift.
    """

    bands: tuple[str, ...]
    fluxes_NF: Floats
    errors_NF: Floats
    z_N: Floats

    def __post_init__(self) -> None:
        fluxes_NF, errors_NF = clean_fluxes(self.fluxes_NF, self.errors_NF)
        object.__setattr__(self, "fluxes_NF", fluxes_NF)  # as dataclasses do for frozen ones
        object.__setattr__(self, "errors_NF", errors_NF)

    def __len__(self) -> int:
        return len(self.z_N)

    @cached_property
    def magnitudes(self) -> Magnitudes:
        """What the fluxes are in magnitudes, derived when it is first asked for."""
        return derive_magnitudes(self.fluxes_NF, self.errors_NF)

    def take(self, rows: npt.NDArray[Any]) -> "Sample":
        """Return the galaxies of the given rows (indices, or True for those to keep)."""
        return Sample(self.bands, self.fluxes_NF[rows], self.errors_NF[rows], self.z_N[rows])

    def make_inputs(self) -> Inputs:
        """Return what an estimator sees of the galaxies, as inference has it: in float32, without flags."""
        fluxes_NF, errors_NF = (values.astype(np.float32) for values in (self.fluxes_NF, self.errors_NF))
        return Inputs(fluxes_NF, errors_NF, None, np.zeros(len(self), dtype=np.int32))

    def split(self, fraction: float, seed: int) -> tuple["Sample", "Sample"]:
        """Return the sample without a random fraction of its rows (at least one), and that fraction.

        Raises
        ------
        TrainingError
            Nothing would be left.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        held = count_held(fraction, len(self))
        return self.take(np.sort(order[held:])), self.take(np.sort(order[:held]))

    def compute_digest(self) -> str:
        """Return a SHA-256 of the bands and all values, which names the training set in a manifest."""
        # Little-endian float64 whatever the arrays are, so that neither their type nor the machine changes the name.
        digest = hashlib.sha256(",".join(self.bands).encode())
        for values in (self.fluxes_NF, self.errors_NF, self.z_N):
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()

    def check(self) -> "Sample":
        """Return the galaxies that can be learnt from: those that were detected in some band.

        Raises
        ------
        TrainingError
            Shapes do not match, a redshift is not finite or at most -1, fewer than 20 galaxies were detected, or none
            was in some band.
        """
        shape = (len(self.z_N), len(self.bands))
        if self.fluxes_NF.shape != shape or self.errors_NF.shape != shape:
            raise TrainingError(
                f"fluxes {self.fluxes_NF.shape} and errors {self.errors_NF.shape} must have shape {shape}: "
                f"a row for each redshift, a column for each of {list(self.bands)}"
            )
        self._check_redshifts()
        known_NF = np.isfinite(self.magnitudes.magnitudes_NF)
        # One is enough: the methods fill the others, or are told that they are missing.
        usable_N = np.asarray(known_NF.any(axis=1))
        if usable_N.sum() < LEAST_ROWS:
            raise TrainingError(
                f"{usable_N.sum()} training galaxies were detected in {', '.join(self.bands)}; an estimator needs at "
                f"least {LEAST_ROWS}: give more galaxies, or other bands"
            )
        empty = [band for band, known in zip(self.bands, np.asarray(known_NF.any(axis=0)), strict=True) if not known]
        if empty:
            raise TrainingError(f"no training galaxy was detected in {', '.join(empty)}: leave the band out")
        return self if usable_N.all() else self.take(usable_N)

    def _check_redshifts(self) -> None:
        # ln(1 + z), which every method is fitted to, is not finite at z = -1 and not real below.
        wrong_N = ~np.isfinite(self.z_N) | (self.z_N <= -1)
        if wrong_N.any():
            raise TrainingError(
                f"{wrong_N.sum()} of {len(self)} spectroscopic redshifts are no redshifts (the first: "
                f"{self.z_N[wrong_N][0]}): leave those rows out; a redshift is finite and greater than -1"
            )


@dataclass(frozen=True, eq=False)
class Parts:
    """All that a fitted estimator is made of, in forms that are safe to read back: no code, no pickle.

    Parameters
    ----------
    bands : tuple of str
    settings : mapping
        What it was fitted with and what it chose; anything that JSON holds.
    arrays : mapping of str to ndarray
        Weights, scalings, training rows.
    texts : mapping of str to str
        Models in a library's own text format, by file name.
    record : mapping
        Where it comes from: seed, number of rows and SHA-256 of the training set.
    """

    bands: tuple[str, ...]
    settings: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    texts: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


def count_held(fraction: float, rows: int) -> int:
    """Count the rows that are held out of a sample, at least one.

    Raises
    ------
    TrainingError
        Nothing would be left.
    """
    held = max(1, round(fraction * rows))
    if held >= rows:
        raise TrainingError(
            f"{fraction:g} of {rows} galaxies held out leaves none to learn from: give a share well below 1"
        )
    return held


@dataclass(frozen=True, eq=False)
class PhotometricEstimator(ABC, Generic[M]):
    """Base of the estimators that read fluxes and their errors, and no images.

    A method fills in `_fit` (a sample to parts), `_make_model` (parts to whatever computes) and `_predict`, or, where
    it reads fluxes and no magnitudes, `_predict_points`; one that gives p(z) also says so in `PDF` and fills in
    `_predict_pdf`.

    Parameters
    ----------
    parts : Parts
    with_pdf : bool
        False: redshifts alone.
    """

    parts: Parts
    with_pdf: bool = True
    _model: M = field(init=False, repr=False)

    trained: ClassVar[Literal["fitted", "spread"]] = "fitted"
    name: ClassVar[str]
    """Of the method, as in the manifest."""
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """What `fit` can be told, with the values it takes otherwise."""
    PDF: ClassVar[bool] = False
    """Whether the method gives p(z)."""
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy")
    """Distributions whose versions the manifest records."""
    FORMAT_VERSION: ClassVar[int] = 1
    """Of the saved folder; a method counts it up when what it keeps there changes."""
    ROWS: ClassVar[int] = 16_384
    """Galaxies in memory at a time: photometry is light, so batches may be larger than those of an image network."""

    def __post_init__(self) -> None:
        # Made once and not at each estimate: knn builds its tree here.
        object.__setattr__(self, "_model", self._make_model(self.parts))  # as dataclasses do for frozen ones

    def __reduce__(self) -> tuple[type[Self], tuple[Parts, bool]]:
        # The model may be a tree, a booster or a network on a GPU: it is made anew from the parts where it is
        # unpickled.
        return type(self), (self.parts, self.with_pdf)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose fluxes it reads."""
        return self.parts.bands

    @property
    def image_bands(self) -> tuple[str, ...]:
        """None: photometry alone."""
        return ()

    @property
    def cutout_size(self) -> int:
        """0: photometry alone."""
        return 0

    @property
    def gives_pdf(self) -> bool:
        """Whether the method gives p(z), and it is wanted."""
        return self.PDF and self.with_pdf

    def without_pdf(self) -> Self:
        """Return an estimator of the same redshifts that gives no p(z)."""
        return replace(self, with_pdf=False) if self.gives_pdf else self

    def prepare(self, precision: Precision) -> Self:
        """Return itself: there is nothing to lay out, and no choice of precision."""
        return self

    def with_record(self, record: Mapping[str, Any]) -> Self:
        """Return the same estimator with more in its record."""
        return replace(self, parts=replace(self.parts, record={**self.parts.record, **record}))

    @classmethod
    def fit(cls, sample: Sample, *, seed: int = 1, **settings: Any) -> Self:
        """Fit to galaxies with known redshifts.

        Parameters
        ----------
        sample : Sample
            Galaxies that were not detected in any band are left out.
        seed : int
            The same sample and seed give the same estimator.
        **settings
            Any of the class's ``DEFAULTS``.

        Raises
        ------
        TrainingError
            The sample cannot be learnt from (see `Sample.check`), or a setting is unknown or of another kind than its
            default.
        """
        settings = {name: to_plain(value) for name, value in settings.items()}
        cls._check_settings(settings)
        usable = sample.check()
        parts = cls._fit(usable, {**cls.DEFAULTS, **settings}, seed)
        record: dict[str, Any] = {"seed": seed, "training_rows": len(usable), "training_set": usable.compute_digest()}
        record |= {"z_min": float(usable.z_N.min())}
        record |= {"photometry": summarize_photometry(usable.magnitudes.magnitudes_NF, usable.bands)}
        return cls(replace(parts, record=record))

    @classmethod
    def _check_settings(cls, settings: Mapping[str, Any]) -> None:
        # A misspelt setting would else be passed over, and the default taken in silence.
        unknown = set(settings) - set(cls.DEFAULTS)
        if unknown:
            raise TrainingError(f"{cls.name} has no settings {sorted(unknown)}; it has {sorted(cls.DEFAULTS)}")
        for name, value in settings.items():
            none = type(value) is int and value == 0 and name in _MAY_BE_NONE
            above = name.endswith(_SHARES) and is_number(value) and value > 1
            if above or not (none or is_like(value, cls.DEFAULTS[name])):
                raise TrainingError(
                    f"{cls.name}: {name} = {value!r} is nothing that it can be; by default it is {cls.DEFAULTS[name]!r}"
                )

    @classmethod
    @abstractmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        """Return the parts of a fitted estimator, whose settings say what was chosen, without a record."""

    @classmethod
    @abstractmethod
    def _make_model(cls, parts: Parts) -> M:
        """Make whatever `_predict` computes with, ``self._model``."""

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        """Return redshifts of rows that have a magnitude in some band [float64]; missing values are NaN."""
        raise NotImplementedError(f"{self.name} reads fluxes")

    def _predict_points(self, inputs: Inputs) -> Floats:
        """Return redshifts of galaxies that were detected in some band."""
        found = inputs.magnitudes
        return self._predict(found.magnitudes_NF.astype(np.float64), found.errors_NF.astype(np.float64))

    def _predict_pdf(self, inputs: Inputs) -> tuple[Floats, Pdfs]:
        """Return redshifts and p(z) of such galaxies; asked of methods that give p(z)."""
        raise EstimatorError(f"{self.name} gives no p(z)")

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies.

        Parameters
        ----------
        inputs : Inputs
            Fluxes and errors. Methods that read magnitudes take what was not detected for missing.
        batch_size : int
            Galaxies at a time; at least `ROWS` are taken.

        Returns
        -------
        Estimates
            ``z_phot`` is NaN and ``ESTIMATE_FAILED`` set where nothing was detected in any band or the estimate is not
            finite. ``OUTSIDE_TRAINING`` is set, with p(z), where the distance from the training sample is above 1;
            without, where a magnitude or a colour is far from the sample's (`photoz.ranges.find_outside`).

        Raises
        ------
        EstimatorError
            The arrays have other shapes than the estimator's bands ask for.
        """
        self._check_shapes(inputs)
        # Some methods would make up a redshift for a row that has nothing: mlp's features of it are all 0.
        usable = np.flatnonzero(inputs.detected_N)
        bare = replace(inputs, cutouts_NBYX=None)
        z_N = np.full(len(inputs), np.nan, dtype=np.float32)
        pdf = Pdfs.missing(len(inputs)) if self.gives_pdf else None
        # Runs of usable rows alone: whatever else a partition holds, batches are as large.
        for run in split_rows(len(usable), max(batch_size, self.ROWS)):
            rows = usable[run]
            taken = bare.take(rows)
            if pdf is None:
                z_N[rows] = self._predict_points(taken)
            else:
                z_N[rows], found = self._predict_pdf(taken)
                _put(pdf, rows, found)
        # No galaxy lies below 0, and what a method makes of noise there is no measurement of a blueshift: unless it was
        # taught some.
        z_N = np.maximum(z_N, min(0.0, float(self.parts.record.get("z_min", 0.0))), dtype=np.float32)
        # Infinite estimates too: a catalogue holds redshifts or NaN, with the flag that says so.
        failed_N = ~np.isfinite(z_N)
        z_N[failed_N] = np.nan
        flags_N = inputs.flags_N | np.where(failed_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0))
        # NaN, a distance that was not measured, is not above 1 and sets no flag.
        outside_N = self._find_outside(bare) & ~failed_N if pdf is None else pdf.distance_N > 1
        flags_N = flags_N | np.where(outside_N, np.int32(Flag.OUTSIDE_TRAINING), np.int32(0))
        return Estimates(z_N, flags_N, pdf)

    def _find_outside(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """Find galaxies far from what the record keeps of the training sample; none where it keeps nothing."""
        ranges = Ranges.read(self.parts.record.get("photometry", {}), self.bands)
        if ranges is None:
            return np.zeros(len(inputs), dtype=bool)
        return find_outside(inputs.magnitudes.magnitudes_NF, ranges)

    def _check_shapes(self, inputs: Inputs) -> None:
        for what, values in (("fluxes", inputs.fluxes_NF), ("errors", inputs.errors_NF)):
            if values.shape != (len(inputs), len(self.bands)):
                raise EstimatorError(
                    f"{what} of shape {values.shape} were given; the {self.name} estimator reads "
                    f"{len(self.bands)} bands, {list(self.bands)}"
                )

    def save(self, location: str) -> None:
        """Write arrays, texts and, last, ``manifest.json`` into a folder (a path or any fsspec URL)."""
        parts = self.parts
        manifest = {
            "format_version": self.FORMAT_VERSION,
            "estimator": self.name,
            "bands": list(parts.bands),
            "image_bands": [],
            "cutout_size": 0,
            "settings": dict(parts.settings),
            "texts": sorted(parts.texts),
            "target": "ln(1 + z)",
            "versions": {name: version(name) for name in self.PACKAGES},
            "record": dict(parts.record),
        }
        write_folder(location, manifest, arrays={ARRAYS: parts.arrays}, texts=parts.texts)

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EstimatorError
            There is no estimator, its format is another version's, it is another method's, or a file is missing or
            damaged.
        """
        manifest: Any = read_manifest(location)
        # Both, since versions count for each method alone: version 2 of mlp is no format of another's.
        found = manifest.get("format_version"), manifest.get("estimator")
        if found != (cls.FORMAT_VERSION, cls.name):
            raise EstimatorError(
                f"{location!r} holds format {found[0]!r} of the estimator {found[1]!r}, this photoz reads format "
                f"{cls.FORMAT_VERSION} of {cls.name!r}: train it again, or use the photoz that wrote it"
            )
        try:
            arrays = read_arrays(location, ARRAYS)
            texts = {name: read_bytes(join(location, name)).decode() for name in manifest["texts"]}
            return cls(Parts(tuple(manifest["bands"]), manifest["settings"], arrays, texts, manifest["record"]))
        # ValueError and KeyError come from arrays that are whole but not those of this method, when its model is made
        # of them.
        except (FileNotFoundError, UnicodeDecodeError, KeyError, ValueError) as error:
            raise EstimatorError(f"{location!r} is incomplete or damaged ({error!r}): train it again") from error


def _put(pdf: Pdfs, rows: npt.NDArray[np.intp], found: Pdfs) -> None:
    pdf.quantiles_NQ[rows], pdf.z_std_model_N[rows] = found.quantiles_NQ, found.z_std_model_N
    pdf.distance_N[rows] = found.distance_N
