"""Names, types, units and flags shared by every table that photoz reads or writes.

Imports nothing of ours, so that every other module can import it.
"""

from collections.abc import Iterable
from enum import IntFlag

import pyarrow as pa

HEALPIX_COLUMN = "_healpix_29"
HEALPIX_ORDER = 29


class Flag(IntFlag):
    """Bits of the ``flags`` column: what was wrong with a row, from input to estimate.

    A row with no bit set was estimated from everything the estimator asks for.
    """

    BAND_NOT_DETECTED = 1 << 0
    """A band was observed and nothing was measured in it (KiDS: magnitude 99)."""
    BAND_NOT_OBSERVED = 1 << 1
    """A band was not observed at this position (KiDS: magnitude -99)."""
    NO_PHOTOMETRY = 1 << 2
    """No band has a magnitude."""
    NO_TILE = 1 << 3
    """The tile this source belongs to is not in the tile store."""
    TILE_UNREADABLE = 1 << 4
    """The tile is there, and reading it failed (damaged chunk, failed checksum)."""
    OFF_IMAGE = 1 << 5
    """The cutout lies wholly outside the tile."""
    PARTIAL_CUTOUT = 1 << 6
    """The cutout lies partly outside the tile, or some of its pixels are not finite."""
    EMPTY_CUTOUT = 1 << 7
    """A band of the cutout has no finite pixel."""
    MASKED_PIXELS = 1 << 8
    """The survey's mask is set within the cutout."""
    ESTIMATE_FAILED = 1 << 9
    """The estimator raised or gave a value that is not finite; z_phot is NaN."""
    PHOTOMETRY_ONLY = 1 << 10
    """The estimate was made without the image."""


NO_IMAGE = Flag.NO_TILE | Flag.TILE_UNREADABLE | Flag.OFF_IMAGE | Flag.EMPTY_CUTOUT
"""Any of these bits means that the cutout of the row holds nothing an estimator can use."""


def make_field(name: str, dtype: pa.DataType, *, unit: str, description: str) -> pa.Field:
    """Make an Arrow field that carries its unit and meaning in its metadata (``""``: no unit)."""
    return pa.field(name, dtype, metadata={"unit": unit, "description": description})


def _healpix_field() -> pa.Field:
    return make_field(HEALPIX_COLUMN, pa.int64(), unit="", description="HEALPix pixel, order 29, NESTED")


def _position_fields() -> list[pa.Field]:
    return [
        make_field("object_id", pa.string(), unit="", description="identifier given by the survey"),
        make_field("ra", pa.float64(), unit="deg", description="right ascension, ICRS"),
        make_field("dec", pa.float64(), unit="deg", description="declination, ICRS"),
        make_field("tile", pa.string(), unit="", description="survey tile whose images hold this source"),
    ]


def make_source_schema(bands: Iterable[str]) -> pa.Schema:
    """Build the schema of the source catalogue that ingest writes and every estimator reads.

    Parameters
    ----------
    bands : iterable of str
        Bands with a magnitude, in the survey's order.

    Returns
    -------
    pyarrow.Schema
        ``_healpix_29, object_id, ra, dec, tile, mag_auto, magerr_auto``, ``mag_<b>`` and ``magerr_<b>`` [AB mag, NaN
        where there is none], ``flags``, and the two bit masks that keep "not detected" and "not observed" apart: bit
        *i* stands for ``bands[i]``.
    """
    mag, err = "mag(AB)", "mag"
    fields = [
        _healpix_field(),
        *_position_fields(),
        make_field("mag_auto", pa.float32(), unit=mag, description="total r-band magnitude (SExtractor AUTO)"),
        make_field("magerr_auto", pa.float32(), unit=err, description="1-sigma error of mag_auto"),
    ]
    for band in bands:
        fields.append(make_field(f"mag_{band}", pa.float32(), unit=mag, description=f"{band} magnitude, dereddened"))
        fields.append(make_field(f"magerr_{band}", pa.float32(), unit=err, description=f"1-sigma error of mag_{band}"))
    fields += [
        make_field("not_detected", pa.int32(), unit="", description="bit i: band i observed but not detected"),
        make_field("not_observed", pa.int32(), unit="", description="bit i: band i not observed"),
        make_field("flags", pa.int32(), unit="", description="bits of photoz.schema.Flag"),
    ]
    return pa.schema(fields)


def make_catalogue_schema() -> pa.Schema:
    """Build the schema of the photo-z catalogue.

    Returns
    -------
    pyarrow.Schema
        ``_healpix_29, object_id, ra, dec, tile, mag_auto, z_phot, flags`` with units in the field metadata; ``z_phot``
        is NaN where ``flags`` has ``ESTIMATE_FAILED``.
    """
    return pa.schema(
        [
            _healpix_field(),
            *_position_fields(),
            make_field("mag_auto", pa.float32(), unit="mag(AB)", description="total r-band magnitude"),
            make_field("z_phot", pa.float32(), unit="", description="photometric redshift, NaN: none"),
            make_field("flags", pa.int32(), unit="", description="bits of photoz.schema.Flag"),
        ]
    )


def make_training_schema(bands: Iterable[str], cutout_shape: tuple[int, int, int] | None) -> pa.Schema:
    """Build the schema of the training set: the source catalogue with ``z_spec``, ``split`` and the cutout.

    Parameters
    ----------
    bands : iterable of str
        Bands with a magnitude.
    cutout_shape : (int, int, int) or None
        Bands, rows and columns of a cutout; None leaves the column ``cutout`` out.

    Returns
    -------
    pyarrow.Schema
        ``split`` is one of "train", "valid", "test"; ``cutout`` a fixed-shape float32 tensor [flux, zero point 0].
    """
    schema = make_source_schema(bands)
    schema = schema.append(make_field("z_spec", pa.float32(), unit="", description="spectroscopic redshift"))
    schema = schema.append(make_field("split", pa.string(), unit="", description="train, valid or test"))
    if cutout_shape is not None:
        tensor = pa.fixed_shape_tensor(pa.float32(), cutout_shape)
        schema = schema.append(
            make_field("cutout", tensor, unit="flux (ZP 0)", description="image cutout [band, y, x]")
        )
    return schema
