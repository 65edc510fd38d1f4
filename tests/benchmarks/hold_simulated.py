"""Hold the simulated main sample of SDSS against the real one: colours against redshift, and catalogues to compare on.

python tests/benchmarks/hold_simulated.py FOLDER [GALAXIES]

Writes to FOLDER colours.png, and plain catalogues for `photoz compare`: real.parquet (learn on the half of the real
galaxies from which the simulation is made, test on the other), simulated.parquet and plain.parquet (as many simulated
ones, with and without spectral variety), crossed.parquet (learn on simulated, test on the real other half). Prints
median and scatter of each colour in bins of redshift, of the real other half and of the simulated.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.metrics import compute_smad
from photoz.plots import plot_colours, render_png
from photoz.simulate.sdss import (
    BANDS,
    Observed,
    observe_real,
    select_main_sample,
    simulate_main_sample,
    split_galaxies,
)
from photoz.simulate.seds import read_sdss_galaxies
from photoz.simulate.variety import load_variety

EDGES = (0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25)


def main(folder: str, galaxies: str | None = None) -> None:
    to = Path(folder)
    to.mkdir(parents=True, exist_ok=True)
    every = read_sdss_galaxies()
    main_N, ours_N = select_main_sample(every), split_galaxies(np.arange(len(every.redshift_N)))
    ours, theirs = observe_real(every, main_N & ours_N), observe_real(every, main_N & ~ours_N)
    number = int(galaxies or len(ours))
    drawn = {}
    for name, variety in (("simulated", load_variety()), ("plain", None)):
        train, test = (simulate_main_sample(every, np.random.default_rng(seed), number, variety) for seed in (1, 2))
        write(to / f"{name}.parquet", train, test)
        drawn[name] = (train, test)
    write(to / "real.parquet", ours, theirs)
    write(to / "crossed.parquet", drawn["simulated"][0], theirs)
    samples = {"real, other half": theirs, "simulated": drawn["simulated"][1], "without variety": drawn["plain"][1]}
    report({"real (simulation's half)": ours, **samples})
    draw(to / "colours.png", samples)


def write(location: Path, train: Observed, test: Observed) -> None:
    columns = {"z_spec": np.concatenate([train.redshift_N, test.redshift_N])}
    for column, band in enumerate(BANDS):
        columns[f"mag_{band}"] = np.concatenate([train.magnitude_NB[:, column], test.magnitude_NB[:, column]])
        columns[f"magerr_{band}"] = np.concatenate([train.error_NB[:, column], test.error_NB[:, column]])
    columns["object_id"] = np.arange(len(columns["z_spec"]))
    columns["split"] = np.repeat(["train", "test"], [len(train), len(test)])
    pq.write_table(pa.table(columns), location)


def report(samples: dict[str, Observed]) -> None:
    for name, sample in samples.items():
        print(f"{name}: {len(sample)} galaxies, mean redshift {sample.redshift_N.mean():.4f}")
    for colour in next(iter(samples.values())).compute_colours():
        print(f"\n{colour}: median and SMAD [mag] in bins of redshift {EDGES}")
        for name, sample in samples.items():
            value_N, bin_N = sample.compute_colours()[colour], np.digitize(sample.redshift_N, EDGES)
            parts = [value_N[bin_N == number] for number in range(1, len(EDGES))]
            cells = (f"{np.median(part):6.3f} {compute_smad(part):.3f}" for part in parts)
            print(f"{name:>26} | " + " | ".join(cells))


def draw(location: Path, samples: dict[str, Observed]) -> None:
    colours = {name: sample.compute_colours() for name, sample in samples.items()}
    names = next(iter(colours.values()))
    by_colour = {colour: {name: values[colour] for name, values in colours.items()} for colour in names}
    location.write_bytes(render_png(plot_colours({name: s.redshift_N for name, s in samples.items()}, by_colour)))


if __name__ == "__main__":
    main(*sys.argv[1:])
