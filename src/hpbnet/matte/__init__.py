"""Portrait -> foreground and alpha: two looks of the network, the edge at full size, the people's own colours."""

from .colors import blur_fusion, estimate_foreground, spread_colors
from .looks import estimate_alpha
from .mattings import ForeignMatting, Matting, NetworkMatting, made_quick, matte, matting_by_name
from .people import (
    LEAST_COVERAGE,
    MOST_COVERAGE,
    VISIBLE_ALPHA,
    check_coverage,
    check_visible,
    keep_people,
    matte_notices,
)
from .refine import guided_coefficients, refine_alpha, shrink, snap_alpha

__all__ = [
    "LEAST_COVERAGE",
    "MOST_COVERAGE",
    "VISIBLE_ALPHA",
    "ForeignMatting",
    "Matting",
    "NetworkMatting",
    "blur_fusion",
    "check_coverage",
    "check_visible",
    "estimate_alpha",
    "estimate_foreground",
    "guided_coefficients",
    "keep_people",
    "made_quick",
    "matte",
    "matte_notices",
    "matting_by_name",
    "refine_alpha",
    "shrink",
    "snap_alpha",
    "spread_colors",
]
