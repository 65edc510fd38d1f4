"""Describe a photo-z catalogue without spectroscopic redshifts: training sample, n(z), p(z), flags, sky.

photo-z catalogue + source catalogue + the estimator's folder -> one HTML page, figures, overview.json

    photoz describe [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from photoz.settings.config import Config


def main(config: Config) -> None:
    """Count, write the page, print what it says."""
    from cluster.overview import describe_catalogue
    from photoz.report.overview import format_overview, write_overview

    overview = describe_catalogue(config)
    page = write_overview(config, overview)
    print(format_overview(overview))
    print(f"overview: {page}")
