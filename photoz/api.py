"""Fit and estimate on tables in memory, in the process that asks: what ``import photoz`` offers a notebook.

The commands ``photoz fit`` and ``photoz estimate`` run the same functions on tables of any size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import EstimatorError, TableError
from photoz.estimators import Estimator, load_estimator
from photoz.inference import estimate_table
from photoz.pdf import CatalogueDensities, compute_pdfs, decode_quantiles, to_qp
from photoz.schema import QUANTILES, find_algorithm
from photoz.tables import Converted, TableSurvey, choose_columns, convert, load_survey, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.load import describe_survey, make_survey
from photoz.training.table import SURVEY, choose_class, fit_galaxies, gather_galaxies, read_record
from photoz.views import make_schema

if TYPE_CHECKING:
    import qp
    from matplotlib.figure import Figure

_POINTS = 301  # of the grid on which densities are handed to qp
Floats = npt.NDArray[np.float64]
Table = Any
"""A table in memory (pandas, polars, Arrow, astropy, a mapping of column names to arrays), or the location of one."""


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted estimator and what the columns of its tables mean.

    Parameters
    ----------
    estimator : Estimator
    survey : TableSurvey
    """

    estimator: Estimator
    survey: TableSurvey

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that it reads."""
        return self.estimator.bands

    @property
    def accuracy(self) -> Mapping[str, Any]:
        """``rows``, ``smad`` and ``r2`` of the galaxies that were not learnt from; empty where it was not measured."""
        accuracy: Mapping[str, Any] = read_record(self.estimator).get("valid", {})
        return accuracy

    def save(self, location: str) -> None:
        """Write it as a folder, which `load`, ``photoz estimate`` and jobs read."""
        self.estimator.save(location)


@dataclass(frozen=True, eq=False)
class Result:
    """Redshifts of the rows of a table, in its order.

    Parameters
    ----------
    arrow : pyarrow.Table
        ``object_id``, ``z_phot``, ``flags`` (`photoz.schema.Flag`), p(z) where the model gives it (docs/pdf.md), and
        the position and other columns that the survey's file names.
    kind : str
        Of the table that was given, by the name of its library.
    """

    arrow: pa.Table
    kind: str = field(default="pyarrow")

    def __len__(self) -> int:
        return len(self.arrow)

    @property
    def table(self) -> Any:
        """The rows, in the kind of table that was given."""
        return _return_as(self.arrow, self.kind)

    @property
    def z_phot(self) -> Floats:
        """Photometric redshifts, shape (N,); NaN where there is none."""
        return np.asarray(self.arrow["z_phot"].to_numpy(), dtype=np.float64)

    @property
    def flags(self) -> npt.NDArray[np.int32]:
        """Bits of `photoz.schema.Flag`, shape (N,)."""
        return np.asarray(self.arrow["flags"].to_numpy(), dtype=np.int32)

    @cached_property
    def quantiles(self) -> Floats:
        """Redshifts at the shares `photoz.schema.LEVELS` of p(z), shape (N, 21); NaN where there is none.

        Raises
        ------
        EstimatorError
            The model gives no p(z).
        """
        algorithm = find_algorithm(self.arrow.column_names)
        if not algorithm:
            raise EstimatorError("the model gives no p(z): fit 'mlp' or another estimator that does")
        column = self.arrow[f"{algorithm}_{QUANTILES}"].combine_chunks()
        return np.asarray(decode_quantiles(column.flatten().to_numpy().reshape(len(self), -1)), dtype=np.float64)

    def pdf(self, z_grid: npt.ArrayLike) -> Floats:
        """Return p(z) on a grid of redshifts, shape (N, Z), per unit redshift; NaN where there is none."""
        return compute_pdfs(self.quantiles, np.asarray(z_grid, dtype=np.float64))

    def to_qp(self) -> "qp.Ensemble":
        """Return p(z) as an ensemble of `qp`, as RAIL reads it; rows without an estimate are left out."""
        highest = np.nanmax(self.quantiles, initial=0.0)
        z_grid = np.linspace(0.0, 1.02 * highest or 1.0, _POINTS)
        ids = np.asarray(self.arrow["object_id"].to_pylist(), dtype=np.str_)
        return to_qp(CatalogueDensities(ids, self.quantiles, z_grid, self.pdf(z_grid)))

    def plot(self, row: int) -> "Figure":
        """Draw p(z) of a row with its z_phot."""
        from photoz.plots.pdf import plot_density

        return plot_density(self.quantiles[row], float(self.z_phot[row]), title=str(self.arrow["object_id"][row]))


def fit(
    table: Table,
    bands: Sequence[str] | None = None,
    *,
    survey: str | TableSurvey = "plain",
    estimator: str = "mlp",
    z_max: float | None = None,
    valid_fraction: float = 0.1,
    seed: int = 1,
    **settings: Any,
) -> Model:
    """Fit an estimator to a table of galaxies with spectroscopic redshifts.

    Parameters
    ----------
    table : table
        pandas, polars, Arrow, astropy, a mapping of names to arrays, or the location of a file. As ``survey`` says;
        of "plain" ``z_spec`` and, per band, ``mag_<b>`` and ``magerr_<b>`` [mag(AB)] or ``flux_<b>`` and
        ``fluxerr_<b>`` [nJy]. In memory ``object_id`` may be left out.
    bands : sequence of str, optional
        In order of wavelength ("ugriz" is five bands); by default all of the survey's that the table has.
    survey : str or TableSurvey
        What the columns mean: a name, the path of a file (docs/tables.md), or what `photoz.tables.load_survey` gave.
    estimator : str
        One that reads photometry alone; "mlp" gives p(z).
    z_max : float, optional
        Galaxies beyond it are left out.
    valid_fraction : float
        Of the galaxies that are not learnt from and that ``Model.accuracy`` is measured on.
    seed : int
    **settings
        Of the estimator.

    Returns
    -------
    Model

    Raises
    ------
    ConfigError, TableError, TrainingError
        The table is not what the survey's file says, or cannot be learnt from.
    """
    kind = choose_class(estimator)
    known = load_survey(survey) if isinstance(survey, str) else survey
    chosen = None if bands is None else tuple(bands)
    if isinstance(table, str):
        opened = open_survey_table(table, known)
        names = opened.schema.names
        batches: Iterable[Converted] = (
            found for part in opened.parts for found in read_part(opened, part, known, chosen)
        )
    else:
        arrow = _identify(_take(table), known)
        names = arrow.column_names
        batches = [convert(arrow, known, chosen)]
    own = choose_columns(known, names, chosen).bands
    galaxies = gather_galaxies(((found.table, found.counts) for found in batches), own, z_max=z_max)
    fitted = fit_galaxies(kind, galaxies, seed=seed, valid_fraction=valid_fraction, settings=settings)
    # With the bands that it reads: another table may have more.
    return Model(fitted.with_record({SURVEY: describe_survey(known)}), known)


def load(location: str) -> Model:
    """Load a model that `Model.save` or ``photoz fit`` wrote.

    Raises
    ------
    EstimatorError
        There is no estimator, or it is one of a survey with images.
    """
    estimator = load_estimator(location)
    record = read_record(estimator)
    if estimator.image_bands:
        raise EstimatorError(f"{location!r} reads images: run it over a survey with photoz infer")
    return Model(estimator, make_survey(record[SURVEY], location) if SURVEY in record else load_survey("plain"))


def estimate(model: Model, table: Table, *, batch_size: int = 16_384) -> Result:
    """Estimate the redshifts of a table's rows.

    Parameters
    ----------
    model : Model
        From `fit` or `load`.
    table : table
        As of `fit`, without redshifts. Of a table in memory every row comes out, in its order.
    batch_size : int
        Galaxies that the estimator takes at one time: bounds its memory.

    Returns
    -------
    Result

    Raises
    ------
    ConfigError, TableError
        The table is not what the model's survey says.
    """
    survey, bands = model.survey, model.bands
    if isinstance(table, str):
        opened = open_survey_table(table, survey)
        schema = make_schema(opened.schema, survey, bands)
        batches = (found for part in opened.parts for found in read_part(opened, part, survey, bands))
        tables = [_estimate(model, found, schema, batch_size) for found in batches]
        return Result(pa.concat_tables(tables))
    arrow = _identify(_take(table), survey)
    schema = make_schema(arrow.schema, survey, bands)
    # Whatever the survey's file cuts: who hands over rows wants these rows back.
    found = convert(arrow, msgspec.structs.replace(survey, cuts=(), duplicates="keep"), bands)
    return Result(_estimate(model, found, schema, batch_size), _name_kind(table))


def _estimate(model: Model, found: Converted, schema: pa.Schema, batch_size: int) -> pa.Table:
    return estimate_table(found.table, model.estimator, schema, batch_size=batch_size)


def _take(table: Table) -> pa.Table:
    """Take a table of another library's as one of Arrow's."""
    if isinstance(table, pa.Table):
        return table
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if _name_kind(table) == "astropy":
        return _take_astropy(table)
    # The Arrow PyCapsule interface, which pandas, polars, DuckDB and others have.
    if hasattr(table, "__arrow_c_stream__"):
        return pa.table(table)
    if isinstance(table, Mapping):
        return pa.table({name: pa.array(np.asarray(values)) for name, values in table.items()})
    raise TableError(
        f"a table of type {type(table).__name__} cannot be read: give one of pandas, polars, Arrow or astropy, a "
        "mapping of column names to arrays, or the location of a file"
    )


def _take_astropy(table: Any) -> pa.Table:
    columns = {}
    for name in table.colnames:
        column = table[name]
        # A cell with an array, such as a spectrum, is none of the columns that are asked for.
        if getattr(column, "ndim", 1) > 1 or not hasattr(column, "dtype"):
            continue
        mask = np.asarray(getattr(column, "mask", np.zeros(len(column), bool)))
        values = np.asarray(column)
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        if values.dtype.kind == "O":
            continue
        # FITS is big-endian, and Arrow takes the machine's order of bytes alone.
        columns[name] = pa.array(values.astype(values.dtype.newbyteorder("=")), mask=np.broadcast_to(mask, len(column)))
    return pa.table(columns)


def _identify(table: pa.Table, survey: TableSurvey) -> pa.Table:
    """Number the rows of a table in memory that names none."""
    if survey.identifiers == ("object_id",) and "object_id" not in table.column_names:
        return table.append_column("object_id", pa.array([str(row) for row in range(len(table))], pa.string()))
    return table


def _name_kind(table: Table) -> str:
    return type(table).__module__.partition(".")[0]


def _return_as(table: pa.Table, kind: str) -> Any:
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    if kind == "astropy":
        from astropy.table import Table as AstropyTable

        return AstropyTable({name: _to_cells(table[name]) for name in table.column_names})
    return table


def _to_cells(column: pa.ChunkedArray) -> Any:
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        return np.asarray(column.combine_chunks().flatten().to_numpy()).reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
