"""photoz as stages of RAIL: an informer that fits any of its photometric estimators, and an estimator of p(z).

Imported by whoever uses RAIL, and by nothing in photoz: it needs the package pz-rail-base (``pip install
'photoz[rail]'``). In a pipeline's YAML the stages are ``PhotozInformer`` and ``PhotozEstimator`` of the module
``photoz.rail``.
"""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photoz.errors import EstimatorError
from photoz.estimators import Estimator, Inputs, load_estimator
from photoz.estimators.photometric.base import Sample
from photoz.estimators.registry import load_class
from photoz.measured import flag_bands
from photoz.optional import needs
from photoz.pdf import summarize_quantiles
from photoz.pdf.ensembles import make_ensemble
from photoz.photometry import Array, compute_fluxes_from_magnitudes
from photoz.schema import LEVELS
from photoz.tables.measure import measure_band
from photoz.tables.settings import Extinction
from photoz.tables.settings import Photometry as Magnitudes

with needs("RAIL's stages", "pz-rail-base", extra="rail"):
    from ceci.config import StageParameter
    from rail.core.common_params import SharedParams
    from rail.estimation.estimator import CatEstimator
    from rail.estimation.informer import CatInformer

_FORMAT = "photoz-estimator-1"
"""Of the model file: what RAIL pickles is a dictionary of plain values, the estimator's folder as a ZIP among them."""
_UNDETECTED = 99.0

Photometry = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]

_PHOTOMETRY = ("bands", "err_bands", "nondetect_val", "nonobserved_val", "mag_limits")


class _Stage:
    @classmethod
    def generate_command(cls, *args: Any, **kwargs: Any) -> str:
        """Have ceci start the stage by itself: ``python -m photoz``, as it would else, is a command of ours."""
        command: str = super().generate_command(*args, **kwargs)  # type: ignore[misc]
        return command.replace(f"-m photoz {cls.__name__}", f"-m ceci {cls.__module__}.{cls.__name__}", 1)


class PhotozInformer(_Stage, CatInformer):  # type: ignore[misc]
    """Fit an estimator of photoz to a table with magnitudes and true redshifts, or take one that photoz has trained."""

    name = "PhotozInformer"
    entrypoint_function = "inform"
    interactive_function = "photoz_informer"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        **{name: SharedParams.copy_param(name) for name in (*_PHOTOMETRY, "redshift_col")},
        estimator=StageParameter(str, "mlp", msg="name of an estimator of photoz that gives p(z)"),
        fit=StageParameter(dict, {}, msg="settings of the fit, as training.fit.NAME of photoz has them"),
        seed=StageParameter(int, 1, msg="of the fit: the same seed and table give the same model"),
        trained=StageParameter(
            str, "", msg="folder of an estimator that photoz has trained, taken as it is; the table is not read then"
        ),
    )

    def run(self) -> None:
        """Fit, and hand the model to RAIL.

        Raises
        ------
        EstimatorError
            The estimator gives no p(z), or reads images.
        TrainingError
            The table cannot be learnt from.
        """
        estimator = load_estimator(self.config.trained) if self.config.trained else self._fit()
        _check(estimator)
        self.model = pack_estimator(estimator, columns=self.config.bands)
        self.add_data("model", self.model)

    def validate(self) -> None:
        """Check that the table has the columns."""
        self._get_stage_columns()
        if not self.config.trained:
            self._check_column_names(self.get_handle("input", allow_missing=True), self.stage_columns)

    def _get_stage_columns(self) -> None:
        self.stage_columns = [*self.config.bands, *self.config.err_bands, self.config.redshift_col]

    def _fit(self) -> Estimator:
        data = self.get_data("input")
        table = self._convert_table_format(data[self.config.hdf5_groupname] if self.config.hdf5_groupname else data)
        fluxes_NF, errors_NF, _ = read_photometry(table, self.config)
        z_N = np.asarray(table[self.config.redshift_col], dtype=np.float64)
        sample = Sample(name_bands(self.config.bands), fluxes_NF, errors_NF, z_N)
        kind: Any = load_class(self.config.estimator)
        if kind.trained != "fitted":
            raise EstimatorError(
                f"{self.config.estimator} is not fitted to a table alone: train it by jobs/train_dr4.py, and give its "
                "folder as `trained`"
            )
        fitted: Estimator = kind.fit(sample, seed=self.config.seed, **self.config.fit)
        return fitted


