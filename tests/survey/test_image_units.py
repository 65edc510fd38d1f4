"""Which image of a file is meant: by number, by name, and by the names that surveys give."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from photoz.errors import SurveyFileError
from photoz.survey.fits import RowReader, inspect_image

SHAPE = (12, 10)


def write_calexp(path: Path, *, packed: bool = False) -> dict[str, np.ndarray]:
    """Write an image, its mask and its variance in one file, as HSC's and Rubin's pipeline does."""
    planes = {
        "IMAGE": np.arange(120, dtype=np.float32).reshape(SHAPE),
        "MASK": (np.arange(120).reshape(SHAPE) % 7).astype(np.int32),
        "VARIANCE": np.full(SHAPE, 4, np.float32),
    }
    primary = fits.PrimaryHDU()
    primary.header["FLUXMAG0"] = 6.30957344480193e10
    kind = {"compression_type": "GZIP_2", "quantize_level": 0} if packed else {}
    make = fits.CompImageHDU if packed else fits.ImageHDU
    units = [make(values, name=name, **kind) for name, values in planes.items()]
    fits.HDUList([primary, *units]).writeto(path, checksum=True)
    return planes


def read(location: str, *choice: str) -> np.ndarray:
    with RowReader(inspect_image(location, *choice)) as reader:
        rows = reader.read_rows(SHAPE[0])
        reader.finish()
    return np.asarray(rows)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "hdu", "plane"),
    [
        ("image", "", "IMAGE"),
        ("mask", "", "MASK"),
        ("variance", "", "VARIANCE"),
        ("image", "1", "IMAGE"),
        ("mask", "2", "MASK"),
        ("weight", "3", "VARIANCE"),
        ("weight", "variance", "VARIANCE"),
        ("mask", "MASK", "MASK"),
    ],
)
def test_the_image_is_found_by_kind_number_and_name(
    tmp_path: Path, packed: bool, kind: str, hdu: str, plane: str
) -> None:
    planes = write_calexp(tmp_path / "a.fits", packed=packed)
    np.testing.assert_array_equal(read(str(tmp_path / "a.fits"), kind, hdu), planes[plane])


def test_an_image_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write_calexp(tmp_path / "a.fits")
    with pytest.raises(SurveyFileError, match=r"no image 'DQ', which survey\.mask_hdu asks for, but 1 \(IMAGE\), 2"):
        inspect_image(str(tmp_path / "a.fits"), "mask", "DQ")
    with pytest.raises(SurveyFileError, match=r"no image '0', which survey\.image_hdu asks for"):
        inspect_image(str(tmp_path / "a.fits"), "image", "0")


def test_the_primary_header_comes_with_an_image_behind_it(tmp_path: Path) -> None:
    write_calexp(tmp_path / "a.fits")
    assert inspect_image(str(tmp_path / "a.fits")).parse_primary()["FLUXMAG0"] == pytest.approx(10**10.8)
    fits.PrimaryHDU(np.ones(SHAPE, np.float32)).writeto(tmp_path / "b.fits")
    assert inspect_image(str(tmp_path / "b.fits")).primary == ""
