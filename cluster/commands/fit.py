"""Fit an estimator to a table of galaxies with redshifts.

table -> fluxes -> estimator -> its folder, and its accuracy on galaxies that it was not fitted to

    photoz fit TABLE --model DIR [--survey NAME] [--estimator mlp] [--bands u,g,r,i,z]

TABLE is Parquet, HATS, FITS, CSV, ECSV or VOTable, a file or a folder, a path or a URL. What its columns mean is in the
file of its survey, one that photoz knows or one of your own (docs/tables.md); without --survey they are object_id,
mag_<band>, magerr_<band> and z_spec.
"""

import argparse
import json

from photoz.training.settings import Fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for beside settings."""
    parser.add_argument("table", metavar="TABLE", help="table.location: galaxies with redshifts")
    parser.add_argument("--model", metavar="DIR", help="model: folder that the fitted estimator is written to")
    parser.add_argument("--survey", metavar="NAME", help="table.survey: a name, or the path of a survey's file")
    parser.add_argument("--estimator", metavar="NAME", help="estimator: mlp by default")
    parser.add_argument("--bands", metavar="A,B,...", help="bands, in order of wavelength; all by default")


def change_settings(options: argparse.Namespace) -> list[str]:
    """Return the settings that the arguments stand for."""
    bands = json.dumps([band.strip() for band in options.bands.split(",")]) if options.bands else None
    told = {
        "table.location": options.table,
        "model": options.model,
        "table.survey": options.survey,
        "estimator": options.estimator,
        "bands": bands,
    }
    return [f"{name}={value}" for name, value in told.items() if value is not None]


def main(settings: Fit) -> None:
    """Fit, and tell what came of it."""
    from photoz.training.table import fit_table

    fitted = fit_table(settings)
    valid = fitted.valid
    figures = ", ".join(
        f"{name} {value:.4f}" for name, value in (("SMAD", valid["smad"]), ("R²", valid["r2"])) if value is not None
    )
    record = fitted.estimator.parts.record
    print(f"model: {settings.model}")
    print(f"fitted to {record['training_rows']:,} galaxies in {', '.join(fitted.estimator.bands)}")
    print(f"of {valid['rows']:,} others: {figures or 'too few to measure'}")
    print(f"estimate a table with it: photoz estimate TABLE --model {settings.model} --output DIR")