class PhotozEstimator(_Stage, CatEstimator):  # type: ignore[misc]
    """Estimate p(z) with a model of `PhotozInformer`.

    The ensemble is of type ``interp`` on the stage's grid, with densities that are those of
    `photoz.pdf.compute_pdfs`, or of type ``quant``, with photoz' own quantiles. Its ancillary table holds ``z_phot``
    and ``flags`` (`photoz.schema.Flag`), and ``zmode``, ``zmean`` and ``zmedian`` of p(z). A galaxy that has no
    estimate has a p(z) that is even over the grid, NaN for its redshifts, and the flag ``ESTIMATE_FAILED``.
    """

    name = "PhotozEstimator"
    entrypoint_function = "estimate"
    interactive_function = "photoz_estimator"
    config_options = CatEstimator.config_options.copy()
    config_options.update(
        **{name: SharedParams.copy_param(name) for name in _PHOTOMETRY},
        pdf=StageParameter(str, "interp", msg="interp: densities on the grid; quant: photoz' own 27 quantiles"),
        batch_size=StageParameter(int, 16384, msg="galaxies that the estimator takes at one time"),
    )

    def __init__(self, args: Any, **kwargs: Any) -> None:
        """Make the stage; the model is opened by ``open_model``."""
        super().__init__(args, **kwargs)
        self._estimator: Estimator | None = None

    def open_model(self, **kwargs: Any) -> Any:
        """Open the model, once for all chunks, and check that its bands are the stage's."""
        super().open_model(**kwargs)
        self._estimator = None if self.model is None else unpack_estimator(self.model)
        if self._estimator is not None:
            own = name_bands(self.config.bands)
            if own != tuple(self._estimator.bands):
                raise EstimatorError(
                    f"the model was fitted to the bands {list(self._estimator.bands)}, the stage has {list(own)}: give "
                    "`bands` and `err_bands` as the informer had them"
                )
        return self.model

    def validate(self) -> None:
        """Check that the table has the columns."""
        self._get_stage_columns()
        self._check_column_names(self.get_handle("input", allow_missing=True), self.stage_columns)

    def _get_stage_columns(self) -> None:
        self.stage_columns = [*self.config.bands, *self.config.err_bands]

    def _process_chunk(self, start: int, end: int, data: Any, first: bool) -> None:
        assert self._estimator is not None, "the model is opened before the first chunk"
        fluxes_NF, errors_NF, flags_N = read_photometry(self._convert_table_format(data), self.config)
        inputs = Inputs(fluxes_NF, errors_NF, None, flags_N)
        found = self._estimator.estimate(inputs, batch_size=self.config.batch_size)
        assert found.pdf is not None, "models are of estimators that give p(z)"
        quantiles_NQ = np.where(np.isfinite(found.z_phot_N)[:, None], found.pdf.quantiles_NQ, np.nan)
        ensemble = self._make_ensemble(quantiles_NQ, {"z_phot": found.z_phot_N, "flags": found.flags_N})
        self._do_chunk_output(ensemble, start, end, first, data=data)

    def _make_ensemble(self, quantiles_NQ: npt.NDArray[np.floating], ancil: dict[str, npt.NDArray[Any]]) -> Any:
        config = self.config
        figures = summarize_quantiles(quantiles_NQ, ancil["z_phot"])
        ancil |= {f"z{name}": figures[f"z_{name}"] for name in ("mode", "mean", "median")}
        # RAIL asks for a p(z) in every row, and qp knows none that is missing.
        lost_N = np.isnan(quantiles_NQ[:, 0])
        even_Q = config.zmin + (config.zmax - config.zmin) * np.asarray(LEVELS)
        filled_NQ = np.where(lost_N[:, None], even_Q, quantiles_NQ)
        grid = None if config.pdf == "quant" else np.linspace(config.zmin, config.zmax, config.nzbins)
        return make_ensemble(filled_NQ, z_grid=grid, ancil=ancil)


