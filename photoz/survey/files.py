"""Find a survey's files by the naming that the settings give: KiDS's by default, another survey's by other settings."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from photoz.errors import ConfigError, SurveyFileError
from photoz.storage import find_filesystem
from photoz.survey.fits import base_name
from photoz.survey.settings import Survey

_PLACES = {"ra": r"(?P<ra>\d+(?:\.\d+)?)", "dec": r"(?P<dec>[+-]?\d+(?:\.\d+)?)"}


class _Place(NamedTuple):
    """[deg] a tile's centre as the file names write it; "" where they do not tell it."""

    ra: str
    dec: str


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


def find_tiles(survey: Survey, folder: str, *, weights: bool = False) -> list[TileFiles]:
    """List the tiles in a survey's folder, with the files each has and lacks.

    Parameters
    ----------
    survey : Survey
        How the files are named.
    folder : str
        Path or URL, ``locations.survey``; looked through with all that lies beneath it.
    weights : bool
        Look for weight images too.

    Returns
    -------
    list of TileFiles
        Sorted by name. A file may be there as ``.fits``, ``.fits.fz`` or ``.fits.gz``; of several catalogues
        (DR4.0 and DR4.1) the highest name is taken. Masks are optional: a missing one is listed, and costs nothing but
        the mask.

    Raises
    ------
    SurveyFileError
        The folder does not exist, or holds no file of the survey's naming.
    ConfigError
        A name has a placeholder that stands for nothing.
    """
    _check_placeholders(survey)
    # What is found is put behind it with one slash; two would be another key in an object store.
    folder = folder.rstrip("/")
    templates = _list_templates(survey, weights=weights)
    paths = _list_files(folder)
    found: dict[_Place, dict[tuple[str, str], str]] = {}
    for kind, band, name in templates:
        # Sorted, so that of several that match the highest name stays.
        for place, path in sorted(_match_template(paths, name.replace("{band}", band))):
            found.setdefault(place, {})[kind, band] = f"{folder}/{path}"
    if not found:
        expected = survey.image_file.format(ra="180.0", dec="-0.5", band=survey.image_bands[0])
        raise SurveyFileError(
            f"no survey file in {folder!r}: names like {expected!r} are looked for; "
            "set locations.survey or survey.image_file"
        )
    # By the place alone: files of a tile come together whichever of them is missing, its images too.
    tiles = [
        _make_tile(survey.tile.format(**place._asdict()), place, templates, files) for place, files in found.items()
    ]
    # By name, since stores list in orders of their own and `check_survey` looks at the first few.
    return sorted(tiles, key=lambda tile: tile.name)


def _check_placeholders(survey: Survey) -> None:
    """Refuse what no name can be made of: `str.format` would raise on it, or leave it in a name that no file has."""
    for setting in ("tile", "image_file", "weight_file", "mask_file", "catalogue_file"):
        text, known = getattr(survey, setting), ["ra", "dec"]
        # A tile and its catalogue are of all bands.
        if setting not in ("tile", "catalogue_file"):
            known.append("band")
        unknown = [name for name in re.findall(r"\{(.*?)\}", text) if name not in known]
        if unknown:
            raise ConfigError(
                f"survey.{setting} = {text!r} has {{{unknown[0]}}}, which stands for nothing: write "
                + ", ".join(f"{{{name}}}" for name in known)
            )


def _list_files(folder: str) -> list[str]:
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
    return [str(path)[len(root) :].lstrip("/") for path in paths]


def _list_templates(survey: Survey, *, weights: bool) -> list[_Template]:
    # An empty name means that the survey has no such files: they are not looked for, and not reported as missing.
    kinds = {"image": survey.image_file, "mask": survey.mask_file}
    if weights:
        kinds["weight"] = survey.weight_file
    templates = [_Template(kind, band, text) for kind, text in kinds.items() if text for band in survey.image_bands]
    return [*templates, _Template("catalogue", "", survey.catalogue_file)]


def _match_template(paths: Iterable[str], template: str) -> list[tuple[_Place, str]]:
    # Not str.format: what stands for the place is a group of the pattern, and all else may be a glob.
    parts = re.split(r"\{(ra|dec)\}", template)
    pattern = "".join(
        _match_place(part, parts[1:index:2]) if index % 2 else _translate_glob(part) for index, part in enumerate(parts)
    )
    # fpack and gzip add the ending to the plain name. Of both, the packed one sorts last and is taken.
    expression = re.compile(pattern + r"(?:\.fz|\.gz)?")
    matches = ((expression.fullmatch(path), path) for path in paths)
    return [(_Place(**({"ra": "", "dec": ""} | match.groupdict())), path) for match, path in matches if match]


def _match_place(name: str, before: Iterable[str]) -> str:
    # A folder may be named by its tile, as the files within are: the second time it must be the same place, and a
    # pattern has no two groups of one name.
    return f"(?P={name})" if name in before else _PLACES[name]


def _translate_glob(text: str) -> str:
    """Turn a piece of a glob into a regular expression without the anchors that fnmatch adds."""
    return "".join(
        re.escape(piece) if index % 2 == 0 else _strip_anchors(fnmatch.translate(piece))
        for index, piece in enumerate(re.split(r"(\[[^\]]*\]|\*|\?)", text))
    )


def _strip_anchors(pattern: str) -> str:
    # Python before 3.14 ends the pattern with \Z, later ones with \z; either would end the name in its middle.
    return re.sub(r"^\(\?s:(.*)\)(\\Z|\\z)$", r"\1", pattern)


def _make_tile(
    name: str, place: _Place, templates: Iterable[_Template], files: dict[tuple[str, str], str]
) -> TileFiles:
    by_kind = {
        kind: {band: path for (k, band), path in files.items() if k == kind} for kind in ("image", "mask", "weight")
    }
    missing = tuple(
        base_name(template.name.format(ra=place.ra, dec=place.dec, band=template.band))
        for template in templates
        if (template.kind, template.band) not in files
    )
    return TileFiles(
        name=name,
        ra=place.ra,
        dec=place.dec,
        images=by_kind["image"],
        masks=by_kind["mask"],
        weights=by_kind["weight"],
        catalogue=files.get(("catalogue", ""), ""),
        missing=missing,
    )
