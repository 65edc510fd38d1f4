"""The overview of a catalogue: what it is put together from, and what the model that made it says of its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from photoz.catalogue.records import PastRun, read_past_run
from photoz.errors import CatalogueError, EstimatorError
from photoz.estimators.folder import read_manifest
from photoz.overview.partition import Plan, read_magnitudes
from photoz.overview.sums import CatalogueSums
from photoz.ranges import RangeCounts, Ranges
from photoz.sources import list_source_partitions, read_sources


@dataclass(frozen=True)
class Model:
    """The estimator that made a catalogue, by its folder alone: nothing of it is loaded.

    Parameters
    ----------
    location : str
        Its folder, as the run recorded it or as the settings have it.
    manifest : mapping
        Empty where it cannot be read.
    ranges : Ranges or None
        Magnitudes and colours of its training sample, where it recorded them.
    problem : str
        Why there are none; "" where there are.
    """

    location: str
    manifest: Mapping[str, Any]
    ranges: Ranges | None
    problem: str


@dataclass(frozen=True, eq=False)
class Overview:
    """A catalogue described.

    Parameters
    ----------
    plan : Plan
    sums : CatalogueSums
    model : Model
    counts : RangeCounts or None
        Magnitudes and colours of the sources; None where they cannot be compared with the training sample's.
    problem : str
        Why they cannot; "" where they can.
    run : PastRun
        What the run record beside the catalogue tells.
    """

    plan: Plan
    sums: CatalogueSums
    model: Model
    counts: RangeCounts | None
    problem: str
    run: PastRun


def read_model(catalogue: str, configured: str) -> Model:
    """Read what the estimator of a catalogue says of itself.

    Parameters
    ----------
    catalogue : str
        Its run record names the estimator's folder.
    configured : str
        That folder where the recorded one is not there any more, or no run is recorded.

    Returns
    -------
    Model
        A folder that cannot be read costs the comparison with its training sample, not the overview.
    """
    recorded = read_past_run(catalogue).estimator
    locations = [configured] if recorded is None else [recorded, configured]
    problem = ""
    for location in locations:
        try:
            manifest = read_manifest(location)
        # OSError: a folder that is on another machine, or that this one may not read.
        except (EstimatorError, OSError) as error:
            problem = problem or str(error)
            continue
        return _make_model(location, manifest)
    return Model(locations[0], {}, None, f"the estimator’s folder cannot be read ({problem})")


def _make_model(location: str, manifest: Mapping[str, Any]) -> Model:
    record, bands = manifest.get("record"), manifest.get("bands")
    summary = record.get("photometry") if isinstance(record, dict) else None
    if summary is None:
        problem = (
            f"the model {location} keeps no summary of its training sample’s photometry: networks do not, and models "
            "that were fitted by an earlier version"
        )
        return Model(location, manifest, None, problem)
    ranges = Ranges.read(summary, [str(band) for band in bands] if isinstance(bands, list) else [])
    problem = "" if ranges else f"the summary of the training sample’s photometry in {location} is of another version"
    return Model(location, manifest, ranges, problem)


def explain_without_sources(sources: str, ranges: Ranges) -> str:
    """Say why magnitudes of the source catalogue cannot be compared with a training sample's; "" where they can."""
    try:
        partitions = list_source_partitions(sources)
        if partitions:
            read_magnitudes(read_sources(sources, partitions[0]).slice(0, 0), ranges.bands)
    except CatalogueError as error:
        return f"the source catalogue cannot be read ({error})"
    except (KeyError, ValueError) as error:
        return f"the source catalogue {sources} lacks some of the bands {', '.join(ranges.bands)} ({error})"
    return ""
