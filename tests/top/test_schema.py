"""The one declaration of the columns: each of p(z) follows from its entry in the schema, in inference and on disk."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from pdf_double import make_quantiles
from scipy.stats import norm

from photoz.audit.densities import check_densities
from photoz.catalogue.hats import Partition
from photoz.estimators import Estimates, Pdfs
from photoz.inference import make_table
from photoz.schema import (
    LEVELS,
    PDF_COLUMNS,
    QUANTILES,
    Flag,
    PdfColumn,
    find_algorithm,
    make_catalogue_schema,
    make_source_schema,
    make_training_schema,
)

BANDS = ("g", "r")


def make_rows(count: int) -> pa.Table:
    """Make rows of a source catalogue; only their identifiers and flags matter."""
    schema = make_source_schema(BANDS)
    blank = {
        field.name: [f"g{i}" for i in range(count)] if pa.types.is_string(field.type) else np.zeros(count)
        for field in schema
    }
    return pa.table([pa.array(blank[field.name]).cast(field.type) for field in schema], schema=schema)


def estimate(count: int) -> Estimates:
    z_N = np.linspace(0.1, 0.6, count).astype(np.float32)
    z_N[1] = np.nan
    pdf = Pdfs(
        make_quantiles(z_N).astype(np.float32), np.full(count, 0.01, np.float32), np.full(count, 0.5, np.float32)
    )
    return Estimates(z_N, np.zeros(count, np.int32), pdf)


@pytest.mark.parametrize("schema", [make_source_schema(BANDS), make_catalogue_schema("mlp"), make_catalogue_schema()])
def test_every_column_has_a_description_and_a_unit(schema: pa.Schema) -> None:
    assert all(set(field.metadata) == {b"unit", b"description"} for field in schema)
    assert all(field.metadata[b"description"] for field in schema)
    assert len(set(schema.names)) == len(schema.names)


def test_levels_are_symmetric_and_hold_what_the_columns_are_made_of() -> None:
    assert list(LEVELS) == sorted(set(LEVELS))
    np.testing.assert_allclose(np.add(LEVELS, LEVELS[::-1]), 1)
    for column in PDF_COLUMNS.values():
        assert set(column.terms) <= set(LEVELS)
        assert bool(column.terms) == (column.source == "quantiles")


def test_flags_are_single_bits_that_int32_holds() -> None:
    assert all(flag.value.bit_count() == 1 for flag in Flag)
    assert sum(Flag) < 2**31


def test_the_algorithm_is_found_by_its_quantiles_alone() -> None:
    assert find_algorithm(make_catalogue_schema("mlp").names) == "mlp"
    assert find_algorithm(["z_phot", "mlp_z_median"]) == ""


def test_the_training_schema_holds_a_cutout_where_there_is_one() -> None:
    assert "cutout" not in make_training_schema(BANDS, None).names
    assert make_training_schema(BANDS, (2, 5, 5)).field("cutout").type.shape == [2, 5, 5]


def test_a_table_holds_every_column_of_the_registry_in_its_order() -> None:
    table = make_table(make_rows(4), estimate(4), algorithm="mlp")
    own = [name.removeprefix("mlp_") for name in table.column_names if name.startswith("mlp_")]
    assert own == [*PDF_COLUMNS, QUANTILES]
    for name, column in PDF_COLUMNS.items():
        if column.source != "estimator":
            assert np.isnan(table[f"mlp_{name}"].to_numpy()).tolist() == [False, True, False, False]


def test_a_column_more_is_one_entry_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interquartile range is written by inference and proved by the audit from its entry alone."""
    spread = PdfColumn("interquartile range of p(z)", terms={0.75: 1.0, 0.25: -1.0}, least=0.0)
    monkeypatch.setitem(PDF_COLUMNS, "z_iqr", spread)
    table = make_table(make_rows(4), estimate(4), algorithm="mlp")
    found = table["mlp_z_iqr"].to_numpy()
    width = estimate(4).pdf.quantiles_NQ[:, LEVELS.index(0.84)] - estimate(4).pdf.quantiles_NQ[:, LEVELS.index(0.5)]
    np.testing.assert_allclose(found[[0, 2, 3]], 2 * norm.ppf(0.75) / norm.ppf(0.84) * width[[0, 2, 3]], atol=2e-4)
    partition = Partition(order=0, pixel=0)
    assert list(check_densities(partition, table, "mlp")) == []
    place = table.schema.get_field_index("mlp_z_iqr")
    wrong = table.set_column(place, table.schema.field(place), pa.array(found * np.float32(1.01)))
    [finding] = check_densities(partition, wrong, "mlp")
    assert "another z_iqr" in finding.detail
    assert table.schema.field("mlp_z_iqr").metadata[b"description"] == spread.description.encode()


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PDF_COLUMNS["odds"].most = 2.0  # type: ignore[misc]
