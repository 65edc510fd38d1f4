"""Find a survey's files by the release's naming. KiDS is the default; another survey is another `Survey` section."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import fsspec

from photoz.errors import SurveyFileError
from photoz.settings.config import Config
from photoz.survey.fits import base_name

_PLACES = {"ra": r"(?P<ra>\d+(?:\.\d+)?)", "dec": r"(?P<dec>[+-]?\d+(?:\.\d+)?)"}


@dataclass(frozen=True)
class TileFiles:
    """The files of one tile.

    Parameters
    ----------
    name : str
        ``KIDS_180.0_-0.5``.
    ra, dec : str
        [deg] centre as the file names write it; "" for a survey whose names have none.
    images, masks, weights : dict of str to str
        Band -> location, for the bands whose file is there.
    catalogue : str
        Location of the multi-band catalogue; "" when it is not there.
    missing : tuple of str
        Names of the files that were looked for and are not there.
    """

    name: str
    ra: str
    dec: str
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    catalogue: str = ""
    missing: tuple[str, ...] = ()


def find_tiles(config: Config) -> list[TileFiles]:
    """List the tiles in ``locations.survey``, with the files each has and lacks.

    Returns
    -------
    list of TileFiles
        Sorted by name. A file may be there as ``.fits`` or ``.fits.fz``; of several catalogues (DR4.0 and DR4.1) the
        highest name is taken. Masks are optional: a missing one is listed, and costs nothing but the mask.

    Raises
    ------
    SurveyFileError
        The folder does not exist, or holds no file of the survey's naming.
    """
    survey, folder = config.survey, config.locations.survey.rstrip("/")
    paths = _list_files(folder)
    found: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for kind, band, template in _list_templates(config):
        for place, path in sorted(_match_template(paths, template.replace("{band}", band))):
            found.setdefault(place, {})[kind, band] = f"{folder}/{path}"
    if not found:
        expected = survey.image_file.format(ra="180.0", dec="-0.5", band=survey.image_bands[0])
        raise SurveyFileError(
            f"no survey file in {folder!r}: names like {expected!r} are looked for; "
            "set locations.survey or survey.image_file"
        )
    tiles = [_make_tile(config, place, files) for place, files in found.items()]
    return sorted(tiles, key=lambda tile: tile.name)


def _list_files(folder: str) -> list[str]:
    fs, root = fsspec.url_to_fs(folder)
    root = str(root).rstrip("/")
    try:
        paths = fs.find(root)
    except OSError as error:
        raise SurveyFileError(f"the survey's folder {folder!r} cannot be listed: {error}") from error
    if not paths:
        raise SurveyFileError(
            f"the survey's folder {folder!r} is missing or empty: set locations.survey, or run jobs/simulate_survey.py"
        )
    return [str(path)[len(root) :].lstrip("/") for path in paths]


def _list_templates(config: Config) -> list[tuple[str, str, str]]:
    survey = config.survey
    kinds = {"image": survey.image_file, "mask": survey.mask_file}
    if config.tiles.store_weights:
        kinds["weight"] = survey.weight_file
    templates = [(kind, band, text) for kind, text in kinds.items() if text for band in survey.image_bands]
    return [*templates, ("catalogue", "", survey.catalogue_file)]


def _match_template(paths: Iterable[str], template: str) -> list[tuple[tuple[str, str], str]]:
    parts = re.split(r"\{(ra|dec)\}", template)
    pattern = "".join(_PLACES[part] if index % 2 else _translate_glob(part) for index, part in enumerate(parts))
    expression = re.compile(pattern + r"(?:\.fz)?")
    matches = ((expression.fullmatch(path), path) for path in paths)
    return [((m.groupdict().get("ra") or "", m.groupdict().get("dec") or ""), path) for m, path in matches if m]


def _translate_glob(text: str) -> str:
    """Turn a piece of a glob into a regular expression without the anchors that fnmatch adds."""
    return "".join(
        re.escape(piece) if index % 2 == 0 else _strip_anchors(fnmatch.translate(piece))
        for index, piece in enumerate(re.split(r"(\[[^\]]*\]|\*|\?)", text))
    )


def _strip_anchors(pattern: str) -> str:
    return re.sub(r"^\(\?s:(.*)\)(\\Z|\\z)$", r"\1", pattern)


def _make_tile(config: Config, place: tuple[str, str], files: dict[tuple[str, str], str]) -> TileFiles:
    ra, dec = place
    by_kind = {
        kind: {band: path for (k, band), path in files.items() if k == kind} for kind in ("image", "mask", "weight")
    }
    missing = tuple(
        base_name(template.format(ra=ra, dec=dec, band=band))
        for kind, band, template in _list_templates(config)
        if (kind, band) not in files
    )
    return TileFiles(
        name=config.survey.tile.format(ra=ra, dec=dec),
        ra=ra,
        dec=dec,
        images=by_kind["image"],
        masks=by_kind["mask"],
        weights=by_kind["weight"],
        catalogue=files.get(("catalogue", ""), ""),
        missing=missing,
    )
