"""Names, types, units and flags shared by every table that photoz reads or writes.

Imports nothing of ours, so that every other module can import it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Literal

import pyarrow as pa

# The name and the order are those of HATS: lsdb and hats-import look for this column, with an index of 64 bits at order
# 29.
HEALPIX_COLUMN = "_healpix_29"
HEALPIX_ORDER = 29

_HALF = (0.001, 0.005, 0.01, 0.025, 0.05, 0.10, 0.16, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45)
# Rounded so that 0.84 and 0.975 are found by `LEVELS.index` whatever a subtraction leaves in the last bit. The order of
# levels is the order of the stored codes: a level added makes older catalogues unreadable.
LEVELS: tuple[float, ...] = (*_HALF, 0.5, *(round(1 - level, 3) for level in reversed(_HALF)))
"""Probabilities below the stored quantiles of p(z); its 68 and 95 % limits and its median are among them."""


class Flag(IntFlag):
    """Bits of the ``flags`` column: what was wrong with a row, from input to estimate.

    A row with no bit set was estimated from everything the estimator asks for.
    """

    # Bits are stored in catalogues: a new flag takes the next bit, and none changes its place.
    BAND_NOT_DETECTED = 1 << 0
    """A band was observed and nothing was detected in it (KiDS: magnitude 99; a flux within its noise)."""
    BAND_NOT_OBSERVED = 1 << 1
    """A band was not observed at this position (KiDS: magnitude -99)."""
    NO_PHOTOMETRY = 1 << 2
    """Nothing was detected in any band."""
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
    OUTSIDE_TRAINING = 1 << 11
    """The galaxy lies farther from the training sample than all but few of the training galaxies do."""


# PARTIAL_CUTOUT and MASKED_PIXELS are not among them: such a cutout still has pixels to learn from.
NO_IMAGE = Flag.NO_TILE | Flag.TILE_UNREADABLE | Flag.OFF_IMAGE | Flag.EMPTY_CUTOUT
"""Any of these bits means that the cutout of the row holds nothing an estimator can use."""


@dataclass(frozen=True)
class PdfColumn:
    """A float32 column of p(z): what it says, where its values come from, and what the audit asks of them.

    Parameters
    ----------
    description : str
    unit : str
        "" for a redshift, and for what has none.
    source : str
        "quantiles": a sum of the stored quantiles, and by the audit computed again from them; "curve": of the curve
        through them, by the function in `photoz.pdf.quantiles.COMPUTED`; "estimator": the estimator says it, or has
        none, in `photoz.estimators.Pdfs`. The first two are NaN exactly where z_phot is.
    terms : mapping of float to float
        Of a sum of quantiles: factor by level, one of `LEVELS`.
    least, most : float
        Limits of its values.
    """

    description: str
    unit: str = ""
    source: Literal["quantiles", "curve", "estimator"] = "quantiles"
    terms: Mapping[float, float] = field(default_factory=dict)
    least: float = -math.inf
    most: float = math.inf


_LIMIT_68, _LIMIT_95 = "limit of the central 68 % of p(z), a redshift", "limit of the central 95 % of p(z), a redshift"
_DISTANCE = "distance from the training sample, 1 at the flag OUTSIDE_TRAINING; NaN: not measured"
PDF_COLUMNS: dict[str, PdfColumn] = {
    "z_median": PdfColumn("median of p(z)", terms={0.5: 1.0}),
    "z_mean": PdfColumn("mean of p(z)", source="curve"),
    "z_mode": PdfColumn("mode of p(z)", source="curve"),
    "z_err68_low": PdfColumn(f"lower {_LIMIT_68}", terms={0.16: 1.0}),
    "z_err68_high": PdfColumn(f"upper {_LIMIT_68}", terms={0.84: 1.0}),
    "z_err95_low": PdfColumn(f"lower {_LIMIT_95}", terms={0.025: 1.0}),
    "z_err95_high": PdfColumn(f"upper {_LIMIT_95}", terms={0.975: 1.0}),
    "odds": PdfColumn(
        "probability that the redshift lies within 0.06 (1 + z_phot) of z_phot", source="curve", least=0.0, most=1.0
    ),
    # NaN where there are no members, which passes the limits: a comparison with NaN finds nothing wrong.
    "z_std_model": PdfColumn(
        "spread of z_phot between the members of the estimator: the model's own uncertainty",
        source="estimator",
        least=0.0,
    ),
    "training_distance": PdfColumn(_DISTANCE, source="estimator", least=0.0),
}
"""Columns of p(z), in their order; in a catalogue each follows the algorithm's name and an underscore.

