"""Other surveys' file names, by settings alone: what names a tile, how a band is spelt, where the files lie."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from photoz.errors import ConfigError, SurveyFileError
from photoz.survey.files import fill_name, find_tiles, has_shared_catalogue
from photoz.survey.settings import OtherImages, Survey

HSC = Survey(
    bands=("g", "r"),
    image_bands=("g", "r"),
    tile="HSC_{tract}_{patch}",
    image_file="*/calexp-{band}-{tract}-{patch}.fits",
    mask_file="",
    catalogue_file="objects.fits",
    catalogue_survey="hsc_pdr3",
    band_names={"g": "HSC-G", "r": "HSC-R"},
)
LEGACY = Survey(
    bands=("g", "r"),
    image_bands=("g", "r"),
    tile="{brick}",
    image_file="coadd/*/{brick}/legacysurvey-{brick}-image-{band}.fits.fz",
    mask_file="coadd/*/{brick}/legacysurvey-{brick}-maskbits.fits.fz",
    catalogue_file="tractor/*/tractor-{brick}.fits",
    catalogue_survey="legacy_dr10",
)


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def change(survey: Any, **settings: object) -> Any:
    return msgspec.structs.replace(survey, **settings)


def test_tracts_and_patches_name_tiles_and_bands_have_a_spelling_of_their_own(tmp_path: Path) -> None:
    names = [
        f"HSC-{band}/9813/{patch}/calexp-HSC-{band}-9813-{patch}.fits" for band in "GR" for patch in ("4,4", "4,5")
    ]
    first, second = find_tiles(HSC, touch(tmp_path, *names, "HSC-G/9813/4,4/det_bkgd-HSC-G-9813-4,4.fits"))
    assert (first.name, first.places) == ("HSC_9813_4,4", {"tract": "9813", "patch": "4,4"})
    assert second.name == "HSC_9813_4,5"
    assert first.images["g"].endswith("HSC-G/9813/4,4/calexp-HSC-G-9813-4,4.fits")
    assert (first.missing, first.catalogue) == ((), "")


@pytest.mark.parametrize(("text", "written"), [("{band}", "Ks"), ("{BAND}", "KS"), ("{lower}", "ks")])
def test_a_band_is_spelt_in_three_ways(tmp_path: Path, text: str, written: str) -> None:
    survey = Survey(
        bands=("Ks",),
        image_bands=("Ks",),
        tile="{field}",
        image_file=f"{{field}}_{text}.fits",
        mask_file="",
        catalogue_file="cat_{field}.fits",
    )
    (tile,) = find_tiles(survey, touch(tmp_path, f"COSMOS-1_{written}.fits"))
    assert (tile.name, list(tile.images)) == ("COSMOS-1", ["Ks"])


def test_bricks_name_tiles_and_one_mask_serves_all_bands(tmp_path: Path) -> None:
    where = "coadd/000/0001m002/legacysurvey-0001m002"
    names = [f"{where}-image-g.fits.fz", f"{where}-image-r.fits.fz", f"{where}-maskbits.fits.fz"]
    folder = touch(tmp_path, *names, "tractor/000/tractor-0001m002.fits", f"{where}-model-g.fits.fz")
    (tile,) = find_tiles(LEGACY, folder)
    assert tile.name == "0001m002"
    assert tile.masks == dict.fromkeys("gr", f"{folder}/{where}-maskbits.fits.fz")
    assert tile.catalogue == f"{folder}/tractor/000/tractor-0001m002.fits"
    assert tile.doubled == ()


@pytest.mark.parametrize("ending", ["", ".fz", ".gz"])
@pytest.mark.parametrize("asked", ["", ".fz", ".gz"])
def test_files_may_be_packed_otherwise_than_the_setting_says(tmp_path: Path, ending: str, asked: str) -> None:
    survey = change(LEGACY, image_bands=("g",), image_file=f"{{brick}}-{{band}}.fits{asked}", mask_file="")
    folder = touch(tmp_path, f"0001m002-g.fits{ending}")
    assert find_tiles(survey, folder)[0].images == {"g": f"{folder}/0001m002-g.fits{ending}"}


def test_files_of_one_tile_may_lie_in_several_folders(tmp_path: Path) -> None:
    first = touch(tmp_path / "images", "x/calexp-HSC-G-1-2,3.fits")
    second = touch(tmp_path / "more", "y/calexp-HSC-R-1-2,3.fits")
    (tile,) = find_tiles(change(HSC, folders=(second,)), first)
    assert tile.images == {
        "g": f"{first}/x/calexp-HSC-G-1-2,3.fits",
        "r": f"{second}/y/calexp-HSC-R-1-2,3.fits",
    }
    with pytest.raises(SurveyFileError, match="nowhere' is missing or empty"):
        find_tiles(change(HSC, folders=(str(tmp_path / "nowhere"),)), first)


def test_two_images_of_one_tile_and_band_are_told(tmp_path: Path) -> None:
    names = ["a/calexp-HSC-G-1-2,3.fits", "b/calexp-HSC-G-1-2,3.fits.fz", "a/calexp-HSC-R-1-2,3.fits"]
    folder = touch(tmp_path, *names, "a/calexp-HSC-R-1-2,3.fits.gz")
    (tile,) = find_tiles(HSC, folder)
    # Of the r band there are a plain and a packed file of one name, which are one image.
    assert tile.doubled == ((f"{folder}/{names[0]}", f"{folder}/{names[1]}"),)


def test_a_mask_of_a_whole_tract_is_one_of_each_of_its_patches(tmp_path: Path) -> None:
    names = [f"x/calexp-HSC-G-{tract}-{patch}.fits" for tract in (1, 2) for patch in ("0,0", "0,1")]
    folder = touch(tmp_path, *names, "mask-1.fits", "mask-3.fits")
    tiles = find_tiles(change(HSC, mask_file="mask-{tract}.fits"), folder)
    assert [tile.name for tile in tiles] == ["HSC_1_0,0", "HSC_1_0,1", "HSC_2_0,0", "HSC_2_0,1"]
    assert [tile.masks.get("g", "") for tile in tiles] == [f"{folder}/mask-1.fits"] * 2 + [""] * 2


def test_tiles_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path, "x/calexp-HSC-G-1-2,3.fits", "x/calexp-HSC-G-1-2,4.fits")
    with pytest.raises(ConfigError, match=r"survey\.tile = 'HSC_\{tract\}' names two tiles 'HSC_1'.*write all that"):
        find_tiles(change(HSC, tile="HSC_{tract}"), folder)


def test_a_catalogue_of_many_tiles_is_told_by_its_name_and_needs_the_meaning_of_its_columns(tmp_path: Path) -> None:
    assert has_shared_catalogue(HSC)
    assert has_shared_catalogue(change(HSC, catalogue_file="object_{tract}.parquet"))
    assert not has_shared_catalogue(change(HSC, catalogue_file="object_{tract}_{patch}.parquet"))
    assert not has_shared_catalogue(Survey())
    folder = touch(tmp_path, "x/calexp-HSC-G-1-2,3.fits", "objects.fits")
    with pytest.raises(ConfigError, match=r"is a catalogue of many: set survey\.catalogue_survey"):
        find_tiles(change(HSC, catalogue_survey=""), folder)
    # It makes no tile of its own.
    assert [tile.name for tile in find_tiles(HSC, folder)] == ["HSC_1_2,3"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("band_names", {"G": "HSC-G"}),
        ("pixel_scales", {"G": 0.3}),
        ("optional_bands", ("G",)),
        ("mask_bits", {"g": (1,), "G": (1,)}),
        ("other_images", (OtherImages(bands=("G",)),)),
        ("other_images", (OtherImages(bands=("g",), mask_bits={"G": (1,)}),)),
    ],
)
def test_what_is_said_of_a_band_that_there_is_not_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"survey\.\w+ has \['G'\], which survey\.bands \['g', 'r'\] lacks"):
        change(HSC, **{setting: value}).check()


@pytest.mark.parametrize(
    "given", [{"zeropoint_key": "MAGZERO"}, {"other_images": (OtherImages(bands=("g",), zeropoint=30.0),)}]
)
def test_pixels_of_several_units_are_not_stored_side_by_side(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r'set survey\.stored_unit = "nJy"'):
        change(HSC, **given).check()
    change(HSC, stored_unit="nJy", **given).check()


VIKING = OtherImages(bands=("Z", "J"), image_file="VIKING/viking_{ra}_{dec}_{lower}.fit", mask_file="")


def test_bands_of_another_survey_have_file_names_of_their_own(tmp_path: Path) -> None:
    survey = Survey(image_bands=("r", "Z", "J"), other_images=(VIKING,))
    own = ("KiDS_DR4.0_180.0_-0.5_r_sci.fits", "KiDS_DR4.0_180.0_-0.5_r_msk.fits", "KiDS_DR4.0_180.0_-0.5_Z_sci.fits")
    others = ("VIKING/viking_180.0_-0.5_z.fit", "VIKING/viking_180.0_-0.5_j.fit.gz")
    (tile,) = find_tiles(survey, touch(tmp_path, *own, *others))
    assert {band: path.removeprefix(f"{tmp_path}/") for band, path in tile.images.items()} == {
        "r": own[0],
        "Z": others[0],
        "J": others[1],
    }
    assert list(tile.masks) == ["r"]
    assert tile.missing == ("KiDS_DR4.[01]_180.0_-0.5_ugriZYJHKs_cat.fits",)


def test_bands_of_another_survey_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"survey\.other_images has \['Z'\] more than once"):
        Survey(other_images=(VIKING, change(VIKING, bands=("Z", "Y")))).check()
    wrong = change(VIKING, image_file="v_{tract}_{band}.fits")
    with pytest.raises(ConfigError, match=r"survey\.other_images\.image_file = .* has \{tract\}"):
        find_tiles(Survey(other_images=(wrong,)), "nowhere")


def test_a_file_that_would_be_the_image_of_two_bands_is_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path, "HSC/all-9813-4,4.fits")
    one = change(HSC, image_file="*/all-{tract}-{patch}.fits")
    with pytest.raises(ConfigError, match=r"'\*/all-\{tract\}-\{patch\}\.fits' for the bands 'g' and 'r': write"):
        find_tiles(one, folder)
    # Unless its units are told apart.
    (tile,) = find_tiles(change(one, image_hdu="{band}"), folder)
    assert tile.images["g"] == tile.images["r"]
    assert tile.doubled == ()


def test_names_are_written_out_for_messages() -> None:
    assert fill_name(HSC.image_file, HSC, {"tract": "1", "patch": "2,3"}, "r") == "*/calexp-HSC-R-1-2,3.fits"
    with pytest.raises(SurveyFileError, match=r"names like '\*/calexp-HSC-G-9813-4,4\.fits' are looked for"):
        find_tiles(HSC, str(Path(__file__).parent))
