"""Pictures to try at once: scikit-image's photos where it is installed, and scenes drawn by code.

Nothing is downloaded, and no photo lies in this package.
"""

import functools
import importlib.util
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image import encode_picture
from ..image.picture import to_planes
from .problems import Problem

Colors = NDArray[np.float32]
_HEIGHT, _WIDTH = 800, 1200  # [px] of what is drawn
_THUMBNAIL = 320  # [px] longer side


def list_examples() -> dict[str, object]:
    """Return the names and titles of the pictures, and which go together."""
    photos = _has_photos()
    portraits = [("astronaut", "An astronaut")] if photos else []
    portraits.append(("figure", "A drawn figure"))
    backgrounds = [("evening", "An evening by the sea"), ("night", "Neon lights at night")]
    backgrounds += [("rocket", "A launch pad")] if photos else []
    person = portraits[0]
    return {
        "portraits": [{"name": name, "title": title} for name, title in portraits],
        "backgrounds": [{"name": name, "title": title} for name, title in backgrounds],
        "pairs": [
            {"title": f"{person[1]}: {title[0].lower()}{title[1:]}", "portrait": person[0], "background": name}
            for name, title in (backgrounds[-1], backgrounds[0])
        ],
    }


def example_file(name: str) -> bytes:
    """Return a picture as the bytes of a file.

    Raises:
        Problem: there is none of that name (404).
    """
    known = {**_DRAWN, **(dict.fromkeys(("astronaut", "rocket"), _photo) if _has_photos() else {})}
    if name not in known:
        raise Problem(404, f"there is no example {name[:60]!r}; there are {', '.join(sorted(known))}")
    return _encoded(name)


def example_thumbnail(name: str) -> bytes:
    """Return a small JPEG of a picture.

    Raises:
        Problem: there is none of that name (404).
    """
    example_file(name)
    picture = _drawn(name)
    scale = _THUMBNAIL / max(picture.shape[:2])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
    if small.shape[2] == 4:
        small = small[..., :3] * small[..., 3:] + 0.9 * (1 - small[..., 3:])
    return encode_picture(to_planes(small), None, "jpg", quality=85)


@functools.cache
def _has_photos() -> bool:
    return importlib.util.find_spec("skimage") is not None


@functools.lru_cache(8)
def _encoded(name: str) -> bytes:
    picture = _drawn(name)
    planes = to_planes(picture[..., :3])
    if picture.shape[2] == 4:
        return encode_picture(planes, to_planes(picture[..., 3]))
    return encode_picture(planes, None, "jpg", quality=92)


def _drawn(name: str) -> Colors:
    return _DRAWN.get(name, _photo)(name)


def _photo(name: str) -> Colors:
    """An astronaut (NASA, public domain) or a rocket (SpaceX, CC0)."""
    from skimage import data

    picture: Colors = np.asarray(getattr(data, name)(), np.float32) / np.float32(255)
    return picture


