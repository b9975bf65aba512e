"""Which of the people in an alpha are kept, and what is to be said of an alpha that is none too sure."""

from math import isfinite

import cv2
import numpy as np
import torch
from torch import Tensor

LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.99
VISIBLE_ALPHA = 0.5  # that somebody's alpha exceeds somewhere
_LABEL_SIZE = 512  # [px] longer side at which people are told apart
_LEAST_PERSON = 0.05  # area of a person as a share of the largest one's; less is a part of somebody
_BLURRED = 0.06  # share of the person that lies deep inside half-transparent places, from which a cut-out is unsure
_DEEP = 0.02  # distance from their edge, as a share of the square root of the person's area: hair is thinner

MEND = "mark the person with a hint, give a mask, or crop the portrait to the person"


def check_coverage(alpha: Tensor) -> None:
    """Reject an alpha that finds nobody or takes the whole picture for somebody.

    Raises:
        ValueError: says what to do.
    """
    coverage, greatest = alpha.mean().item(), alpha.max().item()
    if not isfinite(coverage):
        raise ValueError("the matting network's answer holds numbers that are not finite; its weights may be damaged")
    if greatest <= VISIBLE_ALPHA:
        raise ValueError(f"no person found in the portrait (greatest alpha {greatest:.2f}); {MEND}")
    if coverage < LEAST_COVERAGE:
        raise ValueError(f"no person found in the portrait that is large enough ({coverage:.1%} of it); {MEND}")
    if coverage > MOST_COVERAGE:
        raise ValueError(f"no background found in the portrait ({coverage:.1%} is person); give a mask of the person")


def check_visible(alpha: Tensor, role: str) -> None:
    """Reject an alpha that is given and shows nobody; `role` names it."""
    greatest = alpha.max().item()
    if greatest <= VISIBLE_ALPHA:
        raise ValueError(f"{role} shows nobody: it is nowhere more than {greatest:.0%} opaque or white")


def matte_notices(alpha: Tensor) -> tuple[str, ...]:
    """Say in a sentence each what the eye should know of an alpha [1,1,H,W]."""
    opacity = alpha[0, 0].numpy()
    person = int((opacity > 0.1).sum())
    reach = 2 * round(_DEEP * person**0.5) + 1
    between = ((opacity > 0.1) & (opacity < 0.9)).astype(np.uint8)
    share = int(cv2.erode(between, np.ones((reach, reach), np.uint8)).sum()) / max(person, 1)
    if share < _BLURRED:
        return ()
    return (f"the cut-out is unsure: parts of the person are half transparent ({share:.0%} of it deeply); {MEND}",)


def keep_people(alpha: Tensor, who: str) -> Tensor:
    """Keep some of the people of an alpha [1,1,H,W].

    Args:
        alpha: of all of them.
        who: `all`, `largest`, or a number counted from 1, left to right.

    People who touch each other count as one.

    Raises:
        ValueError: there is no person of that number.
    """
    if who == "all":
        return alpha
    height, width = alpha.shape[-2:]
    scale = min(1.0, _LABEL_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(alpha[0, 0].numpy(), size, interpolation=cv2.INTER_AREA)
    _, labels, stats, centres = cv2.connectedComponentsWithStats((small > VISIBLE_ALPHA).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    people = [place for place, area in enumerate(areas, 1) if area >= _LEAST_PERSON * areas.max()]
    if not people:
        return alpha
    people.sort(key=lambda place: float(centres[place][0]))
    if who != "largest" and not 1 <= int(who) <= len(people):
        raise ValueError(f"there is no person {who}: the portrait shows {len(people)} (people who touch count as one)")
    largest = max(people, key=lambda place: int(areas[place - 1]))
    chosen = largest if who == "largest" else people[int(who) - 1]
    own = np.isin(labels, people, invert=True).astype(np.uint8)  # 0 where a person is, for the distance to each
    _, nearest = cv2.distanceTransformWithLabels(own, cv2.DIST_L2, 5)
    ids = {int(nearest[labels == place][0]): place for place in people}
    mask = np.isin(nearest, [number for number, place in ids.items() if place == chosen]).astype(np.float32)
    full = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return alpha * torch.from_numpy(full)[None, None]
