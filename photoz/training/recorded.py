"""What an estimator that was fitted to a table records of its fit."""

from collections.abc import Mapping
from typing import Any

from photoz.estimators import Estimator

SURVEY = "survey"
"""In a manifest's record: what the columns of the table meant that the estimator was fitted to."""


def read_record(estimator: Estimator) -> Mapping[str, Any]:
    """Return what an estimator that was fitted records of its fit; nothing for networks, which record it elsewhere."""
    record: Mapping[str, Any] = getattr(getattr(estimator, "parts", None), "record", {})
    return record
