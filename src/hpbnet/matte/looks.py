"""Looks: where people are in the whole picture, then each of them at the network's full resolution, then their edge.

The first look sees everything small. Around what it takes for people, a part with a margin is cut from the picture and
looked at again, as large as the network's size allows; a part that already fills the picture is not, as nothing would
be gained. A part whose border people cross is enlarged and looked at once more. What no part holds is nobody, and so is
a part of which the second look is not sure. Where a part has the pixels for it, the network looks a last time at twice
the size, told the matte so far, and corrects the edge alone: hair before foliage.
A hint says what to keep and what to remove; it changes the objects that it touches, and nothing else.
"""

from math import ceil, sqrt
from typing import NamedTuple, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import native_bfloat16
from .refine import reduced, refine_alpha

Window = tuple[int, int, int, int]  # top, left, bottom, right [px]

_LEAST_SHORTER = 0.4  # of the network's size: shorter side of a long picture in the first look, up to
_MOST_AREA = 4.0  # times the square of the network's size in pixels of the first look
_LEAST_ALPHA, _LEAST_SHARE = 0.12, 0.02  # of what is looked at again; its area as a share of the largest such place
_SURE, _LEAST_SURE = 0.9, 0.3  # alpha that is sure, and the share of it in what a second look takes for people
_SEEN = 0.3  # alpha from which something is taken for people
_JOINED = 0.03  # places closer than this share of the picture's longer side are one
_MARGIN, _BLUR = 0.15, 1.5  # around a person, as a share of its own longer side, and pixels of the first look
_LEAST_GAIN = 1.25  # zoom of the second look over the first from which it is worth its time
_MOST_ZOOM = 2.0  # of the second look over the picture's own pixels
_MOST_PARTS = 12
_CROSSED = 0.03  # share of a part's side that people cross from which the part is enlarged
_GROWTH = 0.5  # of a part's side
_FADE = 0.04  # share of a part's side over which it fades out where the picture goes on
_MARKED = 0.04  # share of a pixel of the network that a stroke must cover to count
_CHANGED = 0.05  # of alpha
_FINEST = 2  # how many parts, the largest, have their edge looked at
_MOST_EDGE_AREA = 5.0  # times the square of the network's size in pixels of the look at the edge
_EDGE, _EDGE_REACH = 0.03, 4  # alpha this far from 0 and 1 is edge, and what is this near to it [px of the look before]
_EDGE_SHARE = 0.7  # of the look at the edge in the alpha there; the rest is the look before: fewer errors than either


class Look(NamedTuple):
    """A part of the picture as the network saw it."""

    window: Window  # [px] of the picture
    small: Tensor  # [1,3,h,w]
    alpha: Tensor  # [1,1,h,w]
    alone: Tensor | None = None  # [1,1,h,w] alpha without the hint, where one was given
    double: Tensor | None = None  # [1,3,2h,2w] the picture at twice the size, where it has as many pixels


def estimate_alpha(
    network: nn.Module,
    portrait: Tensor,  # [1,3,H,W] sRGB in [0,1]
    hint: Tensor | None = None,  # [1,1,H,W] 1 keep, -1 remove, 0 unknown
) -> Tensor:
    """Estimate alpha [1,1,H,W]: two or three looks, refined along the portrait's own edges and joined."""
    height, width = portrait.shape[-2:]
    whole = (0, 0, height, width)
    first = look(network, portrait, whole, first_shape(network, height, width), hint)
    windows = find_windows(first.alpha, (height, width), hint)
    if not windows and max(height, width) > 2 * min(height, width):  # a stretched photo, perhaps
        size = cast(int, network.config.size)
        squeezed = look(network, portrait, whole, (size, size), hint)
        return refined(squeezed, portrait)
    if not windows or not pays(network, first, windows[0]):
        return refined(look_at_edge(network, first), portrait)
    alpha = torch.zeros_like(portrait[:, :1])
    for number, window in enumerate(windows):
        seen = look_closer(network, portrait, window, first, hint)
        if hint is None and not is_sure(seen.alpha):
            continue
        if number < _FINEST:
            seen = look_at_edge(network, seen)
        top, left, bottom, right = seen.window
        part = refined(seen, portrait)
        place = alpha[..., top:bottom, left:right]
        torch.maximum(place, part * fade(seen.window, (height, width)), out=place)
    return alpha


