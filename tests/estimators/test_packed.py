"""The network laid out for inference gives what it gives as it was trained; `inference.precision` chooses how."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from from_magnitudes import lose
from test_hybrid import BANDS, UGRI, assert_same, make_inputs, make_preparation

from photoz.estimators import Inputs
from photoz.estimators.networks import packed
from photoz.estimators.networks.hybrid import HybridEstimator, PhotometryEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head, max_pool_same
from photoz.estimators.networks.paper import PaperEstimator

WITHIN = {"float32": 1e-4, "bfloat16": 1e-3}


def make_estimator(name: str, device: str = "cpu") -> HybridEstimator | PaperEstimator:
    """Fresh weights scaled to what trained ones give: 0.08 of spread in ln(1 + z), most of it from magnitudes.

    "point" is the network with masks without density: fresh densities have many peaks, between which estimates jump.
    """
    torch.manual_seed(5)
    layout = InputLayout(BANDS, UGRI, 36, 0.2, {"paper": None, "point": Head("point", 4, 0), "hybrid": Head()}[name])
    kind = PaperEstimator if name == "paper" else HybridEstimator
    network = kind.make_network(layout, (0.2, 0.08)).eval()
    with torch.no_grad():
        first = network.join[0] if name == "paper" else network.latents[0]
        first.weight[:, : network.image.features] *= 0.02
        features_NF = torch.randn(200, 9 if name == "paper" else 40)
        raw_N = network(features_NF, torch.rand(200, 4 if name == "paper" else 8, 36, 36)).reshape(200, -1)[:, 0]
        last = network.join[2].weight if name == "paper" else network.members.weights[-1]
        last *= (0.08 if name == "paper" else 1.0) / raw_N.std()
        if name == "paper":
            network.join[2].bias += 0.2
    return kind(layout, make_preparation(kind), network, device=torch.device(device))


def make_galaxies() -> Inputs:
    """Some without image, without a band's image, without magnitudes."""
    inputs = make_inputs(70)
    inputs.cutouts_NBYX[3] = np.nan
    inputs.cutouts_NBYX[5, 2] = np.nan
    return lose(inputs, 8, slice(4, None))


def assert_close(found, expected, within: float) -> None:
    np.testing.assert_allclose(found.z_phot_N, expected.z_phot_N, rtol=0, atol=within)
    np.testing.assert_array_equal(found.flags_N, expected.flags_N)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["point", "paper"])
def test_packed_network_gives_the_same_redshifts(name, precision, onednn, monkeypatch) -> None:
    if not onednn:  # as on a GPU, or a processor that it does not know
        monkeypatch.setattr(packed, "_has_onednn", lambda weight: False)
    estimator, inputs = make_estimator(name), make_galaxies()
    expected = estimator.estimate(inputs)
    assert np.std(expected.z_phot_N[np.isfinite(expected.z_phot_N)]) > 0.01  # else closeness says nothing
    found = estimator.prepare(precision).estimate(inputs, batch_size=48)  # it makes the largest maps of 32 at a time
    assert_close(found, expected, WITHIN[precision])


@pytest.mark.parametrize("side", [1, 6, 7])
def test_the_faster_max_pool_gives_the_same(side) -> None:
    maps_NCYX = torch.randn(3, 5, side, side).contiguous(memory_format=torch.channels_last)
    maps_NCYX[0, 0, 0, 0] = torch.nan
    torch.testing.assert_close(
        packed.max_pool_neighbours(maps_NCYX), max_pool_same(maps_NCYX), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["point", "paper"])
def test_packed_network_gives_the_same_redshifts_on_a_gpu(name, precision) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    inputs = make_galaxies()
    expected = make_estimator(name).estimate(inputs)
    assert_close(make_estimator(name, "cuda").prepare(precision).estimate(inputs), expected, WITHIN[precision])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_does_not_depend_on_the_others_of_its_batch(precision) -> None:
    estimator, inputs = make_estimator("hybrid").prepare(precision), make_inputs(40)
    clean = estimator.estimate(inputs)
    inputs.cutouts_NBYX[1] = np.nan
    assert_same(estimator.estimate(lose(inputs, 2)), clean, rows=slice(3, None))


def test_packing_leaves_the_weights_that_are_saved(tmp_path) -> None:
    estimator, inputs = make_estimator("hybrid"), make_inputs(4)
    estimator.prepare("bfloat16").save(str(tmp_path / "hybrid"))
    assert_same(HybridEstimator.load(str(tmp_path / "hybrid")).estimate(inputs), estimator.estimate(inputs))


def test_photometry_alone_is_packed_to_itself() -> None:
    layout = InputLayout(BANDS, (), 0, 0.2, Head())
    estimator = PhotometryEstimator(
        layout,
        make_preparation(PhotometryEstimator),
        PhotometryEstimator.make_network(layout),
        device=torch.device("cpu"),
    )
    inputs = make_inputs(5, images=False)
    assert_same(estimator.prepare("bfloat16").estimate(inputs), estimator.estimate(inputs))


def test_without_one_of_torchs_own_operators_its_public_layers_serve(monkeypatch) -> None:
    monkeypatch.setattr(packed, "_OPERATORS", (*packed._OPERATORS, "_renamed"))
    estimator, inputs = make_estimator("point"), make_galaxies()
    prepared = estimator.prepare("float32")
    assert not any(getattr(module, "onednn", False) for module in prepared.packed.modules())
    assert_close(prepared.estimate(inputs), estimator.estimate(inputs), WITHIN["float32"])


def test_memory_that_is_freed_is_kept_for_the_next_pass() -> None:
    """Of 64 MB given back, the process keeps all, which glibc's defaults give to the kernel at once."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    measure = (
        "import ctypes, re, sys; from pathlib import Path; from photoz.inference import keep_memory\n"
        "read = lambda: int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "keep_memory() if sys.argv[1] == 'keep' else None\n"
        "libc, size = ctypes.CDLL(None), 64 * 2**20\n"
        "libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]\n"
        "before, block = read(), libc.malloc(size); ctypes.memset(block, 1, size); libc.free(block)\n"
        "print(read() - before)"
    )
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", measure, way], env=bare, capture_output=True, check=True).stdout)
        for way in ("keep", "leave")
    )
    assert kept > 60_000 > 4_000 > given_back  # [kB]
