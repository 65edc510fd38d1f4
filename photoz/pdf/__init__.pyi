from .pit import (
    compute_coverage,
    compute_ks,
    compute_pit,
    compute_pit_coverage,
    compute_qq,
    count_pit,
    score_quantiles,
)
from .quantiles import (
    compute_pdfs,
    decode_quantiles,
    encode_quantiles,
    make_coordinates,
    move_quantiles,
    summarize_quantiles,
)
from .read import CatalogueDensities, read_pdfs, to_qp
from .recalibration import Recalibration
from .scores import compute_cde_losses, compute_crps

__all__ = [
    "CatalogueDensities",
    "Recalibration",
    "compute_cde_losses",
    "compute_coverage",
    "compute_crps",
    "compute_ks",
    "compute_pdfs",
    "compute_pit",
    "compute_pit_coverage",
    "compute_qq",
    "count_pit",
    "decode_quantiles",
    "encode_quantiles",
    "make_coordinates",
    "move_quantiles",
    "read_pdfs",
    "score_quantiles",
    "summarize_quantiles",
    "to_qp",
]
