"""The galaxies that catalogues are measured on: the test split of a training set, or those of a table of redshifts."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import ConfigError, TrainingError
from photoz.inputs import read_fluxes
from photoz.metrics import FloatArray
from photoz.photometry import derive_magnitudes
from photoz.schema import name_fluxes
from photoz.training.set import read_split, set_location
from photoz.training.settings import Crossmatch

logger = logging.getLogger(__name__)

RowReader = Callable[[Sequence[str]], Iterator[pa.Table]]
"""Reads the named columns of rows among which the test galaxies are, a table at a time."""


@dataclass(frozen=True, eq=False)
class Galaxies:
    """The test galaxies: T of them with a spectroscopic redshift.

    Parameters
    ----------
    object_id : pyarrow.Array of string, length T
        Each once; null for a galaxy that was looked for by its position and is in no catalogue.
    z_spec : ndarray of float64, shape (T,)
    mag_auto : ndarray of float64, shape (T,)
        [mag(AB)] in r; NaN where there is none.
    colour : ndarray of float64, shape (T,)
        [mag] difference of the bands of ``evaluation.colour``; NaN where either is missing.
    repeated : int
        Rows left out because their object_id had come before.
    truth : str
        Location of the table that their redshifts are from; "": the training set's test split.
    notes : tuple of str
        What a reader of the figures should know of them, a sentence each.
    """

    object_id: pa.Array
    z_spec: FloatArray
    mag_auto: FloatArray
    colour: FloatArray
    repeated: int
    truth: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.z_spec)

    def find(self, identifiers: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return which of the galaxies each identifier is of; null for one of none."""
        # Cast, as the identifiers of a catalogue that others made may be numbers. A damaged one may hold nulls, which
        # are no galaxy that is missing.
        return pc.index_in(identifiers.cast(pa.string()), value_set=self.object_id, skip_nulls=True)

    def match(self, identifiers: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which of the galaxies are among these rows, and the rows: each galaxy once, at its first row."""
        place = self.find(identifiers)
        rows = np.flatnonzero(pc.is_valid(place).to_numpy())
        # `return_index` gives the first row of each.
        index, first = np.unique(pc.drop_null(place).to_numpy().astype(np.int64), return_index=True)
        return index, rows[first]


def read_test_galaxies(
    training: str, *, bands: Sequence[str], colour: tuple[str, str], crossmatch: Crossmatch
) -> Galaxies:
    """Read identifiers, redshifts and magnitudes of the training set's test split, without its cutouts.

    Parameters
    ----------
    training : str
        Folder of the training set, ``locations.training``.
    bands : sequence of str
        Of the survey, with a flux in the training set.
    colour : (str, str)
        Bands whose difference of magnitudes is the colour, ``evaluation.colour``.
    crossmatch : Crossmatch
        Names the split in the message where its share is empty.

    Returns
    -------
    Galaxies
        Rows without a finite z_spec are left out.

    Raises
    ------
    ConfigError
        ``evaluation.colour`` names a band that the survey lacks.
    TrainingError
        There is no training set, a file of it is damaged, or no test galaxy has a redshift.
    """
    blue, red = colour
    unknown = [band for band in colour if band not in bands]
    if unknown:
        raise ConfigError(f"evaluation.colour has {unknown}, which survey.bands {list(bands)} lacks")
    # Without the cutouts, which are nearly all of a training set's bytes.
    columns = ["object_id", "z_spec", "mag_auto", *name_fluxes(blue), *name_fluxes(red)]
    try:
        table = pa.concat_tables(read_split(training, "test", columns))
    except (pa.ArrowException, KeyError) as error:
        raise TrainingError(
            f"the training set {set_location(training)} cannot be read ({error}): make it again with jobs/train_dr4.py"
        ) from error
    table = table.filter(pc.is_finite(table["z_spec"]))
    if len(table) == 0:
        raise TrainingError(
            f"the training set {set_location(training)} has no galaxy with a redshift in its test split: "
            f"crossmatch.fractions = {crossmatch.fractions} (train, valid, calib, test) must leave some for it"
        )
    return _make_galaxies(table, colour)


def _make_galaxies(table: pa.Table, colour: tuple[str, str]) -> Galaxies:
    identifiers = table["object_id"].cast(pa.string()).combine_chunks()
    _, first = np.unique(identifiers.to_numpy(zero_copy_only=False), return_index=True)
    # In the order of the training set, since `np.unique` sorts by identifier.
    kept = np.sort(first)
    values = {name: table[name].to_numpy().astype(np.float64)[kept] for name in ("z_spec", "mag_auto")}
    fluxes_NF, errors_NF = (each.astype(np.float64)[kept] for each in read_fluxes(table, colour))
    blue_N, red_N = derive_magnitudes(fluxes_NF, errors_NF).magnitudes_NF.T
    repeated = len(table) - len(kept)
    if repeated:
        logger.warning("%d test galaxies have more than one redshift; the first one counts", repeated)
    return Galaxies(
        object_id=identifiers.take(pa.array(kept)),
        z_spec=values["z_spec"],
        mag_auto=values["mag_auto"],
        colour=blue_N - red_N,
        repeated=repeated,
    )


def read_magnitudes(rows: RowReader, galaxies: Galaxies, bands: Sequence[str]) -> FloatArray:
    """Read the magnitudes of the galaxies.

    Parameters
    ----------
    rows : callable
    galaxies : Galaxies
    bands : sequence of str

    Returns
    -------
    ndarray of float64, shape (T, bands)
        [mag(AB)] NaN where the rows hold none, or not the galaxy.
    """
    magnitudes_NF = np.full((len(galaxies), len(bands)), np.nan)
    for table in rows(["object_id", *(name for band in bands for name in name_fluxes(band))]):
        index, found = galaxies.match(table["object_id"])
        magnitudes_NF[index] = derive_magnitudes(*read_fluxes(table, bands)).magnitudes_NF[found]
    return magnitudes_NF
