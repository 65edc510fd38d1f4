"""Find a survey's files by the naming that the settings give: KiDS's by default, another survey's by other settings."""

import fnmatch
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from photoz.errors import ConfigError, SurveyFileError
from photoz.storage import find_filesystem
from photoz.survey.archive import restore_names
from photoz.survey.fits import base_name
from photoz.survey.settings import Survey

logger = logging.getLogger(__name__)

_PLACES = {
    "ra": r"\d+(?:\.\d+)?",
    "dec": r"[+-]?\d+(?:\.\d+)?",
    "tract": r"\d+",
    # HSC's patches are x,y; Rubin's are numbers.
    "patch": r"\d+(?:,\d+)?",
    "brick": r"\d+[mp]\d+",
    "field": r"[^/]+?",
}
"""What a tile may be named by -> how file names write it."""
_EXAMPLE = {"ra": "180.0", "dec": "-0.5", "tract": "9813", "patch": "4,4", "brick": "1800m005", "field": "A"}
_SPELLINGS = ("band", "BAND", "lower")
_PACKED = r"(?:\.fz|\.gz)?"  # what fpack and gzip add to the plain name

Place = tuple[tuple[str, str], ...]
"""What names a tile, such as its centre [deg], as the file names write it: pairs of a name of `_PLACES` and text."""


_Files = dict[tuple[str, str], list[str]]
"""Kind and band -> locations, by their names from the lowest on."""


class _Template(NamedTuple):
    """How one kind of file is named, in one band; "" for the catalogue, which has all."""

    kind: str
    band: str
    name: str


@dataclass(frozen=True)
class TileFiles:
    """The files of one tile.

    Parameters
    ----------
    name : str
        ``KIDS_180.0_-0.5``.
    places : dict of str to str
        What the file names call it: ``ra`` and ``dec`` [deg], ``tract``, ``patch``, ``brick``, ``field``.
    images, masks, weights : dict of str to str
        Band -> location, for the bands whose file is there.
    catalogue : str
        Location of the multi-band catalogue; "" when it is not there, or is one of many tiles.
    missing : tuple of str
        Names of the files that were looked for and are not there.
    doubled : tuple of (str, str)
        Locations of two files that are the same kind of image of the same band, for each such kind and band.
    candidates : dict of str to tuple of str
        Band on pixels of its own -> several images of it whose names tell no tile: those that lie on this one are
        merged. ``images`` has one of them.
    """

    name: str
    places: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    catalogue: str = ""
    missing: tuple[str, ...] = ()
    doubled: tuple[tuple[str, str], ...] = ()
    candidates: dict[str, tuple[str, ...]] = field(default_factory=dict)


def find_tiles(survey: Survey, folder: str, *, weights: bool = False) -> list[TileFiles]:
    """List the tiles in a survey's folders, with the files each has and lacks.

    Parameters
    ----------
    survey : Survey
        How the files are named, and further folders in which they lie.
    folder : str
        Path or URL, ``locations.survey``; looked through with all that lies beneath it.
    weights : bool
        Look for weight images too.

    Returns
    -------
    list of TileFiles
        Sorted by name. A file may be there as ``.fits``, ``.fits.fz`` or ``.fits.gz``; of several catalogues
        (DR4.0 and DR4.1) the highest name is taken. Masks are optional: a missing one is listed, and costs nothing but
        the mask. A file whose name tells less than an image's, such as a mask of a whole tract, is one of every tile
        that it fits.

    Raises
    ------
    SurveyFileError
        A folder does not exist, or none holds a file of the survey's naming.
    ConfigError
        A name has a placeholder that stands for nothing, or two tiles have one name.
    """
    _check_placeholders(survey, weights=weights)
    _check_bands_differ(survey)
    templates = _list_templates(survey, weights=weights)
    paths = restore_names(_list_files([folder, *survey.folders]), survey)
    found = _gather_files(paths, templates, _list_places(survey.image_file))
    if not found:
        expected = fill_name(survey.image_file, survey, _EXAMPLE, survey.image_bands[0])
        raise SurveyFileError(
            f"no survey file in {folder!r}: names like {expected!r} are looked for; "
            "set locations.survey or survey.image_file"
        )
    # By the place alone: files of a tile come together whichever of them is missing, its images too.
    tiles = [_make_tile(survey, dict(place), templates, files) for place, files in found.items()]
    _check_names(tiles, survey)
    _tell_catalogues(found.values())
    # By name, since stores list in orders of their own and `check_survey` looks at the first few.
    return sorted(tiles, key=lambda tile: tile.name)


