"""Read a plain catalogue of galaxies with known redshifts from a table of any format."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import CatalogueError, TableError
from photoz.estimators.photometric.base import Sample
from photoz.measured import (
    HIGHEST_REDSHIFT,
    Band,
    Sentinels,
    check_fluxes,
    convert_magnitudes,
    describe_implausible,
    describe_repeated,
    describe_repeated_magnitudes,
    is_plausible_flux,
)
from photoz.schema import name_fluxes
from photoz.tables import check_columns, load_survey, open_survey_table
from photoz.tables.identifiers import make_exact
from photoz.tables.open import open_table
from photoz.tables.text import read_as_numbers
from photoz.training.table import read_galaxies

logger = logging.getLogger(__name__)

_IDENTIFIER, _REDSHIFT, _SPLIT = "object_id", "z_spec", "split"


@dataclass(frozen=True, eq=False)
class PlainCatalogue:
    """Galaxies with known redshifts, and which of them to learn from.

    Parameters
    ----------
    object_id : pyarrow.Array
    sample : Sample
    train_N : ndarray of bool
        The others are to be tested on.
    """

    object_id: pa.Array
    sample: Sample
    train_N: npt.NDArray[np.bool_]


def read_survey_catalogue(
    location: str,
    survey: str,
    bands: Sequence[str] | None = None,
    *,
    test_fraction: float = 0.3,
    seed: int = 1,
    z_max: float | None = None,
) -> PlainCatalogue:
    """Read any table by what a survey's file says of its columns.

    Parameters
    ----------
    location : str
        As `photoz.tables.open_table` takes it.
    survey : str
        As `photoz.tables.load_survey` takes it.
    bands : sequence of str, optional
        All of the survey by default.
    test_fraction, seed, z_max
        As `read_plain_catalogue`; the split is random.

    Returns
    -------
    PlainCatalogue
        Rows without a redshift are left out.

    Raises
    ------
    ConfigError, TableError
        The table is missing or damaged, or is not what the survey's file says.
    TrainingError, CatalogueError
        No galaxy has a redshift, or too few to learn from and to test on.
    """
    known = load_survey(survey)
    table = open_survey_table(location, known)
    checked = check_columns(table, known, bands, need=("z_spec",))
    galaxies = read_galaxies(table, known, checked.bands, z_max=z_max)
    for name, text in (("without_redshift", "have no redshift"), ("beyond_z_max", "lie beyond data.z_max")):
        if lost := galaxies.counts.get(name):
            logger.warning("%s: %d of %d rows %s and are left out", location, lost, galaxies.counts["rows_out"], text)
    train_N = _split_at_random(len(galaxies.sample), test_fraction, seed)
    if train_N.all() or not train_N.any():
        raise CatalogueError(f"{location}: {len(train_N)} galaxies are too few to learn from some and test on others")
    return PlainCatalogue(galaxies.object_id, galaxies.sample, train_N)


def read_plain_catalogue(
    location: str,
    bands: Sequence[str],
    *,
    test_fraction: float = 0.3,
    seed: int = 1,
    z_max: float | None = None,
) -> PlainCatalogue:
    """Read a plain catalogue.

    Parameters
    ----------
    location : str
        Of a table that `photoz.tables.open_table` reads: a file, folder or HATS catalogue; ``*`` stands for any name.
        Its columns have the names of a plain catalogue, whatever the format; no other is read.
    bands : sequence of str
    test_fraction, seed : float, int
        Used where there is no column ``split``.
    z_max : float, optional
        Rows beyond it are left out.

    Returns
    -------
    PlainCatalogue
        Rows without a finite ``z_spec`` and those beyond ``z_max`` are left out, and said so in the log. A band has
        ``flux_<b>`` and ``fluxerr_<b>`` [nJy, AB, dereddened], or else ``mag_<b>`` and ``magerr_<b>`` [mag(AB)]. A
        magnitude of 99 says that the band was observed and nothing detected (a flux of 0, whose error is that of the
        limiting magnitude of 1 sigma where ``magerr_<b>`` holds one), -99 or NaN that it was not observed. What is no
        measurement (`photoz.measured`) is missing, and counted in the log, which also names a redshift, magnitude or
        flux that many rows share exactly. Identifiers are exact whole numbers, or text.

    Raises
    ------
    CatalogueError
        The table is missing, unreadable or of another kind; it lacks a column; an identifier occurs twice, or is a
        float that rounds; a redshift is at most -1 or beyond `photoz.measured.HIGHEST_REDSHIFT`; none is within
        ``z_max``; nothing was detected in a band; or the split has no training or no test rows.
    """
    table = read_table(location, bands)
    if not len(table):
        raise CatalogueError(f"{location} has no rows")
    z_N = _get_floats(table, _REDSHIFT, location)
    known_N = np.isfinite(z_N)
    # Before identifiers are looked at: a row without a redshift is left out, and may be repeated.
    if not known_N.all():
        logger.warning("%s: %d of %d rows have no z_spec and are left out", location, (~known_N).sum(), len(z_N))
        table, z_N = table.filter(pa.array(known_N)), z_N[known_N]
    if z_max is not None and (far_N := z_N > z_max).any():
        logger.warning("%s: %d of %d rows lie beyond data.z_max and are left out", location, far_N.sum(), len(z_N))
        table, z_N = table.filter(pa.array(~far_N)), z_N[~far_N]
        if not len(z_N):
            raise CatalogueError(f"{location}: no row has z_spec <= data.z_max = {z_max}: raise it, or leave it out")
    # Of the rows that are left: identifiers, redshifts and magnitudes must go on side by side.
    object_id = table[_IDENTIFIER].combine_chunks()
    _check_rows(object_id, z_N, location)
    if said := describe_repeated(z_N):
        logger.warning("%s: %s: set z_spec to NaN where that stands for no redshift", location, said)
    found = {band: _read_band(table, band, location) for band in bands}
    if said := "; ".join(filter(None, (_describe_repeated_values(table, band, location) for band in bands))):
        logger.warning("%s: %s: set it to NaN where that stands for no measurement", location, said)
    if said := describe_implausible({band: each.implausible for band, each in found.items()}):
        logger.warning("%s: values that are no measurement, taken for missing, rows by band: %s", location, said)
    fluxes_NF = np.stack([each.flux_N for each in found.values()], axis=1)
    errors_NF = np.stack([each.error_N for each in found.values()], axis=1)
    sample = Sample(tuple(bands), fluxes_NF, errors_NF, z_N)
    lacking_NF = np.isnan(sample.magnitudes.magnitudes_NF)
    if empty := [band for i, band in enumerate(bands) if lacking_NF[:, i].all()]:
        raise CatalogueError(f"{location}: no galaxy was detected in {', '.join(empty)}: leave it out of data.bands")
    return PlainCatalogue(object_id, sample, _choose_training_rows(table, location, test_fraction, seed))


def read_table(location: str, bands: Sequence[str]) -> pa.Table:
    """Read the columns of a plain catalogue, and no other, from a table of any format (`photoz.tables.open_table`).

    Raises
    ------
    CatalogueError
        It is missing, damaged or of another kind, lacks a column or holds another type in one.
    """
    try:
        # Text, or a reader that takes 0012 for a number would lose its zeros, and one of 64 bits what is beyond them.
        # The split too: its first words may come late in a file of which the first rows have none.
        table = open_table(location, text=(_IDENTIFIER, _SPLIT))
        names = _choose_columns(table.schema.names, location, bands)
        table = read_as_numbers(table, [name for name in names if name not in (_IDENTIFIER, _SPLIT)])
        schema = table.select(names)
        batches = (batch for part in table.parts for batch in table.read(part, names))
        found = pa.Table.from_batches(batches, schema)
        return found.set_column(0, _IDENTIFIER, _read_identifiers(found[_IDENTIFIER]))
    except TableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CatalogueError(f"there is no catalogue at {location!r}: correct data.catalogue") from error
        raise CatalogueError(str(error)) from error
    # A store that does not answer, and what is forbidden: here nothing is tried again.
    except OSError as error:
        raise CatalogueError(f"{location!r} cannot be read ({error})") from error


def _read_identifiers(column: pa.ChunkedArray) -> pa.Array:
    values = make_exact(_IDENTIFIER, column.combine_chunks())
    if pa.types.is_string(values.type) and len(values):
        # Digits that a program has written as a number, of a CSV file, are one; 0012 and what has no 64 bits are text.
        whole = pc.all(pc.match_substring_regex(values, r"^(0|-?[1-9][0-9]{0,17})$"), skip_nulls=True).as_py()
        return values.cast(pa.int64()) if whole else values
    return values


def _choose_columns(names: Sequence[str], location: str, bands: Sequence[str]) -> list[str]:
    wanted = [_IDENTIFIER, _REDSHIFT, *(name for band in bands for name in _name_columns(names, band))]
    if missing := [name for name in wanted if name not in names]:
        raise CatalogueError(f"{location} lacks the columns {missing}; it has {list(names)}: correct data.bands")
    return wanted + [name for name in (_SPLIT,) if name in names]


def _check_rows(object_id: pa.Array, z_N: npt.NDArray[np.float64], location: str) -> None:
    if object_id.null_count:
        raise CatalogueError(
            f"{location}: {object_id.null_count} rows have no object_id: leave them out, or give each galaxy one"
        )
    counts = object_id.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise CatalogueError(
            f"{location}: {len(twice)} identifiers occur more than once (the first: "
            f"{twice.field('values')[0].as_py()}): keep one row of each galaxy"
        )
    # dz divides by 1 + z_spec, and a redshift of -1 is how some say that there is none.
    wrong_N = (z_N <= -1) | (z_N > HIGHEST_REDSHIFT)
    if wrong_N.any():
        raise CatalogueError(
            f"{location}: z_spec is {z_N[wrong_N][0]} in {wrong_N.sum()} rows; a redshift is greater than -1 and at "
            f"most {HIGHEST_REDSHIFT:g}, and no velocity: leave those rows out, or set z_spec to NaN"
        )


def _get_floats(table: pa.Table, name: str, location: str) -> npt.NDArray[np.float64]:
    try:
        # Nulls become NaN on the way; a whole number beyond 2^53 may round, as a sentinel may be one.
        values = table[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogueError(f"{location}: column {name} holds {table[name].type}, not numbers ({error})") from error
    return np.array(values, dtype=np.float64)


def _name_columns(columns: Sequence[str], band: str) -> tuple[str, str]:
    """Return the names of a band's columns: of fluxes where there are some, since they say more than magnitudes."""
    fluxes = name_fluxes(band)
    return fluxes if fluxes[0] in columns else (f"mag_{band}", f"magerr_{band}")


