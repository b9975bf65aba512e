"""The picture of a frame: the person in its own colours, also where the edge is soft, recoloured on the canvas.

Knows nothing of other frames.
"""

from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..affine_grid import AffineGrid, Window
from ..layers import enlarge_shadow
from ..shadow import KeyLight, free_below, ground_shadow, small_size
from .canvas import FrameWindow
from .cutout import TrackedPerson
from .grids import crop_grid
from .pixels import Floats, Pixels

_MAP_COLUMNS = 512  # of a list of places laid out as a map: OpenCV takes at most 32767 each way
_SEEN = 2 / 255  # alpha from which a pixel is drawn


@torch.no_grad()
def draw_person(
    frame: Pixels,  # [H,W,3]
    background: Pixels,  # [h,w,3], the canvas
    person: TrackedPerson,
    window: FrameWindow,  # of whole frames
    grid: AffineGrid,  # of the whole canvas
) -> Pixels:
    """Draw a recoloured person on a background [h,w,3]; bit-equal to the background where nobody is."""
    place = window.part(person.region, frame.shape[:2])
    box = drawn_box(person.alpha, place)
    top, left, bottom, right = box
    if top >= bottom or left >= right:
        return background
    alpha = np.ascontiguousarray(place.draw(person.alpha, box), np.float32)
    planes = person_planes(window.draw(frame, box), alpha, person, place, box)
    recolored = crop_grid(grid, box, window.canvas).apply(planes[None])[0]
    picture = background.copy()
    picture[top:bottom, left:right] = cv2.blendLinear(
        _to_bytes(recolored), picture[top:bottom, left:right].copy(), alpha, 1 - alpha
    )
    return picture


def draw_shadow(
    background: Pixels,  # [h,w,3], the canvas
    person: TrackedPerson,
    window: FrameWindow,  # of whole frames
    size: tuple[int, int],  # of the frames, height and width [px]
    amount: float,  # 0 to 1
    light: KeyLight,  # what casts it
) -> Pixels:
    """Draw a person's shadow on a background [h,w,3]; the background itself where the feet are not in sight."""
    height, width = background.shape[:2]
    columns, rows = small_size(height, width)
    alpha = window.part(person.region, size).scaled(rows, columns).draw(person.coarse, (0, 0, rows, columns))
    amount *= free_below(_plane(alpha))
    if person.region[2] == size[0]:
        amount *= free_below(_plane(person.coarse))
    darkness = ground_shadow(alpha, amount, light) if amount > 0 else None
    if darkness is None:
        return background
    opacity, (top, left, bottom, right) = enlarge_shadow(_plane(darkness), height, width)
    rest = cv2.merge([(255.5 - 255 * opacity[0, 0].numpy()).astype(np.uint8)] * 3)
    picture = background.copy()
    picture[top:bottom, left:right] = cv2.multiply(picture[top:bottom, left:right], rest, scale=1 / 255)
    return picture


def _plane(image: Floats) -> Tensor:
    return torch.from_numpy(image)[None, None]


@torch.no_grad()
def draw_cut_out(frame: Pixels, person: TrackedPerson) -> tuple[Pixels, Pixels]:
    """Draw the person's own colours, spread beyond its edge, [H,W,3], and its alpha [H,W]."""
    height, width = frame.shape[:2]
    box = (0, 0, height, width)
    place = FrameWindow((height, width), box).part(person.region, (height, width))
    alpha = np.ascontiguousarray(place.draw(person.alpha, box))
    colors = _to_bytes(person_planes(frame, alpha, person, place, box))
    spread = place.draw(person.sides[0], box)[alpha == 0]
    colors[alpha == 0] = (spread * 255 + 0.5).astype(np.uint8)  # or the old background would be kept, unseen
    return colors, (alpha * 255 + 0.5).astype(np.uint8)


def drawn_box(alpha: Floats, place: FrameWindow) -> Window:
    """Find the part of the canvas [px] in which a person can be seen; empty if there is none."""
    seen = (alpha > _SEEN).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(seen)
    if width == 0 or height == 0:
        return 0, 0, 0, 0
    corners = np.array([[x - 2, y - 2], [x + width + 2, y + height + 2]], np.float64)
    move = place.map(alpha.shape)
    places = corners @ move[:, :2].T + move[:, 2]
    left, top = places.min(axis=0)
    right, bottom = places.max(axis=0)
    rows, columns = place.canvas
    return max(0, int(top)), max(0, int(left)), min(rows, int(bottom) + 2), min(columns, int(right) + 2)


def person_planes(frame: Pixels, alpha: Floats, person: TrackedPerson, place: FrameWindow, box: Window) -> Tensor:
    """Make the person's own colours [3,h,w] in [0,1] in a box of the canvas; where alpha is 1 they are the frame's."""
    planes = torch.from_numpy(np.empty((3, *alpha.shape), np.float32))  # cheaper than torch's, see empty_like
    for plane, channel in zip(planes, cv2.split(frame), strict=True):
        torch.mul(torch.from_numpy(channel), 1 / 255, out=plane)
    soft = np.flatnonzero((alpha > 0) & (alpha < 1))
    if len(soft) == 0:
        return planes
    share = alpha.ravel()[soft][:, None]
    rows, columns = np.divmod(soft, alpha.shape[1])
    front, back = _read_at(person.sides, rows + box[0], columns + box[1], place)
    seen = frame.reshape(-1, 3)[soft].astype(np.float32) * np.float32(1 / 255)
    # The part of the pixel that neither spread colour explains goes to the person by its share (matte.py).
    own = np.clip(front + share * (seen - share * front - (1 - share) * back), 0, 1)
    for plane, channel in zip(planes, own.T, strict=True):
        plane.view(-1).numpy()[soft] = channel
    return planes


def _read_at(
    images: tuple[Floats, ...],  # [k,l,3] each
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    place: FrameWindow,
) -> list[Floats]:
    """Read spread colours at pixels of the canvas -> [N,3] each."""
    back = cv2.invertAffineTransform(place.map(images[0].shape[:2]))
    count = -(-len(rows) // _MAP_COLUMNS) * _MAP_COLUMNS
    places = np.zeros((2, count), np.float32)
    places[0, : len(rows)] = back[0, 0] * columns + back[0, 2]
    places[1, : len(rows)] = back[1, 1] * rows + back[1, 2]
    x, y = places.reshape(2, -1, _MAP_COLUMNS)
    read = (cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for image in images)
    return [cast(Floats, colors).reshape(-1, 3)[: len(rows)] for colors in read]


def _to_bytes(planes: Tensor) -> Pixels:
    """[3,H,W] in [0,1] -> [H,W,3]."""
    return cast(Pixels, cv2.merge([plane.mul(255).add_(0.5).byte().numpy() for plane in planes]))
