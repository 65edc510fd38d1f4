r"""Fit estimators to a plain catalogue with known redshifts, and set them side by side.

plain catalogue -> fit on its training rows -> estimates of the others -> metrics.csv, estimates, one HTML page

    photoz compare --set data.catalogue=FILE --set data.bands=u,g,r,i,z --set output=DIR \
        [--set estimators=all] [--config FILE] [--set section.key=value ...] [--dry-run]

Each fitted estimator is kept in DIR/models/<name>: `photoz infer` runs it over a survey that has its bands with
--set locations.models=DIR/models --set inference.estimator=<name>.
"""

from photoz.comparison.settings import Comparison


def main(config: Comparison) -> None:
    """Compare, and say where the outcome lies."""
    from photoz.comparison import compare_estimators, write_comparison

    outcome = compare_estimators(config)
    page = write_comparison(config, outcome)
    print(f"metrics: {config.output}/metrics.csv")
    print(f"page: {page}")