def look(
    network: nn.Module, portrait: Tensor, window: Window, shape: tuple[int, int], hint: Tensor | None = None
) -> Look:
    """Let the network see a part of a picture at a shape (height, width)."""
    top, left, bottom, right = window
    part, double = portrait[..., top:bottom, left:right], None
    if part.shape[2] >= 2 * shape[0] and part.shape[3] >= 2 * shape[1]:
        part = double = reduced(part, 2 * shape[0], 2 * shape[1])
    small = reduced(part, *shape)
    alpha = infer(network, small)
    if hint is None:
        return Look(window, small, alpha, None, double)
    marks = reduced(hint[..., top:bottom, left:right], *shape)
    marks = marks.sign() * (marks.abs() > _MARKED)
    return Look(window, small, _changed_where_marked(alpha, infer(network, small, hint=marks), marks), alpha, double)


def refined(seen: Look, portrait: Tensor) -> Tensor:
    """Bring the alpha of a part to the size that the part has in the portrait."""
    top, left, bottom, right = seen.window
    return refine_alpha(seen.alpha, seen.small, portrait[..., top:bottom, left:right])


def look_at_edge(network: nn.Module, seen: Look) -> Look:
    """Look at a part at twice the size, told what was seen, and correct its edge.

    A part with fewer pixels is kept as it is, and so is a look that is not sure or a first one at a very long picture.
    What a hint changed is kept, too, and the hint changes nothing elsewhere.
    """
    most = _MOST_EDGE_AREA * cast(int, network.config.size) ** 2
    before = seen.alpha if seen.alone is None else seen.alone
    if seen.double is None or seen.double[0, 0].numel() > most or not is_sure(before):
        return seen
    told = _doubled(before)
    soft = ((before > _EDGE) & (before < 1 - _EDGE)).float()
    edge = F.interpolate(F.max_pool2d(soft, 2 * _EDGE_REACH + 1, 1, _EDGE_REACH), scale_factor=2.0)
    alpha = told + _EDGE_SHARE * edge * (infer(network, seen.double, previous=told) - told)
    if seen.alone is not None:
        changed = F.max_pool2d((seen.alpha != before).float(), 3, 1, 1)
        alpha = torch.where(F.interpolate(changed, scale_factor=2.0) > 0, _doubled(seen.alpha), alpha)
    return Look(seen.window, seen.double, alpha)


def _doubled(plane: Tensor) -> Tensor:
    return F.interpolate(plane, scale_factor=2.0, mode="bilinear", align_corners=False)


def infer(network: nn.Module, small: Tensor, **told: Tensor) -> Tensor:
    """Alpha [1,1,h,w] of what the network sees; in bfloat16 where the processor has it: half the time.

    Args:
        network: the matting network.
        small: [1,3,h,w].
        told: `previous` or `hint`, as the network takes them.
    """
    kind = next((parameter.dtype for parameter in network.parameters()), torch.float32)
    told = {name: plane.to(kind) for name, plane in told.items()}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16()):
        logits = network(small.to(kind, memory_format=torch.channels_last), **told)
    return cast(Tensor, logits.float().sigmoid().clone())


def _changed_where_marked(before: Tensor, after: Tensor, marks: Tensor) -> Tensor:
    """Take the hinted alpha where it differs in one piece from a mark, and the unhinted one elsewhere."""
    changed = ((after - before).abs() > _CHANGED) | (marks != 0)
    labels = cv2.connectedComponents(changed[0, 0].numpy().astype(np.uint8))[1]
    touched = np.unique(labels[marks[0, 0].numpy() != 0])
    near = cv2.dilate(np.isin(labels, touched[touched > 0]).astype(np.uint8), np.ones((3, 3), np.uint8))
    alpha = torch.where(torch.from_numpy(near > 0), after, before)
    return torch.where(marks > 0, 1.0, torch.where(marks < 0, 0.0, alpha))


def look_closer(network: nn.Module, portrait: Tensor, window: Window, first: Look, hint: Tensor | None) -> Look:
    """Look at a part as closely as the network can; a part whose border people cross is enlarged, once."""
    size = portrait.shape[2], portrait.shape[3]
    seen = look(network, portrait, window, closer_shape(network, window), hint)
    larger = enlarged(seen, size)
    return seen if larger == window else look(network, portrait, larger, closer_shape(network, larger), hint)


def is_sure(alpha: Tensor) -> bool:
    """Whether a second look is sure of most of what it takes for people: where there are none it is in doubt."""
    return bool((alpha > _SURE).sum() > _LEAST_SURE * (alpha > _SEEN).sum())


