"""What KiDS' files give, to the last bit: digests of a small survey that settings of other surveys must not change."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ingested import NAME, TILE, ingest
from tiny_survey import write_survey

from photoz.ingest.staging import read_staged, staged_location
from photoz.tiles.reader import read_attributes

PIXELS = "67e4f27a4849663d7d033d507e0cf03d88032e771f38a1568bd0d036196de1dd"
ROWS = "81dc608ade01fae2b43913e0fb35d00c77dcd805a7a0f855d9e11180881cde79"
ATTRIBUTES = [
    "bands", "checksum", "complete", "flux_scales", "format", "headers", "key", "mask_bits", "missing_files", "name",
    "offsets_pixel", "photoz", "residuals_pixel", "sha256", "survey", "wcs", "zero_point_offsets", "zero_points",
]  # fmt: skip
KEY = ["image_bands", "layout", "offset_sign", "offsets", "sources", "zeropoint"]


def hash_files(folder: Path) -> str:
    """Digest the names and bytes of all files beneath a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def hash_rows(table: pa.Table) -> str:
    """Digest the names, types and values of a table."""
    digest = hashlib.sha256()
    for name in table.column_names:
        values = table[name].combine_chunks()
        digest.update(f"{name} {values.type}".encode())
        plain = values.to_pylist() if pa.types.is_string(values.type) else values.to_numpy(zero_copy_only=False)
        digest.update("\n".join(plain).encode() if isinstance(plain, list) else plain.tobytes())
    return digest.hexdigest()


def test_a_tile_and_its_sources_are_what_they_were(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, (TILE,), shape=(60, 70), count=20)
    assert ingest(survey.config).problem == ""
    places = survey.config.locations
    assert hash_files(Path(places.tiles) / f"{NAME}.zarr" / "image" / "c") == PIXELS
    assert hash_rows(pq.read_table(staged_location(places.sources, NAME))) == ROWS
    attributes = read_attributes(places.tiles, NAME)
    assert sorted(attributes) == ATTRIBUTES
    assert sorted(attributes["key"]) == KEY
    # Of the files' digests, which hold for one version of astropy alone, and of the key.
    assert len(attributes["checksum"]) == 64
    known = read_staged(staged_location(places.sources, NAME))
    assert known is not None
    assert sorted(known.record.key) == ["format", "selection", "source", "survey"]
    assert sorted(known.record.key["selection"]) == ["bright_sample", "cuts", "mag_auto_below"]
