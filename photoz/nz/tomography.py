"""n(z) of a photo-z catalogue, a partition at a time: which rows, which bins, and the files that hold the result."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photoz.catalogue.hats import Partition, list_partitions, locate_partition, locate_primary, read_partition
from photoz.errors import CatalogueError, ConfigError
from photoz.nz.distribution import (
    Distribution,
    Sums,
    assign_tomographic_bins,
    compute_shares,
    count_redshifts,
    draw_bootstrap_weights,
    place_redshifts,
    stack,
)
from photoz.pdf import decode_quantiles
from photoz.plots.nz import plot_nz
from photoz.plots.style import render_png
from photoz.schema import QUANTILES, Flag, find_algorithm, make_field
from photoz.settings.config import Config
from photoz.storage import join, open_atomic

METADATA = b"photoz_nz"
"""Key of the Parquet file's metadata: JSON with what the n(z) was made from and the figures of each bin."""
_ROWS = 2048  # galaxies at a time: their curves on 100 cells take 30 MB


@dataclass(frozen=True)
class StackTask:
    """One partition to stack: its tomographic bins and where p(z) is ("": there is none)."""

    partition: Partition
    edges: tuple[float, ...]
    algorithm: str


def plan_nz(config: Config) -> tuple[list[Partition], str]:
    """List the partitions of the catalogue, and find the name of the estimator whose p(z) it holds ("": none).

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it has no rows or no z_phot.
    ConfigError
        A setting of the section ``nz`` makes no sense.
    """
    _check_settings(config)
    location = config.locations.catalogue
    partitions = list_partitions(location)
    if not partitions:
        raise CatalogueError(f"{location!r} has no rows: run jobs/infer_dr4.py, or set locations.catalogue")
    names = read_partition(location, partitions[0]).column_names
    missing = [name for name in ("object_id", "z_phot", "flags") if name not in names]
    if missing:
        raise CatalogueError(f"{location!r} is no photo-z catalogue: it lacks {missing}; set locations.catalogue")
    return partitions, find_algorithm(names)


def make_z_edges(config: Config) -> npt.NDArray[np.float64]:
    """Return the edges of the redshift cells that n(z) is given on, from 0 to ``nz.highest_redshift``."""
    cells = max(1, round(config.nz.highest_redshift / config.nz.step))
    return np.asarray(np.round(np.arange(cells + 1) * config.nz.step, 9))


def count_partition(config: Config, partition: Partition) -> dict[str, Any]:
    """Count the selected redshifts of one partition: {"counts", "rows"}."""
    table = _read_selected(config, partition, ("z_phot",))
    return {"counts": count_redshifts(table["z_phot"].to_numpy()), "rows": len(table)}


def stack_partition(config: Config, task: StackTask) -> dict[str, Any]:
    """Stack the selected rows of one partition: {"sums": Sums, "rows", "without_pdf"}."""
    stored = f"{task.algorithm}_{QUANTILES}" if task.algorithm else ""
    table = _read_selected(config, task.partition, ("object_id", "z_phot", *filter(None, [stored])))
    z_edges, bins = make_z_edges(config), len(task.edges) - 1
    sums, lacking = Sums.empty(bins, config.nz.resamples, len(z_edges) - 1), 0
    for start in range(0, len(table), _ROWS):
        rows = table.slice(start, _ROWS)
        z_N = rows["z_phot"].to_numpy().astype(np.float64)
        shares_NZ = compute_shares(_get_quantiles(rows[stored]), z_edges) if stored else place_redshifts(z_N, z_edges)
        known_N = np.isfinite(shares_NZ[:, 0])
        bin_N = np.where(known_N, assign_tomographic_bins(z_N, task.edges), 0)
        weights_NR = draw_bootstrap_weights(
            rows["object_id"].to_pylist(), seed=config.run.seed, resamples=config.nz.resamples
        )
        sums = sums.add(stack(bin_N, np.where(known_N[:, None], shares_NZ, 0.0), weights_NR, bins=bins))
        lacking += int((~known_N).sum())
    return {"sums": sums, "rows": len(table), "without_pdf": lacking}


def make_nz_schema() -> pa.Schema:
    """Build the schema of the n(z) table."""
    return pa.schema(
        [
            make_field("tomographic_bin", pa.int32(), unit="", description="from 1, in order of z_phot"),
            make_field("z", pa.float64(), unit="", description="redshift, middle of the cell"),
            make_field("nz", pa.float64(), unit="1", description="density per unit redshift, integral 1 in each bin"),
            make_field("nz_err", pa.float64(), unit="1", description="its 1-sigma bootstrap error"),
        ]
    )