def first_shape(network: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Height and width of the first look: the longer side is the network's size, that of a long picture more."""
    size, stride = cast(int, network.config.size), cast(int, network.stride)
    scale = max(size / max(height, width), _LEAST_SHORTER * size / min(height, width))
    scale = min(scale, sqrt(_MOST_AREA * size * size / (height * width)))
    longest = int(2 * _MOST_AREA * size)
    tall, wide = (min(longest, max(stride, round(side * scale / stride) * stride)) for side in (height, width))
    return tall, wide


def closer_shape(network: nn.Module, window: Window) -> tuple[int, int]:
    """Height and width of the second look: about the square of the network's size, not far above the part's own."""
    size, stride = cast(int, network.config.size), cast(int, network.stride)
    height, width = window[2] - window[0], window[3] - window[1]
    scale = min(_MOST_ZOOM, size / sqrt(height * width), 2 * size / max(height, width))
    tall, wide = (max(stride, round(side * scale / stride) * stride) for side in (height, width))
    return tall, wide


def pays(network: nn.Module, first: Look, window: Window) -> bool:
    """Whether a second look at a part would show clearly more than the first did."""
    before = first.small.shape[2] / (first.window[2] - first.window[0])
    return closer_shape(network, window)[0] / (window[2] - window[0]) > _LEAST_GAIN * before


def find_windows(alpha: Tensor, size: tuple[int, int], hint: Tensor | None = None) -> list[Window]:
    """Find the parts of a picture that hold people, the largest first, each with a margin.

    Args:
        alpha: of the whole picture, small, [1,1,h,w].
        size: height and width of the picture [px].
        hint: [1,1,H,W]; what is to be kept is looked at, too.
    """
    seen = alpha[0, 0].numpy() > min(_LEAST_ALPHA, max(0.1, float(alpha.max()) / 2))
    if hint is not None:
        seen = seen | (reduced(hint.clamp(min=0), *alpha.shape[-2:])[0, 0].numpy() > _MARKED)
    reach = 2 * round(_JOINED * max(seen.shape) / 2) + 1
    joined = cv2.dilate(seen.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    boxes = [cv2.boundingRect((seen & (labels == label)).astype(np.uint8)) for label in range(1, min(count, 200))]
    areas = [int((seen & (labels == label)).sum()) for label in range(1, len(boxes) + 1)]
    order = sorted(range(len(boxes)), key=lambda place: -areas[place])[:_MOST_PARTS]
    down, across = size[0] / alpha.shape[2], size[1] / alpha.shape[3]
    windows = []
    for place in order:
        if areas[place] >= _LEAST_SHARE * areas[order[0]]:
            x, y, width, height = boxes[place]
            room = _MARGIN * max(width * across, height * down) + _BLUR * max(across, down)
            box = y * down - room, x * across - room, (y + height) * down + room, (x + width) * across + room
            windows.append(_inside(box, size))
    return _merged(windows)


def enlarged(seen: Look, size: tuple[int, int]) -> Window:
    """Enlarge a part on the sides where people cross its border and the picture goes on."""
    top, left, bottom, right = seen.window
    opaque = seen.alpha[0, 0] > _SEEN
    down, across = _GROWTH * (bottom - top), _GROWTH * (right - left)
    sides = [opaque[0], opaque[:, 0], opaque[-1], opaque[:, -1]]
    grow = [float(side.float().mean()) > _CROSSED for side in sides]
    return _inside(
        (top - down * grow[0], left - across * grow[1], bottom + down * grow[2], right + across * grow[3]), size
    )


def fade(window: Window, size: tuple[int, int]) -> Tensor:
    """Weights [h,w] of a part: 1, towards 0 at the sides where the picture goes on."""
    top, left, bottom, right = window
    ramps = []
    for first, last, end in ((top, bottom, size[0]), (left, right, size[1])):
        place, length = torch.arange(last - first) + 0.5, _FADE * (last - first)
        ramp = torch.ones(last - first)
        if first > 0:
            ramp = torch.minimum(ramp, place / length)
        if last < end:
            ramp = torch.minimum(ramp, (last - first - place) / length)
        ramps.append(ramp)
    return ramps[0][:, None] * ramps[1][None]


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> Window:
    top, left, bottom, right = box
    return max(0, int(top)), max(0, int(left)), min(size[0], ceil(bottom)), min(size[1], ceil(right))


def _merged(windows: list[Window]) -> list[Window]:
    """Join parts that overlap much: looking at them one by one would cost more and split people who touch."""
    merged: list[Window] = []
    for window in windows:
        for place, other in enumerate(merged):
            union = (*np.minimum(window[:2], other[:2]), *np.maximum(window[2:], other[2:]))
            if _area(cast(Window, union)) < 1.15 * (_area(window) + _area(other)):
                merged[place] = cast(Window, tuple(int(value) for value in union))
                break
        else:
            merged.append(window)
    return sorted(merged, key=_area, reverse=True) if len(merged) == len(windows) else _merged(merged)


def _area(window: Window) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])
