"""The paper's five compared methods (section 4.3), one file each, and what they have in common.

A method is a `Baseline`: a network that paints a picture, and the published loss. To add one, write a file like these
and add it to `BASELINES`; docs/training.md names what its training needs.
"""

from collections.abc import Callable
from typing import Any

from .adfm import ADFM, ADFMConfig
from .baseline import Baseline as Baseline
from .dovenet import DoveNet, DoveNetConfig
from .ht import HT, HTConfig
from .idih import IDIH, IDIHConfig
from .s2crnet import S2CRNet, S2CRNetConfig

BASELINES: dict[str, tuple[Callable[[Any], Baseline], type]] = {
    "ht": (HT, HTConfig),
    "dovenet": (DoveNet, DoveNetConfig),
    "adfm": (ADFM, ADFMConfig),
    "idih": (IDIH, IDIHConfig),
    "s2crnet": (S2CRNet, S2CRNetConfig),
}
