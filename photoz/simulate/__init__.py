"""A survey with known redshifts, written in KiDS DR4's own file formats and names.

Real SDSS galaxies, fitted by kcorrect's templates, are moved to other redshifts and observed through nine filters
(`seds`, `population`); published relations give them sizes and profiles (`morphology`); stars follow the observed
locus (`stars`); GalSim renders them with each band's seeing and depth (`render`); the catalogue is measured with noise
(`catalogue`) and everything is written under the release's names (`files`, `survey`).
"""

try:
    import galsim as _galsim  # noqa: F401
    import kcorrect as _kcorrect  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the simulated survey needs galsim and kcorrect: pip install 'photoz[demo]' ({error})"
    ) from error

from photoz.simulate.survey import TilePlan, plan_survey, simulate_tile, write_survey_tables

__all__ = ["TilePlan", "plan_survey", "simulate_tile", "write_survey_tables"]