def _read_band(table: pa.Table, band: str, location: str) -> Band:
    names = _name_columns(table.column_names, band)
    values_N, errors_N = (_get_floats(table, name, location) for name in names)
    return check_fluxes(values_N, errors_N) if names == name_fluxes(band) else convert_magnitudes(values_N, errors_N)


def _describe_repeated_values(table: pa.Table, band: str, location: str) -> str:
    names = _name_columns(table.column_names, band)
    values_N = _get_floats(table, names[0], location)
    if names == name_fluxes(band):
        return describe_repeated(values_N[is_plausible_flux(values_N)], f"flux in {band}")
    return describe_repeated_magnitudes(values_N, Sentinels(), band)


def _choose_training_rows(table: pa.Table, location: str, test_fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    if _SPLIT in table.column_names:
        # Everything that is not "train" is tested on: of a training set of ours also "valid" and "calib".
        train_N = table[_SPLIT].cast(pa.string()).to_numpy(zero_copy_only=False) == "train"
    else:
        train_N = _split_at_random(len(table), test_fraction, seed)
    if train_N.all() or not train_N.any():
        raise CatalogueError(
            f"{location}: {train_N.sum()} of {len(table)} rows are for training: the column split must hold both "
            '"train" and "test", or be left out for a random split'
        )
    return np.asarray(train_N, dtype=bool)


def _split_at_random(count: int, test_fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    order = np.random.default_rng(seed).permutation(count)
    train_N = np.ones(count, dtype=bool)
    train_N[order[: round(test_fraction * count)]] = False
    return train_N
