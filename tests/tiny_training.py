"""A training set made of numbers, without survey files."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from from_magnitudes import make_columns
from training_settings import nest

from photoz.schema import make_training_schema
from photoz.settings.config import convert_config

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")


def make_config(folder, **training):
    places = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return convert_config(
        {
            "run": {"name": "test", "seed": 5},
            "locations": {place: str(folder / place) for place in places},
            "training": nest(
                **{"estimator": "photometry", "batch_size": 32, "max_epochs": 2, "shuffle_rows": 64} | training
            ),
        }
    )


def write_training_set(config, *, train=200, valid=60, parts=2, images=True):
    """Galaxies whose magnitudes and images follow the redshift, as a training set."""
    rng = np.random.default_rng(0)
    shape = (4, 36, 36)
    schema = make_training_schema(BANDS, shape)
    for part in range(parts):
        n = (train + valid) // parts
        z_N = rng.uniform(0.02, 0.5, n)
        columns = {name: np.zeros(n) for name in schema.names}
        magnitudes_FN = np.stack([18 + 4 * z_N * (1 - i / 9) + rng.normal(0, 0.02, n) for i in range(len(BANDS))])
        magnitudes_FN[BANDS.index("H"), ::7] = np.nan
        columns |= make_columns(BANDS, magnitudes_FN.T, np.nan)
        columns |= {"z_spec": z_N, "split": np.where(np.arange(n) < train // parts, "train", "valid")}
        columns |= {"object_id": [f"{part}-{i}" for i in range(n)], "tile": ["t"] * n}
        images_NP = (z_N[:, None] * rng.random(int(np.prod(shape)))).astype(np.float32)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(images_NP.ravel()), images_NP.shape[1])
        columns["cutout"] = pa.ExtensionArray.from_storage(schema.field("cutout").type, flat)
        arrays = [
            columns[f.name] if f.name == "cutout" else pa.array(columns[f.name]).cast(f.type, safe=False)
            for f in schema
        ]
        location = f"{config.locations.training}/set/part-1-{part}.parquet"
        os.makedirs(os.path.dirname(location), exist_ok=True)  # noqa: PTH103, PTH120
        pq.write_table(pa.table(arrays, schema=schema), location, row_group_size=50)
