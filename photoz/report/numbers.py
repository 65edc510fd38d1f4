"""How a figure of merit is written."""

import math

from photoz.metrics import Measurement


def format_measurement(name: str, measurement: Measurement) -> str:
    """Format a figure with its error to two significant digits of the error, outlier fractions in percent.

    >>> format_measurement("smad", Measurement(0.015612, 0.00012))
    '0.01561 ± 0.00012'
    >>> format_measurement("outlier_fraction_005", Measurement(0.0331, 0.0013))
    '3.31 ± 0.13 %'
    >>> format_measurement("smad", Measurement(float("nan"), float("nan")))
    '–'
    """
    # By names' beginnings here and below: `STATISTICS` names figures so, and has no field for how one is written.
    percent = name.startswith("outlier")
    value, error = (100 * part if percent else part for part in measurement)
    if not math.isfinite(value):
        return "–"
    # A bias without its sign says nothing; scatter and shares have none.
    signed = "+" if name.startswith(("bias", "mean")) else ""
    digits = _count_digits(value, error)
    # The page sets its figures with a true minus sign, not a hyphen.
    shown = f"{value:{signed}.{digits}f}".replace("-", "−")
    # An error of 0 comes of samples that are all alike; "± 0" would claim certainty.
    if math.isfinite(error) and error > 0:
        shown += f" ± {error:.{digits}f}"
    return shown + (" %" if percent else "")


def _count_digits(value: float, error: float) -> int:
    # Without an error, three digits of the value.
    scale = error if math.isfinite(error) and error > 0 else abs(value) / 100
    if scale == 0:
        return 2
    # At most eight: estimates that are all but exact have errors of a long row of zeros.
    return min(8, max(0, 1 - math.floor(math.log10(scale))))