def _tell_catalogues(found: Iterable[_Files]) -> None:
    """Tell where several catalogues fit a tile's: whoever has one in parts would lose all but the last."""
    several = [paths for files in found if len(_take_packed(paths := files.get(("catalogue", ""), []))) > 1]
    if several:
        logger.info(
            "several catalogues fit survey.catalogue_file in %d tiles: the highest name is read, %s and not %s",
            len(several),
            several[0][-1],
            several[0][0],
        )


def fill_name(template: str, survey: Survey, places: Mapping[str, str], band: str = "") -> str:
    """Write a template out for a tile and a band; what stands for neither stays, globs too.

    Examples
    --------
    >>> fill_name("calexp-{band}-{tract}-{patch}.fits", Survey(band_names={"g": "HSC-G"}), {"tract": "9813"}, "g")
    'calexp-HSC-G-9813-{patch}.fits'
    """
    values = {**places, **_spell_band(survey, band)} if band else places
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)


def fill_hdu(survey: Survey, kind: Literal["image", "mask", "weight"], band: str) -> str:
    """Return which unit of its file holds a band's image, mask or weight: a number or a name; "" where nothing tells.

    Examples
    --------
    >>> fill_hdu(Survey(image_hdu="SCI_{BAND}"), "image", "g")
    'SCI_G'
    """
    return fill_name(str(getattr(survey.of_band(band), f"{kind}_hdu")), survey, {}, band)


def has_shared_catalogue(survey: Survey) -> bool:
    """Tell whether a catalogue is one of many tiles: its name tells less of the place than an image's does."""
    told = set(_list_places(survey.catalogue_file))
    return bool(survey.catalogue_file) and told < set(_list_places(survey.image_file))


def _spell_band(survey: Survey, band: str) -> dict[str, str]:
    spelt = survey.band_names.get(band, band)
    return dict(zip(_SPELLINGS, (spelt, spelt.upper(), spelt.lower()), strict=True))


def _list_places(template: str) -> tuple[str, ...]:
    """List what of a place a template tells, each once, in its order."""
    return tuple(dict.fromkeys(name for name in re.findall(r"\{(\w+)\}", template) if name in _PLACES))


def _check_placeholders(survey: Survey, *, weights: bool) -> None:
    """Refuse what no name can be made of, and what of a place the images' names do not tell."""
    own = _list_places(survey.image_file)
    for setting in ("image_file", "tile", "weight_file", "mask_file", "catalogue_file"):
        # Of the images any place will do; what else there is belongs to one of theirs, if it is looked for.
        anywhere = setting == "image_file" or (setting == "weight_file" and not weights)
        known = list(_PLACES if anywhere else own)
        # A tile and its catalogue are of all bands.
        known += [] if setting in ("tile", "catalogue_file") else _SPELLINGS
        _refuse_unknown(f"survey.{setting}", getattr(survey, setting), known)
    for other in survey.other_images:
        for kind in ("image_file", "mask_file", *(["weight_file"] if weights else [])):
            text = other.list_given().get(kind, "")
            _refuse_unknown(f"survey.other_images.{kind}", text, [*own, *_SPELLINGS])
    if has_shared_catalogue(survey) and not survey.catalogue_survey:
        raise ConfigError(
            f"survey.catalogue_file = {survey.catalogue_file!r} tells less of a tile than survey.image_file = "
            f"{survey.image_file!r}, and so is a catalogue of many: set survey.catalogue_survey to the survey's file "
            "that says what its columns mean (docs/tables.md), or name it by all that names an image"
        )