One entry here is a whole column: the schema, inference, the audit and their tests follow it. A column of the source
"curve" has its function in `photoz.pdf.quantiles` besides, one of "estimator" its values in `photoz.estimators.Pdfs`.
"""


def make_field(name: str, dtype: pa.DataType, *, unit: str, description: str) -> pa.Field:
    """Make an Arrow field that carries its unit and meaning in its metadata (``""``: no unit)."""
    return pa.field(name, dtype, metadata={"unit": unit, "description": description})


def _healpix_field() -> pa.Field:
    return make_field(HEALPIX_COLUMN, pa.int64(), unit="", description="HEALPix pixel, order 29, NESTED")


def _position_fields() -> list[pa.Field]:
    return [
        # Text, as KiDS's are ("KiDSDR4 J..."); a survey's numbers are written as such.
        make_field("object_id", pa.string(), unit="", description="identifier given by the survey"),
        make_field("ra", pa.float64(), unit="deg", description="right ascension, ICRS"),
        make_field("dec", pa.float64(), unit="deg", description="declination, ICRS"),
        make_field("tile", pa.string(), unit="", description="survey tile whose images hold this source"),
    ]


def make_source_schema(bands: Iterable[str], carried: Iterable[pa.Field] = ()) -> pa.Schema:
    """Build the schema of the source catalogue that ingest writes and every estimator reads.

    Parameters
    ----------
    bands : iterable of str
        Bands with a flux, in the survey's order.
    carried : iterable of pyarrow.Field
        Further columns of the survey's, which go with the rows to the end.

    Returns
    -------
    pyarrow.Schema
        ``_healpix_29, object_id, ra, dec, tile, mag_auto, magerr_auto``, ``flux_<b>`` and ``fluxerr_<b>`` [nJy], and
        ``flags``. Fluxes are AB, corrected for the extinction of the Galaxy; NaN where the band was not observed;
        negative ones are data, and what was not detected is 0 where the survey gives no flux of it. An error is NaN
        where it is not known, and never 0 or less.
    """
    # Spelt as astropy reads them. An error is a difference of magnitudes, so it has no zero point to name.
    mag, err = "mag(AB)", "mag"
    fields = [
        _healpix_field(),
        *_position_fields(),
        make_field("mag_auto", pa.float32(), unit=mag, description="total r-band magnitude (SExtractor AUTO)"),
        make_field("magerr_auto", pa.float32(), unit=err, description="1-sigma error of mag_auto"),
    ]
    for band in bands:
        flux, fluxerr = name_fluxes(band)
        fields.append(make_field(flux, pa.float32(), unit="nJy", description=f"{band} flux, AB, dereddened"))
        fields.append(make_field(fluxerr, pa.float32(), unit="nJy", description=f"1-sigma error of {flux}"))
    fields.append(make_field("flags", pa.int32(), unit="", description="bits of photoz.schema.Flag"))
    return pa.schema([*fields, *carried])


def list_carried(schema: pa.Schema) -> list[pa.Field]:
    """List the columns of a source catalogue that are carried along, by its schema."""
    own = {*make_source_schema(()).names, "cutout", "z_spec", "split", "z_phot"}
    return [each for each in schema if each.name not in own and not each.name.startswith(("flux_", "fluxerr_"))]


def name_fluxes(band: str) -> tuple[str, str]:
    """Return the names of the columns of a band's flux and its error.

    >>> name_fluxes("r")
    ('flux_r', 'fluxerr_r')
    """
    return f"flux_{band}", f"fluxerr_{band}"


def make_catalogue_schema(algorithm: str = "", carried: Iterable[pa.Field] = ()) -> pa.Schema:
    """Build the schema of the photo-z catalogue.

    Parameters
    ----------
    algorithm : str
        Name of an estimator that gives p(z), which begins the names of its columns; "" for one that gives z_phot alone.
    carried : iterable of pyarrow.Field
        Further columns of the sources (`list_carried`), which come last.

    Returns
    -------
    pyarrow.Schema
        ``_healpix_29, object_id, ra, dec, tile, mag_auto, z_phot, flags`` with units in the field metadata; ``z_phot``
        is NaN where ``flags`` has ``ESTIMATE_FAILED``. With p(z), also those of `PDF_COLUMNS` and the quantiles
        at `LEVELS`, each after the algorithm's name.

    References
    ----------
    Names of the columns of p(z): those of the photo-z tables of Rubin's Data Preview 1.
    """
    fields = [
        _healpix_field(),
        *_position_fields(),
        make_field("mag_auto", pa.float32(), unit="mag(AB)", description="total r-band magnitude"),
        make_field("z_phot", pa.float32(), unit="", description="photometric redshift, NaN: none"),
        make_field("flags", pa.int32(), unit="", description="bits of photoz.schema.Flag"),
    ]
    return pa.schema([*fields, *(_pdf_fields(algorithm) if algorithm else []), *carried])


QUANTILES = "z_quantiles"
QUANTILES_TYPE = pa.list_(pa.field("element", pa.uint16()))
"""Of the stored quantiles, as it reads back: the element's name is Parquet's own, and Ray would forget a "not null".

