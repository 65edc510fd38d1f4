"""Redshifts of a catalogue that LSDB has open, lazily: nothing is read or estimated before LSDB computes.

It needs the package lsdb (``pip install 'photoz[lsdb]'``), and knows none of the engines: where the work is done is for
the Dask client to say that LSDB computes with.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from photoz.content import compute_key
from photoz.errors import EstimatorError
from photoz.estimators import Estimator, load_estimator
from photoz.estimators.folder import read_manifest
from photoz.inference import estimate_rows, prepare_estimator
from photoz.optional import needs
from photoz.schema import HEALPIX_COLUMN, make_catalogue_schema
from photoz.settings.inference import Inference
from photoz.tables import TableSurvey, choose_columns, convert, load_survey
from photoz.tables.masks import list_masks

if TYPE_CHECKING:
    import lsdb
    import pandas as pd

_ROW = "__row__"  # of the partition's table, by which what the survey's cuts leave is found again
_OWN = {HEALPIX_COLUMN, "object_id", "ra", "dec", "tile", "mag_auto"}  # of our catalogues, and not of what is estimated


def estimate(
    catalog: "lsdb.Catalog",
    model: str,
    *,
    survey: str | TableSurvey = "plain",
    columns: Sequence[str] = (),
    settings: Inference | None = None,
) -> "lsdb.Catalog":
    """Estimate the redshifts of a catalogue, partition by partition, when it is computed.

    Parameters
    ----------
    catalog : lsdb.Catalog
        From ``lsdb.open_catalog``, or what LSDB made of one. Only the columns that are needed are read.
    model : str
        Location of an estimator's folder, which every worker must be able to open. Each process loads it once.
    survey : str or TableSurvey
        What the columns mean: the name or the file of a survey (`photoz.tables.load_survey`).
    columns : sequence of str
        Columns of the catalogue to keep besides.
    settings : Inference, optional
        Precision, threads, batches, and whether p(z) is wanted.

    Returns
    -------
    lsdb.Catalog
        The same partitions and margin: identifier and position under their own names, ``columns``, and of
        `photoz.schema.make_catalogue_schema` ``z_phot``, ``flags`` and the columns of p(z). Rows that the survey's cuts
        set aside are not in it.

    Raises
    ------
    MissingPackageError
        The package lsdb is not installed.
    ConfigError
        The catalogue lacks columns that the survey names, or bands that the estimator reads.
    EstimatorError
        There is no estimator, or it reads images.
    """
    _require_lsdb()
    chosen = (load_survey(survey) if isinstance(survey, str) else survey).without_redshifts()
    settings = settings or Inference()
    # Here once, so that what does not fit is told before anything is computed.
    estimator = load_estimator(model)
    if estimator.image_bands:
        raise EstimatorError(f"the {estimator.name} estimator reads images, and a catalogue of LSDB has none")
    needed = list(choose_columns(chosen, catalog.columns, estimator.bands, table=catalog.name).columns)
    needed += list_masks(needed, list(catalog.columns))
    place = catalog.hc_structure.catalog_info
    kept = list(dict.fromkeys([*chosen.identifiers, place.ra_column, place.dec_column, *columns]))
    read = catalog[list(dict.fromkeys([*kept, *needed]))]
    # Made here: LSDB would hide what is raised behind an error of its own.
    meta = estimate_frame(read.meta, model, chosen, settings, kept)
    result: lsdb.Catalog = read.map_partitions(estimate_frame, model, chosen, settings, kept, meta=meta)
    return result


def estimate_frame(
    frame: "pd.DataFrame", model: str, survey: TableSurvey, settings: Inference, kept: Sequence[str]
) -> "pd.DataFrame":
    """Estimate the redshifts of one partition; of one without rows, too, by which LSDB knows the columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of a catalogue, of any index.
    model, survey, settings
        As of `estimate`.
    kept : sequence of str
        Columns of the frame to keep.
    """
    import pandas as pd

    estimator = _load(model, settings, compute_key(read_manifest(model)))
    table = pa.Table.from_pandas(pd.DataFrame(frame), preserve_index=False)
    table = table.append_column(_ROW, pa.array(np.arange(len(table)), pa.int64()))
    survey = msgspec.structs.replace(survey, carry=(_ROW,))
    found = convert(table, survey, estimator.bands).table
    estimated = estimate_rows(_complete(found), estimator, batch_size=settings.batch_size).table
    made = estimated.drop_columns([name for name in estimated.column_names if name in (*_OWN, _ROW)])
    left = frame.iloc[found[_ROW].to_numpy()][list(kept)]
    columns = made.to_pandas(types_mapper=pd.ArrowDtype).set_index(left.index)
    return left.assign(**{name: columns[name] for name in columns})


@lru_cache(maxsize=1)
def _load(model: str, settings: Inference, _content: str) -> Estimator:
    # One: a worker that serves many catalogues would come to hold the models of all. By the manifest's content, too:
    # a notebook may fit anew into the same folder, and estimate again.
    return prepare_estimator(model, settings)


def _complete(rows: pa.Table) -> pa.Table:
    """Give rows the columns of a source catalogue that an estimate does not read, as rows without them have them."""
    empty = {pa.string(): "", pa.int64(): 0}
    for each in make_catalogue_schema():
        if each.name not in rows.column_names and each.name not in ("z_phot", "flags"):
            value = pa.scalar(empty.get(each.type, float("nan")), each.type)
            rows = rows.append_column(each, pa.repeat(value, len(rows)))
    return rows


def _require_lsdb() -> None:
    with needs("a catalogue of LSDB", "lsdb", extra="lsdb"):
        import lsdb  # noqa: F401
