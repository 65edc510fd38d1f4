"""Files of tables and images that are damaged, or of which the header says odd things: refused by an error of ours."""

import gzip
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from fuzzed import go_on
from hypothesis import strategies as st
from ingested import ingest
from made_tables import write_votable
from tiny_survey import IMAGE_BANDS, TinySurvey, write_survey

import photoz
from photoz.errors import PhotozError
from photoz.survey.table import read_table
from photoz.tables.open import open_table

TILE = "180.0_-0.5"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out what is told of each of a thousand files."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def make_files(folder: Path) -> dict[str, bytes]:
    """Make a table of 40 rows in every format."""
    z = np.linspace(0.05, 0.8, 40)
    columns = {"object_id": [f"J{row}" for row in range(40)], "z_spec": z, "n": np.arange(40)}
    columns |= {f"mag_{band}": 20 + place * z for place, band in enumerate("gri")}
    table = Table(columns)
    for name, form in (("csv", "ascii.csv"), ("ecsv", "ascii.ecsv"), ("fits", "fits")):
        table.write(folder / f"t.{name}", format=form)
    write_votable(folder / "t.vot", table)
    text = fits.TableHDU.from_columns([fits.Column(name, "F12.4", array=z, ascii=True) for name in ("a", "b")])
    text.writeto(folder / "ascii.fits", checksum=True)
    pq.write_table(pa.table(columns), folder / "t.parquet")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return files | {f"{name}.gz": gzip.compress(files[name]) for name in ("t.csv", "t.fits")}


def damage(content: bytes, how: str, place: int, extra: bytes) -> bytes:
    """Change some bytes, leave some out, put some in or cut the end off; the header is hit as often as the rest."""
    place = place % min(len(content), 3000) if place % 2 else place % len(content)
    match how:
        case "change":
            return content[:place] + extra + content[place + len(extra) :]
        case "insert":
            return content[:place] + extra + content[place:]
        case "leave out":
            return content[:place] + content[place + len(extra) :]
    return content[:place]


def read_columns(location: str) -> None:
    table = open_table(location, text=("object_id",))
    names = [name for name in table.schema.names if name in ("object_id", "n", "mag_g")]
    for part in table.parts:
        for batch in table.read(part, names):
            batch.validate(full=True)


DAMAGES = st.tuples(
    st.sampled_from(("change", "change", "insert", "leave out", "cut")),
    st.integers(0, 100_000),
    st.binary(min_size=1, max_size=8)
    | st.sampled_from((b" ", b"\n", b",", b'"', b"-1", b"99999999999", b"NaN", b"\xff")),
)


def test_damaged_tables(tmp_path: Path) -> None:
    files = make_files(tmp_path)

    def read(example: tuple[str, list[tuple[str, int, bytes]]]) -> None:
        name, damages = example
        content = files[name]
        for how, place, extra in damages:
            content = damage(content, how, place, extra) or b"x"
        file = tmp_path / name
        file.write_bytes(content)
        with suppress(PhotozError):
            read_columns(str(file))
        with suppress(PhotozError):
            photoz.fit(str(file), "gri", estimator="knn")
        if ".fits" in name:
            with suppress(PhotozError):
                read_table(str(file), {"mag_g": "a setting", "object_id": "another"})

    go_on(st.tuples(st.sampled_from(sorted(files)), st.lists(DAMAGES, min_size=1, max_size=3)), read, rounds=12)


NUMBERS = (
    "CRPIX1", "CRVAL1", "CRVAL2", "CDELT1", "CD1_1", "PC1_1", "EQUINOX", "LONPOLE", "BSCALE", "BZERO", "NAXIS3", "GAIN",
)  # fmt: skip
TEXTS = ("CTYPE1", "CTYPE2", "CUNIT1", "RADESYS", "EXTNAME", "BUNIT", "CHECKSUM", "DATASUM", "OBJECT")
WORDS = (
    "", "RA---TAN", "DEC--TAN", "GLON-TAN", "GLAT-CAR", "RA---TPV", "RA---SIN", "FREQ", "FK4", "FK5", "ICRS", "GAPPT",
    "arcsec", "rad", "Jy", "none", "WGT", "0",
)  # fmt: skip
CARDS = st.one_of(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from((0.0, -1.0, 1e30, -1e-30, 400.0, 1950.0, "", "text", True))),
    st.tuples(st.sampled_from(TEXTS), st.sampled_from(WORDS)),
    st.tuples(st.sampled_from(("A_ORDER", "PV1_1", "WCSAXES", "BLANK", "CRPIX2")), st.integers(-5, 300)),
)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> TinySurvey:
    return write_survey(tmp_path_factory.mktemp("fuzz"), (TILE,), shape=(48, 48), count=12)


def test_images_of_odd_headers_and_damaged_ones(survey: TinySurvey) -> None:
    paths = {(band, kind): survey.path(TILE, f"{band}_{kind}") for band in IMAGE_BANDS for kind in ("sci", "msk")}
    whole = {key: path.read_bytes() for key, path in paths.items()}

    def run(example: tuple[list[tuple[str, object]], str, list[tuple[str, int, bytes]]]) -> None:
        cards, kind, damages = example
        for key, path in paths.items():
            path.write_bytes(whole[key])
        for band in IMAGE_BANDS[: 4 if kind == "sci" else 1]:
            path = paths[band, kind]
            with fits.open(path) as units:
                unit = fits.PrimaryHDU(units[0].data.copy(), units[0].header.copy())
            for name, value in cards:
                unit.header[name] = value
            if cards:
                unit.writeto(path, overwrite=True, output_verify="ignore")
            for how, place, extra in damages:
                path.write_bytes(damage(path.read_bytes(), how, place, extra) or b"x")
        # Whatever the files hold becomes the outcome of their tile, and nothing is raised.
        outcome = ingest(survey.config)
        assert outcome.status in ("done", "skipped", "failed")
        assert (outcome.status == "failed") == bool(outcome.problem)

    go_on(
        st.tuples(st.lists(CARDS, max_size=4), st.sampled_from(("sci", "sci", "msk")), st.lists(DAMAGES, max_size=1)),
        run,
        rounds=4,
    )
