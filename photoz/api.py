"""Fit and estimate on tables in memory, in the process that asks: what ``import photoz`` offers a notebook.

The commands ``photoz fit`` and ``photoz estimate`` run the same functions on tables of any size.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import ConfigError, EstimatorError
from photoz.estimators import Estimator, load_estimator
from photoz.estimators.photometric.values import is_like, is_number, to_plain
from photoz.inference import estimate_table
from photoz.measured import describe_repeated_fluxes
from photoz.pdf import CatalogueDensities, compute_pdfs, decode_quantiles, to_qp
from photoz.schema import LEVELS, QUANTILES, find_algorithm
from photoz.settings.locations import settle_location
from photoz.storage import is_file
from photoz.tables import Converted, TableSurvey, check_columns, choose_columns, convert, load_survey, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.check import warn_of_scale
from photoz.tables.columns import find_bands
from photoz.tables.load import describe_survey, make_survey
from photoz.tables.memory import name_kind, open_memory, take_columns
from photoz.training.recorded import SURVEY, read_record
from photoz.training.table import choose_class, fit_galaxies, gather_galaxies
from photoz.views import SET_ASIDE, make_schema

if TYPE_CHECKING:
    import qp
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

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

    def save(self, location: str | os.PathLike[str]) -> None:
        """Write it as a folder, which `load`, ``photoz estimate`` and jobs read.

        Raises
        ------
        ConfigError
            The location is a file, or none.
        """
        location = _settle(location, "location")
        if is_file(location):
            raise ConfigError(f"location = {location!r} is a file: give a folder")
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
        """Redshifts at the shares `photoz.schema.LEVELS` of p(z), shape (N, Q); NaN where there is none.

        Raises
        ------
        EstimatorError
            The model gives no p(z).
        """
        algorithm = find_algorithm(self.arrow.column_names)
        if not algorithm:
            raise EstimatorError("the model gives no p(z): fit 'mlp' or another estimator that does")
        column = self.arrow[f"{algorithm}_{QUANTILES}"].combine_chunks()
        return np.asarray(
            decode_quantiles(column.flatten().to_numpy().reshape(len(self), len(LEVELS))), dtype=np.float64
        )

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
    survey: str | os.PathLike[str] | TableSurvey = "plain",
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
        In order of wavelength ("ugriz" is five bands, and so is "u,g,r,i,z"); by default all of the survey's that the
        table has.
    survey : str, path or TableSurvey
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
    kind, known, chosen, z_max = choose_class(estimator), _find_survey(survey), _list_bands(bands), to_plain(z_max)
    if not (z_max is None or (is_number(z_max) and z_max > 0)):
        raise ConfigError(f"z_max = {z_max!r}: give a redshift above 0, or None")
    if isinstance(table, str | os.PathLike):
        opened = open_survey_table(_settle(table, "table"), known)
        check_columns(opened, known, chosen, need=("z_spec",))
        names = opened.schema.names
        batches: Iterable[Converted] = (
            found for part in opened.parts for found in read_part(opened, part, known, chosen)
        )
    else:
        arrow = take_columns(open_memory(table), known, chosen)
        names = arrow.column_names
        batches = [convert(arrow, known, chosen)]
        warn_of_scale(batches[0], choose_columns(known, names, chosen).bands, "the table")
    own = choose_columns(known, names, chosen).bands
    gathered = ((found.table, found.counts) for found in batches)
    galaxies = gather_galaxies(gathered, own, z_max=z_max, duplicates=known.duplicates)
    fitted = fit_galaxies(kind, galaxies, seed=seed, valid_fraction=valid_fraction, settings=settings)
    # With the bands that it reads: another table may have more.
    return Model(fitted.with_record({SURVEY: describe_survey(known)}), known)


def load(location: str | os.PathLike[str]) -> Model:
    """Load a model that `Model.save` or ``photoz fit`` wrote.

    Raises
    ------
    EstimatorError
        There is no estimator, or it is one of a survey with images.
    """
    location = _settle(location, "location")
    estimator = load_estimator(location)
    record = read_record(estimator)
    if estimator.image_bands:
        raise EstimatorError(f"{location!r} reads images: run it over a survey with photoz infer")
    return Model(estimator, make_survey(record[SURVEY], location) if SURVEY in record else load_survey("plain"))


def estimate(
    model: Model,
    table: Table,
    *,
    batch_size: int = 16_384,
    absent_bands: Literal["refuse", "accept"] = "refuse",
) -> Result:
    """Estimate the redshifts of a table's rows.

    Parameters
    ----------
    model : Model
        From `fit` or `load`.
    table : table
        As of `fit`, without redshifts. Of a table in memory every row comes out, in its order; of a file the log tells
        how many rows are set aside: by the survey's cuts, or without an identifier.
    batch_size : int
        Galaxies that the estimator takes at one time: bounds its memory.
    absent_bands : "refuse" or "accept"
        Of bands that the model reads and the table lacks; accepted, they count as not observed.

    Returns
    -------
    Result

    Raises
    ------
    ConfigError, TableError
        The table is not what the model's survey says.
    """
    _check_arguments(model, batch_size, absent_bands)
    survey = model.survey.without_redshifts()
    if isinstance(table, str | os.PathLike):
        return _estimate_file(model, survey, _settle(table, "table"), batch_size, absent_bands)
    # Whatever the survey's file cuts: who hands over rows wants these rows back.
    survey, opened = msgspec.structs.replace(survey, cuts=(), duplicates="keep"), open_memory(table)
    survey, bands = _settle_bands(survey, opened.names, model.bands, absent_bands)
    arrow = take_columns(opened, survey, bands)
    found = convert(arrow, survey, bands, nameless=True)
    warn_of_scale(found, bands, "the table")
    for band in bands:
        if said := describe_repeated_fluxes(found.table[f"flux_{band}"].to_numpy(), band):
            logger.warning("%s", said)
    schema = make_schema(arrow.schema, survey, model.bands)
    return Result(_estimate(model, found, schema, batch_size), name_kind(table))


def _settle(location: str | os.PathLike[str], what: str) -> str:
    """Write a location out, as settings do: ``~``, ``$NAME`` and relative paths mean one place everywhere."""
    if not isinstance(location, str | os.PathLike) or not isinstance(os.fspath(location), str):
        raise ConfigError(f"{what} = {location!r}: give a path or a URL")
    settled = settle_location(os.fspath(location), what)
    # What is joined to it would lie in the folder that this process works in.
    if not settled:
        raise ConfigError(f"{what} is empty: give a path or a URL")
    return settled


def _find_survey(survey: str | os.PathLike[str] | TableSurvey) -> TableSurvey:
    if isinstance(survey, TableSurvey):
        return survey
    if isinstance(survey, str | os.PathLike):
        name = os.fspath(survey)
        # A survey that photoz knows has a name alone.
        return load_survey(_settle(name, "survey") if set(name) & set("~$/") else name)
    raise ConfigError(f"survey = {survey!r}: give a name, the path of a file, or what load_survey gave")


def _list_bands(bands: Sequence[str] | None) -> tuple[str, ...] | None:
    if bands is None:
        return None
    # As the command has it; no band is called ",".
    listed = bands.split(",") if isinstance(bands, str) and "," in bands else bands
    if not isinstance(listed, Iterable):
        raise ConfigError(f"bands = {bands!r}: give the names of bands, in order of wavelength")
    names = tuple(name.strip() if isinstance(name, str) else name for name in listed)
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"bands = {bands!r}: give the names of bands, in order of wavelength")
    return names


def _check_arguments(model: Model, batch_size: int, absent_bands: str) -> None:
    """Refuse what would make every row fail, each with a line of its own in the log."""
    if not isinstance(model, Model):
        raise ConfigError(f"model is a {type(model).__name__}: give what photoz.fit or photoz.load returned")
    if not is_like(to_plain(batch_size), 1):
        raise ConfigError(f"batch_size = {batch_size!r}: give a whole number of 1 or more")
    if absent_bands not in ("refuse", "accept"):
        raise ConfigError(f"absent_bands = {absent_bands!r}: give 'refuse' or 'accept'")


def _estimate_file(model: Model, survey: TableSurvey, location: str, batch_size: int, absent_bands: str) -> Result:
    table = open_survey_table(location, survey)
    survey, bands = _settle_bands(survey, table.schema.names, model.bands, absent_bands)
    schema = make_schema(table.schema, survey, model.bands)
    tables: list[pa.Table] = []
    aside = Counter[str]()
    for part in table.parts:
        for found in read_part(table, part, survey, bands):
            if not tables:
                warn_of_scale(found, bands, location)
            aside.update({reason: found.counts.get(reason, 0) for reason in SET_ASIDE})
            tables.append(_estimate(model, found, schema, batch_size))
    if told := ", ".join(f"{reason} {count}" for reason, count in aside.items() if count):
        logger.warning("%s: rows that are set aside: %s", location, told)
    # A file without rows may have no batch, of which nothing could be put together.
    none = _estimate(model, convert(table.schema.empty_table(), survey, bands), schema, batch_size)
    return Result(pa.concat_tables([none, *tables]))


def _settle_bands(
    survey: TableSurvey, names: Sequence[str], bands: Sequence[str], absent_bands: str
) -> tuple[TableSurvey, Sequence[str]]:
    """Return the survey and a model's bands as they are, or as a table has them where it may lack some."""
    there = find_bands(survey, names, bands) if absent_bands == "accept" else ()
    # Of a table that has none of them it is told what it lacks.
    return (msgspec.structs.replace(survey, bands=there), there) if there else (survey, bands)


def _estimate(model: Model, found: Converted, schema: pa.Schema, batch_size: int) -> pa.Table:
    return estimate_table(found.table, model.estimator, schema, batch_size=batch_size)


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
        # Of no rows numpy cannot tell how long each would be.
        length = -1 if len(column) else 0
        return np.asarray(column.combine_chunks().flatten().to_numpy()).reshape(len(column), length)
    return column.to_numpy(zero_copy_only=False)