def describe_nz(
    config: Config, distribution: Distribution, *, edges: Iterable[float], algorithm: str, rows: int, without_pdf: int
) -> dict[str, Any]:
    """Collect what the n(z) was made from, and the figures of each bin, as plain values; no number is None."""
    limits = list(edges)
    method = f"stacked p(z) of {algorithm}" if algorithm else "histogram of z_phot: the catalogue has no p(z)"
    figures = zip(
        limits[:-1],
        limits[1:],
        distribution.count_B,
        distribution.mean_B,
        distribution.mean_error_B,
        distribution.outside_B,
        strict=True,
    )
    return {
        "catalogue": config.locations.catalogue,
        "method": method,
        "selected_rows": rows,
        "rows_without_pdf": without_pdf,
        "excluded_flags": list(config.nz.exclude_flags),
        "step": config.nz.step,
        "resamples": config.nz.resamples,
        "seed": config.run.seed,
        "bins": [
            {
                "tomographic_bin": number,
                "z_phot_low": low,
                "z_phot_high": high,
                "galaxies": int(count),
                "mean_z": _plain(mean),
                "mean_z_err": _plain(error),
                "share_beyond_grid": _plain(outside),
            }
            for number, (low, high, count, mean, error, outside) in enumerate(figures, 1)
        ],
    }


def write_nz(config: Config, distribution: Distribution, description: dict[str, Any]) -> str:
    """Write ``nz.parquet`` and ``nz.png`` and return the location of the table."""
    bins, cells = distribution.nz_BZ.shape
    schema = make_nz_schema()
    columns = [
        np.repeat(np.arange(1, bins + 1), cells),
        np.tile(distribution.z_Z, bins),
        distribution.nz_BZ.ravel(),
        distribution.error_BZ.ravel(),
    ]
    metadata = {METADATA: json.dumps(description).encode()}
    arrays = [pa.array(values).cast(field.type) for values, field in zip(columns, schema, strict=True)]
    folder = locate_nz(config)
    table = join(folder, "nz.parquet")
    with open_atomic(table) as file:
        pq.write_table(pa.table(arrays, schema=schema.with_metadata(metadata)), file, compression="zstd")
    with open_atomic(join(folder, "nz.png")) as file:
        file.write(render_png(plot_nz(distribution, description)))
    return table


def locate_nz(config: Config) -> str:
    """Return the folder of the n(z): ``nz.output``, or ``nz`` within the report's."""
    return config.nz.output or join(config.locations.report, "nz")


def format_nz(description: dict[str, Any]) -> str:
    """Format the figures of each bin as lines of text."""
    lines = [f"n(z): {description['method']}; {description['selected_rows']:,} galaxies selected"]
    for each in description["bins"]:
        mean = "no galaxies" if each["mean_z"] is None else f"mean z {each['mean_z']:.4f}"
        error = "" if each["mean_z_err"] is None else f" ± {each['mean_z_err']:.4f}"
        limits = f"{each['z_phot_low']:.4f} to {each['z_phot_high']:.4f}"
        lines.append(f"bin {each['tomographic_bin']}: z_phot {limits}, {each['galaxies']:,} galaxies, {mean}{error}")
    return "\n".join(lines)


def _check_settings(config: Config) -> None:
    settings = config.nz
    unknown = [name for name in settings.exclude_flags if name not in Flag.__members__]
    if unknown:
        raise ConfigError(f"nz.exclude_flags has {unknown}; the flags are {list(Flag.__members__)}")
    rising = all(low < high for low, high in zip(settings.edges, settings.edges[1:], strict=False))
    if settings.edges and (len(settings.edges) < 2 or not rising):
        raise ConfigError(f"nz.edges = {list(settings.edges)} (z_phot) must be at least two rising redshifts, or none")
    if settings.bins < 1 or settings.resamples < 0 or not 0 < settings.step <= settings.highest_redshift:
        raise ConfigError(
            f"nz.bins = {settings.bins} must be at least 1, nz.resamples = {settings.resamples} at least 0, nz.step = "
            f"{settings.step} above 0 and at most nz.highest_redshift = {settings.highest_redshift}"
        )


def _read_selected(config: Config, partition: Partition, columns: tuple[str, ...]) -> pa.Table:
    """Read rows with a redshift and without any of the flags that are not wanted."""
    location = config.locations.catalogue
    try:
        table = read_partition(location, partition, columns=(*columns, "flags"))
    except (KeyError, ValueError) as error:
        file = locate_partition(locate_primary(location), partition)
        raise CatalogueError(f"{file} has other columns than the first partition ({error}): run the audit") from error
    unwanted = sum(int(Flag[name]) for name in config.nz.exclude_flags)
    flags_N = pc.fill_null(table["flags"], 0).to_numpy()
    kept_N = ((flags_N & unwanted) == 0) & np.isfinite(table["z_phot"].to_numpy())
    return table.filter(pa.array(kept_N))


def _get_quantiles(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    lists = column.combine_chunks()
    lists = lists if isinstance(lists, pa.Array) else lists.chunk(0)
    codes_NQ = lists.flatten().to_numpy().reshape(len(column), -1)
    return decode_quantiles(codes_NQ)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
