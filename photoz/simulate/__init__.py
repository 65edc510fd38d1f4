"""A survey with known redshifts, written in KiDS DR4's own file formats and names.

Real SDSS galaxies, fitted by kcorrect's templates, are moved to other redshifts and observed through nine filters
(`seds`, `population`); published relations give them sizes and profiles (`morphology`); stars follow the observed
locus (`stars`); GalSim renders them with each band's seeing and depth (`render`); the catalogue is measured with noise
(`photometry`, `catalogue`) and everything is written under the release's names (`files`, `survey`).
"""