Not of a fixed size, of which Parquet's own schema tells nothing, and which lsdb does not nest:
`photoz.catalogue.quantiles` counts instead."""


def _pdf_fields(algorithm: str) -> list[pa.Field]:
    fields = [
        make_field(f"{algorithm}_{name}", pa.float32(), unit=column.unit, description=column.description)
        for name, column in PDF_COLUMNS.items()
    ]
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    text = f"redshifts below which these shares of p(z) lie: {levels}; 65535: none"
    return [*fields, make_field(f"{algorithm}_{QUANTILES}", QUANTILES_TYPE, unit="1e-4", description=text)]


def find_algorithm(names: Iterable[str]) -> str:
    """Return the name of the estimator whose p(z) a catalogue with these columns holds; "" for none.

    >>> find_algorithm(["z_phot", "mlp_z_median", "mlp_z_quantiles"])
    'mlp'
    """
    # Found by the one column that every p(z) has; an estimator's name may hold underscores itself.
    ending = f"_{QUANTILES}"
    return next((name.removesuffix(ending) for name in names if name.endswith(ending)), "")


def make_training_schema(bands: Iterable[str], cutout_shape: tuple[int, int, int] | None) -> pa.Schema:
    """Build the schema of the training set: the source catalogue with ``z_spec``, ``split`` and the cutout.

    Parameters
    ----------
    bands : iterable of str
        Bands with a flux.
    cutout_shape : (int, int, int) or None
        Bands, rows and columns of a cutout; None leaves the column ``cutout`` out.

    Returns
    -------
    pyarrow.Schema
        ``split`` is one of "train", "valid", "calib", "test"; ``cutout`` a fixed-shape float32 tensor [flux, zero
        point 0].
    """
    schema = make_source_schema(bands)
    schema = schema.append(make_field("z_spec", pa.float32(), unit="", description="spectroscopic redshift"))
    schema = schema.append(make_field("split", pa.string(), unit="", description="train, valid, calib or test"))
    if cutout_shape is not None:
        tensor = pa.fixed_shape_tensor(pa.float32(), cutout_shape)
        schema = schema.append(
            make_field("cutout", tensor, unit="flux (ZP 0)", description="image cutout [band, y, x]")
        )
    return schema
