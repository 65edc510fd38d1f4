"""The estimator that reads photometry alone: fit and estimates."""

import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from gpu_galaxies import Kit, make_photometry, time_call, wait
from gpu_record import Line, Step

from photoz.estimators.registry import load_class

PART = "mlp"
GALAXIES, MANY = 21_000, 500_000


def list_steps(kit: Kit) -> Iterator[Step]:
    """List the fit, which the others need, and the estimates."""
    fit = cache(partial(fit_mlp, kit))
    yield Step("fit", lambda: fit()[0])
    yield Step("estimates", lambda: measure(kit, fit()[1]))


def fit_mlp(kit: Kit) -> tuple[list[Line], Any]:
    """Fit to galaxies with redshifts, by its defaults."""
    sample, kind = make_photometry(kit.size(GALAXIES, 200)), load_class("mlp")
    settings: dict[str, Any] = {"epochs": 2, "least_steps": 20} if kit.small else {}
    begun = time.perf_counter()
    estimator = kind.fit(sample, seed=1, **settings)  # type: ignore[attr-defined]
    wait(kit.device)
    return [Line(PART, f"fit to {len(sample):,} galaxies", time.perf_counter() - begun, "s")], estimator


def measure(kit: Kit, estimator: Any) -> Iterator[Line]:
    """Measure the estimates of many galaxies, with p(z) and without."""
    inputs = make_photometry(kit.size(MANY), seed=1).make_inputs()
    for given, way in (("with p(z)", estimator), ("z_phot alone", estimator.without_pdf())):
        seconds = time_call(kit, partial(way.estimate, inputs), 5.0)
        yield Line(PART, f"estimates of {len(inputs):,} galaxies, {given}", len(inputs) / seconds, "galaxies/s")
