"""A matte carried from one frame to the next along the picture's own motion, which is cheaper than a network.

Knows when the picture cannot be followed: then nothing is carried, and the network must look.
"""

from typing import cast

import cv2
import numpy as np

from .pixels import Floats, Pixels, greatest, resize

_LOST_CHANGE = 24  # of 255: a pixel that the motion does not explain
_LOST_SHARE = 0.003  # of the pixels that may be lost: a fast hand is more
_REACH, _SURE = 9, 0.95  # [px] around a pixel within which alpha is at least this: deep inside the person


def carry_matte(matte: Floats, before: Pixels, after: Pixels) -> Floats | None:
    """Move a matte [h,w] as the picture moves between two frames; None where their motion cannot be told.

    Args:
        matte: of the frame before.
        before: that frame, [h,w,3].
        after: the frame now, of the same size.
    """
    height, width = matte.shape
    half = width // 2, height // 2
    now, then = (resize(cast(Pixels, cv2.cvtColor(each, cv2.COLOR_RGB2GRAY)), half) for each in (after, before))
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow = cast(Floats, finder.calc(now, then, np.empty(0)))
    across, down = (resize(cast(Floats, 2 * part), (width, height), cv2.INTER_LINEAR) for part in cv2.split(flow))
    across += np.arange(width, dtype=np.float32)
    down += np.arange(height, dtype=np.float32)[:, None]
    edge = cv2.BORDER_REPLICATE  # what comes in over the edge of the frame is like what is there
    moved, carried = (cv2.remap(image, across, down, cv2.INTER_LINEAR, None, edge) for image in (before, matte))
    change = greatest(cv2.blur(cv2.absdiff(moved, after), (3, 3)))
    within = cv2.erode(carried, np.ones((_REACH, _REACH), np.uint8)) > _SURE  # what changes there changes no matte
    lost = float(np.count_nonzero((change > _LOST_CHANGE) & ~within)) / change.size
    return cast(Floats, carried) if lost <= _LOST_SHARE else None
