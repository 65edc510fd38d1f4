"""Accuracy that others published, as data: to read beside ours, never as the same measurement."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published result, in the paper's own rounding; an empty text where the paper quotes no such figure.

    Parameters
    ----------
    work : str
        Short citation.
    reference, url : str
        Where it was published, and where it can be read.
    sample, inputs : str
        Galaxies it was measured on, and what the redshifts were estimated from.
    bias : str
        Mean of the normalised difference.
    std, smad : str
        Scatter of the normalised difference.
    """

    work: str
    reference: str
    url: str
    sample: str
    inputs: str
    bias: str
    std: str
    smad: str


# Texts, since papers give limits and orders of magnitude too, and another number of digits would claim what they do
# not.
PUBLISHED: tuple[Published, ...] = (
    Published(
        "Bilicki et al. 2018",
        "A&A 616, A69",
        "https://arxiv.org/abs/1709.04205",
        "KiDS DR3 × GAMA",
        "ugri magnitudes, ANNz2",
        "−2 × 10⁻⁴",
        "< 0.022",
        "",
    ),
    Published(
        "Bilicki et al. 2021",
        "A&A 653, A82",
        "https://arxiv.org/abs/2101.06010",
        "KiDS-Bright DR4",
        "nine magnitudes, ANNz2",
        "9 × 10⁻⁴",
        "0.024",
        "0.018",
    ),
    Published(
        "John William et al. 2023",
        "arXiv 2312.08043",
        "https://arxiv.org/abs/2312.08043",
        "KiDS-Bright DR4, GAMA equatorial",
        "ugri images + nine magnitudes",
        "10⁻³",
        "0.021",
        "0.016",
    ),
    Published(
        "John William et al. 2025 (Hybrid-z)",
        "A&A 698, A276",
        "https://arxiv.org/abs/2501.01942",
        "KiDS-Bright DR4",
        "ugri images + nine magnitudes",
        "of order 10⁻⁴",
        "0.014 (“scatter”)",
        "",
    ),
    Published(
        "Beck et al. 2016",
        "MNRAS 460, 1371",
        "https://arxiv.org/abs/1603.09708",
        "SDSS DR12",
        "ugriz magnitudes",
        "",
        "0.0205",
        "",
    ),
    Published(
        "Pasquet et al. 2019",
        "A&A 621, A26",
        "https://arxiv.org/abs/1806.06607",
        "SDSS main sample, r < 17.8",
        "ugriz images",
        "< 10⁻⁴",
        "",
        "< 0.01",
    ),
)