def _evening(_: str) -> Colors:
    """A low sun over the sea."""
    y, x = _coordinates()
    sky = _mix((0.16, 0.22, 0.42), (0.98, 0.62, 0.36), np.clip(y / 0.58, 0, 1) ** 1.6)
    glow = np.exp(-((x - 0.72) ** 2 + (y - 0.5) ** 2) / 0.02)[..., None]
    sky = sky + glow * np.array((0.5, 0.36, 0.16), np.float32)
    depth = 1 / np.clip(y - 0.575, 0.005, 1)  # rows of the same waves are closer together towards the horizon
    swell = np.pad(np.random.default_rng(3).normal(0, 1, (512, 512)).astype(np.float32), 8, "wrap")
    noise = cv2.GaussianBlur(swell, (0, 0), 1.2)[8:-8, 8:-8]
    across, down = ((x - 0.5) * depth * 14).astype(np.float32), (depth * 42).astype(np.float32)
    height = np.asarray(cv2.remap(noise, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
    wave = np.clip(0.5 + 1.1 * height * np.clip(14 / depth, 0.15, 1), 0, 1)
    path = np.exp(-(((x - 0.72) / (0.05 + 0.5 * np.clip(y - 0.58, 0, 1))) ** 2))
    sea = _mix((0.34, 0.26, 0.32), (0.06, 0.09, 0.17), np.clip((y - 0.58) / 0.42, 0, 1))
    sea = sea + (wave * path * 0.75)[..., None] * np.array((1.0, 0.66, 0.36), np.float32)
    sea = sea + (wave * 0.05)[..., None]
    return _finished(np.where((y < 0.58)[..., None], sky, sea))


def _night(_: str) -> Colors:
    """Lights out of focus before a dark street, magenta on one side and blue on the other."""
    y, x = _coordinates()
    picture = _mix((0.32, 0.05, 0.26), (0.03, 0.12, 0.34), x) * (0.5 + 0.5 * y)[..., None]
    generator = np.random.default_rng(7)
    for _lamp in range(70):
        across, down, radius = generator.uniform(0, 1), generator.uniform(0, 0.75), generator.uniform(0.012, 0.05)
        color = np.array((1.0, 0.3, 0.7) if across < generator.uniform(0.2, 0.8) else (0.25, 0.6, 1.0), np.float32)
        distance = np.hypot((x - across) * _WIDTH / _HEIGHT, y - down)
        disc = np.clip((radius - distance) * 220, 0, 1) * generator.uniform(0.15, 0.5)
        picture = picture + disc[..., None] * color
    return _finished(picture)


def _figure(_: str) -> Colors:
    """A head with hair and shoulders, lit from the left, on a transparent ground."""
    side = 900
    y, x = (axis.astype(np.float32) / side for axis in np.mgrid[:side, :side])
    light = np.clip(1.05 - 0.55 * x, 0.4, 1.1)[..., None]
    skin, hair, coat = (
        np.array(color, np.float32) for color in ((0.82, 0.62, 0.5), (0.2, 0.13, 0.1), (0.2, 0.34, 0.42))
    )
    picture, alpha = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
    strands = 0.003 * np.sin(60 * np.arctan2(y - 0.36, x - 0.5)) + 0.002 * np.sin(151 * np.arctan2(y - 0.36, x - 0.5))
    shapes = (
        (hair, 1 - np.hypot((x - 0.5) / (0.19 + strands), (y - 0.36) / (0.23 + strands)), 40.0),
        (coat, 1 - np.hypot((x - 0.5) / 0.4, (y - 1.08) / 0.42), 160.0),
        (
            skin,
            np.maximum(
                np.minimum(0.075 - abs(x - 0.5), np.minimum(y - 0.5, 0.68 - y)), 0.1 - np.hypot(x - 0.5, y - 0.66)
            ),
            400.0,
        ),
        (skin, 1 - np.hypot((x - 0.5) / 0.14, (y - 0.4) / 0.19), 120.0),
        (hair, np.minimum(1 - np.hypot((x - 0.5) / 0.165, (y - 0.33) / 0.19), 0.3 - y + 0.3 * abs(x - 0.5)), 60.0),
        (hair, 0.012 - np.hypot(abs(x - 0.5) - 0.055, (y - 0.39) * 1.4), 500.0),
        (np.array((0.6, 0.33, 0.3), np.float32), 0.03 - np.hypot((x - 0.5) * 0.7, (y - 0.5) * 2.6), 400.0),
    )
    for color, inside, sharpness in shapes:
        share = np.clip(inside * sharpness + 0.5, 0, 1).astype(np.float32)
        picture += share[..., None] * (color * light - picture)
        alpha = np.maximum(alpha, share)
    colors = _finished(picture)
    return np.concatenate([colors, alpha[..., None]], axis=2)


def _coordinates() -> tuple[Colors, Colors]:
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    return y / _HEIGHT, x / _WIDTH


def _mix(first: tuple[float, float, float], second: tuple[float, float, float], share: Colors) -> Colors:
    one, other = np.array(first, np.float32), np.array(second, np.float32)
    mixed: Colors = one + share[..., None] * (other - one)
    return mixed


def _finished(picture: NDArray[np.floating]) -> Colors:
    """Soften, add a little grain, and clip."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8)
    grain = np.random.default_rng(1).normal(0, 0.006, picture.shape[:2]).astype(np.float32)
    finished: Colors = np.clip(soft + grain[..., None], 0, 1).astype(np.float32)
    return finished


_DRAWN: dict[str, Callable[[str], Colors]] = {"evening": _evening, "night": _night, "figure": _figure}