def _refuse_unknown(setting: str, text: str, known: Sequence[str]) -> None:
    unknown = [name for name in re.findall(r"\{(.*?)\}", text) if name not in known]
    if unknown:
        raise ConfigError(
            f"{setting} = {text!r} has {{{unknown[0]}}}, which stands for nothing: write "
            + (", ".join(f"{{{name}}}" for name in known) or "a name without braces, as survey.image_file has none")
        )


def _check_bands_differ(survey: Survey) -> None:
    """Refuse names by which one image would be that of two bands."""
    seen: dict[tuple[str, str], str] = {}
    for band in survey.image_bands:
        name = fill_name(survey.of_band(band).image_file, survey, {}, band)
        other = seen.setdefault((name, fill_hdu(survey, "image", band)), band)
        if other != band:
            raise ConfigError(
                f"survey.image_file names the same files {name!r} for the bands {other!r} and {band!r}: write {{band}} "
                "where they differ, or in survey.image_hdu, if one file holds the images of all bands"
            )


def _check_names(tiles: Iterable[TileFiles], survey: Survey) -> None:
    """Refuse tiles of one name: the second would take the first one's place in the store."""
    seen: dict[str, TileFiles] = {}
    for tile in tiles:
        other = seen.setdefault(tile.name, tile)
        if other is not tile:
            raise ConfigError(
                f"survey.tile = {survey.tile!r} names two tiles {tile.name!r}, of {other.places} and {tile.places}: "
                "write all that tells them apart"
            )


def _list_files(folders: Iterable[str]) -> list[tuple[str, str]]:
    """List the files of all folders: each by its path within its folder, and by its location."""
    return [found for folder in folders for found in _list_folder(folder.rstrip("/"))]


def _list_folder(folder: str) -> list[tuple[str, str]]:
    fs, root = find_filesystem(folder)
    # fsspec gives paths without the protocol, so the folder is cut off in that form and put back as it was given.
    root = str(root).rstrip("/")
    try:
        paths = fs.find(root)
    except OSError as error:
        raise SurveyFileError(f"the survey's folder {folder!r} cannot be listed: {error}") from error
    # A folder that does not exist is no error to fsspec's find, locally and in a store: it finds nothing.
    if not paths:
        raise SurveyFileError(
            f"the survey's folder {folder!r} is missing or empty: set locations.survey, or run jobs/simulate_survey.py"
        )
    names = [str(path)[len(root) :].lstrip("/") for path in paths]
    # As in a shell no glob means them: what macOS leaves beside each file, ._name, is no image.
    names = [name for name in names if not base_name(name).startswith(".")]
    # What is found is put behind the folder with one slash; two would be another key in an object store.
    return [(name, f"{folder}/{name}") for name in names]


def _list_templates(survey: Survey, *, weights: bool) -> list[_Template]:
    kinds = ("image", "mask", "weight") if weights else ("image", "mask")
    # An empty name means that the survey has no such files: they are not looked for, and not reported as missing.
    templates = [
        _Template(kind, band, fill_name(text, survey, {}, band))
        for kind in kinds
        for band in survey.image_bands
        if (text := getattr(survey.of_band(band), f"{kind}_file"))
    ]
    # One of many tiles is no tile's: it is read when all are there.
    if not has_shared_catalogue(survey):
        templates.append(_Template("catalogue", "", survey.catalogue_file))
    return templates


