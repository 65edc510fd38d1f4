"""From measured rates to hours, bytes and cost of a survey: prints the tables of docs/scaling.md.

python tests/benchmarks/capacity.py
"""

from dataclasses import dataclass, replace

HOUR = 3600.0
GB, TB = 1e9, 1e12


@dataclass(frozen=True)
class Rates:
    """What was measured, each in one core's seconds unless said; where, says docs/scaling.md."""

    ingest_s: float = 40.0  # a tile of four bands with masks, FITS to Zarr
    tile_fits: float = 7.53 * GB
    tile_stored: float = 6.0 * GB
    cut_sparse: float = 2_600.0  # galaxies a second from a store, 1,200 of them a tile
    cut_dense: float = 18_800.0  # from decoded blocks: more than some 10,000 a tile
    read_sparse: float = 156e3  # [bytes] from the tile store for a galaxy, 1,200 of them a tile
    forward_cpu: float = 1_400.0  # galaxies a second through the combined network, float32
    forward_gpu: float = 60_000.0  # a second and GPU: the target, not measured
    photometry: float = 13_200.0  # galaxies a second, source catalogue to finished partition, mlp with p(z)
    margin_s: float = 3.7e-6  # a galaxy
    audit_s: float = 29e-6  # a galaxy
    driver_s: float = 8.8e-3  # a partition, Ray's driver, which is one process
    source_row: float = 91.0  # [bytes] in the source catalogue
    catalogue_row: float = 127.0  # [bytes] with p(z) and margin


@dataclass(frozen=True)
class Prices:
    """Assumed, to be replaced by one's own: dollars."""

    core_hour: float = 0.04
    gpu_hour: float = 3.0
    tb_month: float = 23.0


@dataclass(frozen=True)
class Fleet:
    """Assumed machines."""

    nodes: int = 1
    cores: int = 32  # of a node
    gpus: int = 0  # of a node
    store: float = 1.0 * GB  # bytes a second and node from the object store


@dataclass(frozen=True)
class Survey:
    """What is to be done; ``images`` False for photometry alone."""

    name: str
    tiles: int
    galaxies: float
    rows_per_partition: float = 2000.0
    bands: int = 4  # of the images
    images: bool = True


SURVEYS = (
    Survey("DR4, KiDS-Bright", 1006, 1.24e6),
    Survey("DR4, all sources", 1006, 1.0e8, 50_000),
    Survey("DR5, KiDS-Bright", 1347, 1.66e6),
    Survey("LSST-sized", 18_000, 2e10, 200_000, bands=6),
)


def estimate_stages(survey: Survey, rates: Rates, fleet: Fleet) -> dict[str, float]:
    """Return the hours that each resource is busy; those with equal first words share it, and come one after another.

    Resources work at the same time, so the largest sum of one is the least that the whole can take.
    """
    cores, share = fleet.nodes * fleet.cores, survey.bands / 4
    gpus = fleet.nodes * fleet.gpus
    dense = survey.galaxies / survey.tiles > 10_000
    each = survey.galaxies / cores / HOUR
    tail = {
        "cores: margin": each * rates.margin_s,
        "cores: audit": each * rates.audit_s,
        "driver: partitions": survey.galaxies / survey.rows_per_partition * rates.driver_s / HOUR,
    }
    if not survey.images:
        return {"cores: photometry": each / rates.photometry, **tail}
    stages = {
        "cores: ingest": survey.tiles * share * rates.ingest_s / cores / HOUR,
        "cores: cutouts": each * share / (rates.cut_dense if dense else rates.cut_sparse),
        "store: tiles": (survey.tiles * share * rates.tile_fits + count_read(survey, rates))
        / (fleet.nodes * fleet.store)
        / HOUR,
    }
    if gpus:
        return stages | {"GPUs: network": survey.galaxies / (gpus * rates.forward_gpu) / HOUR} | tail
    return stages | {"cores: network": each / rates.forward_cpu} | tail


def count_read(survey: Survey, rates: Rates) -> float:
    """Count the bytes that cutouts take from the tile store: no more than all of it."""
    share = survey.bands / 4
    return min(survey.galaxies * rates.read_sparse * share, survey.tiles * share * rates.tile_stored)


def find_bottleneck(stages: dict[str, float]) -> tuple[float, str]:
    """Return the hours of the busiest resource, and the largest stage that keeps it busy."""
    sums: dict[str, float] = {}
    for name, hours in stages.items():
        sums[name.partition(":")[0]] = sums.get(name.partition(":")[0], 0.0) + hours
    resource = max(sums, key=lambda name: sums[name])
    own = {name: hours for name, hours in stages.items() if name.startswith(resource)}
    return sums[resource], max(own, key=lambda name: own[name])


def describe(survey: Survey, fleet: Fleet, rates: Rates, prices: Prices) -> tuple[str, ...]:
    """Return one line of the table as text."""
    hours, bottleneck = find_bottleneck(estimate_stages(survey, rates, fleet))
    tiles = survey.tiles * survey.bands / 4 * rates.tile_stored if survey.images else 0.0
    tables = survey.galaxies * (rates.source_row + rates.catalogue_row)
    work = hours * fleet.nodes * (fleet.cores * prices.core_hour + fleet.gpus * prices.gpu_hour)
    machines = f"{fleet.nodes} x {fleet.cores} cores" + (f" + {fleet.gpus} GPU" if fleet.gpus else "")
    kind = "images" if survey.images else "photometry"
    stored = f"{tiles / TB:,.1f} + {tables / TB:,.4f} TB" if survey.images else f"{tables / TB:,.4f} TB"
    month = f"${(tiles + tables) / TB * prices.tb_month:,.2f}"
    return (survey.name, kind, machines, f"{hours:,.2g} h", f"${work:,.2f}", stored, month, bottleneck)


def make_lines() -> list[tuple[str, ...]]:
    """Return the whole table of docs/scaling.md."""
    rates, prices = Rates(), Prices()
    lines = []
    for survey in SURVEYS:
        nodes = 50 if survey.galaxies > 1e9 else 1
        lines.append(describe(replace(survey, images=False), Fleet(nodes), rates, prices))
        for gpus in (0, 1):
            lines.append(describe(survey, Fleet(nodes, gpus=gpus), rates, prices))
    return lines


def main() -> None:
    headings = ("survey", "from", "machines", "hours", "work", "stored", "a month", "first bottleneck")
    for row in (headings, ("---",) * len(headings), *make_lines()):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