def name_bands(columns: Sequence[str]) -> tuple[str, ...]:
    """Name the bands by what tells their columns apart.

    Examples
    --------
    >>> name_bands(["mag_u_lsst", "mag_g_lsst"]), name_bands(["u"]), name_bands(["mag_i1", "mag_i2"])
    (('u', 'g'), ('u',), ('i1', 'i2'))
    """
    # By whole words: i1 and i2 share a letter.
    words = [name.split("_") for name in columns]
    while len(columns) > 1 and len({each[0] for each in words}) == 1 and min(map(len, words)) > 1:
        words = [each[1:] for each in words]
    while len(columns) > 1 and len({each[-1] for each in words}) == 1 and min(map(len, words)) > 1:
        words = [each[:-1] for each in words]
    return tuple("_".join(each) for each in words)


def read_photometry(table: Any, config: Any) -> Photometry:
    """Read fluxes and errors [nJy], shape (N, F), and the flags that say what is missing, from RAIL's magnitudes.

    Parameters
    ----------
    table : mapping of str to array
    config : StageConfig
        Of either stage. What was not detected has a flux of 0, and for its error the limit that stands in the column of
        errors, as in catalogues for BPZ, or else that of ``mag_limits`` [mag(AB), 1 sigma].
    """
    measured = [_measure(table, config, *columns) for columns in zip(config.bands, config.err_bands, strict=True)]
    fluxes, errors = ([values.astype(np.float32) for values in each] for each in zip(*measured, strict=True))
    return np.stack(fluxes, axis=1), np.stack(errors, axis=1), flag_bands(fluxes, errors)


def _measure(table: Any, config: Any, column: str, error: str) -> tuple[Array, Array]:
    meaning = Magnitudes(
        column=column,
        error=error,
        kind="mag",
        not_detected=(_UNDETECTED,),
        not_observed=(config.nonobserved_val,),
        limit_in_error=True,
        dereddened=True,
    )

    def read(name: str) -> Array:
        values = np.asarray(table[name], dtype=np.float64)
        if name == column:
            # Some of RAIL's stages write NaN there, which elsewhere says that nothing was observed.
            sentinel = config.nondetect_val
            values = np.where(np.isnan(values) if np.isnan(sentinel) else values == sentinel, _UNDETECTED, values)
        return values

    found = measure_band(read, meaning, column, Extinction())
    limit = compute_fluxes_from_magnitudes(np.array([config.mag_limits.get(column, np.nan)]), np.ones(1))[0]
    return found.flux_N, np.where((found.flux_N == 0) & np.isnan(found.error_N), limit, found.error_N)


def pack_estimator(estimator: Estimator, *, columns: Sequence[str]) -> dict[str, Any]:
    """Pack an estimator's folder into what a model file of RAIL holds: plain values, and no class that may move."""
    with tempfile.TemporaryDirectory() as folder:
        estimator.save(folder)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)
    return {"format": _FORMAT, "columns": list(columns), "folder": packed.getvalue()}


def unpack_estimator(model: Any) -> Estimator:
    """Load the estimator that `pack_estimator` packed.

    Raises
    ------
    EstimatorError
        The model is another program's, or of another version of this one.
    """
    if not isinstance(model, dict) or model.get("format") != _FORMAT:
        raise EstimatorError(f"the model is no {_FORMAT}: make it by the stage PhotozInformer")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(model["folder"])) as archive:
            archive.extractall(folder)
        return load_estimator(folder).prepare("float32")


def _check(estimator: Estimator) -> None:
    if not estimator.gives_pdf or estimator.image_bands:
        problem = "reads images" if estimator.image_bands else "gives no p(z)"
        raise EstimatorError(
            f"the {estimator.name} estimator {problem}, and a stage of RAIL is to give p(z) of a table: choose mlp, or "
            "a trained network without images"
        )