def _gather_files(
    paths: list[tuple[str, str]], templates: Iterable[_Template], own: tuple[str, ...]
) -> dict[Place, _Files]:
    """Gather the files of each place; ``own`` is what an image's name tells of it."""
    found: dict[Place, _Files] = defaultdict(lambda: defaultdict(list))
    # Files that name their tile come first: the others are of tiles that are known by then.
    for template in sorted(templates, key=lambda each: set(_list_places(each.name)) != set(own)):
        whole = set(_list_places(template.name)) == set(own)
        # Sorted, so that of several that match the highest name is the last.
        matches = sorted(_match_template(paths, template.name))
        for place, location in matches:
            key = tuple(sorted(place, key=lambda pair: own.index(pair[0])))
            for tile in [key] if whole else [each for each in found if set(key) <= set(each)]:
                found[tile][template.kind, template.band].append(location)
    return found


def _match_template(paths: Iterable[tuple[str, str]], template: str) -> list[tuple[Place, str]]:
    """Find the files that a template names: what it says of their place, and their locations."""
    # Not str.format: what stands for the place is a group of the pattern, and all else may be a glob.
    parts = re.split(r"\{(\w+)\}", re.sub(r"\.(fz|gz)$", "", template))
    pattern = "".join(
        _match_place(part, parts[1:index:2]) if index % 2 else _translate_glob(part) for index, part in enumerate(parts)
    )
    expression = re.compile(pattern + _PACKED)
    matches = ((expression.fullmatch(path), location) for path, location in paths)
    return [(tuple(match.groupdict().items()), location) for match, location in matches if match]


def _match_place(name: str, before: Iterable[str]) -> str:
    # A folder may be named by its tile, as the files within are: the second time it must be the same place, and a
    # pattern has no two groups of one name.
    return f"(?P={name})" if name in before else f"(?P<{name}>{_PLACES[name]})"


def _translate_glob(text: str) -> str:
    """Turn a piece of a glob into a regular expression without the anchors that fnmatch adds."""
    return "".join(
        re.escape(piece) if index % 2 == 0 else _strip_anchors(fnmatch.translate(piece))
        for index, piece in enumerate(re.split(r"(\[[^\]]*\]|\*|\?)", text))
    )


def _strip_anchors(pattern: str) -> str:
    # Python before 3.14 ends the pattern with \Z, later ones with \z; either would end the name in its middle.
    return re.sub(r"^\(\?s:(.*)\)(\\Z|\\z)$", r"\1", pattern)


def _make_tile(survey: Survey, places: dict[str, str], templates: Iterable[_Template], files: _Files) -> TileFiles:
    by_kind = {
        kind: {band: paths[-1] for (k, band), paths in files.items() if k == kind}
        for kind in ("image", "mask", "weight")
    }
    missing = tuple(
        base_name(fill_name(template.name, survey, places))
        for template in templates
        if (template.kind, template.band) not in files
    )
    catalogues = files.get(("catalogue", ""), [""])
    candidates = {
        band: several
        for (kind, band), paths in files.items()
        if kind == "image" and _is_merged(survey, band) and len(several := _take_packed(paths)) > 1
    }
    doubled = [
        pair
        for (kind, band), paths in files.items()
        if kind != "catalogue" and band not in candidates
        for pair in _find_doubled(paths)
    ]
    return TileFiles(
        name=fill_name(survey.tile, survey, places),
        places=places,
        images=by_kind["image"],
        masks=by_kind["mask"],
        weights=by_kind["weight"],
        catalogue=catalogues[-1],
        missing=missing,
        doubled=tuple(doubled),
        candidates=candidates,
    )


def _is_merged(survey: Survey, band: str) -> bool:
    """Tell whether a band's images lie as they lie on the sky: on pixels of their own, with names that tell no tile."""
    places = set(_list_places(survey.of_band(band).image_file))
    return band in survey.pixel_scales and places != set(_list_places(survey.image_file))


def _take_packed(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple({re.sub(_PACKED + "$", "", path): path for path in paths}.values())


def _find_doubled(paths: list[str]) -> list[tuple[str, str]]:
    """Find two files that are not one, packed and plain; of those the packed one sorts last and is taken."""
    plain = {re.sub(_PACKED + "$", "", path): path for path in paths}
    first, *others = plain.values()
    return [(first, others[-1])] if others else []
