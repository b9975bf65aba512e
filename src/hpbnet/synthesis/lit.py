"""How strong the light in a photo is: which portraits and which scenes are far from plain, even, white light.

A portrait's measure looks at the face and at the scene behind it, so that clothes do not count, and nobody counts as
dark for their skin: a colour counts as light where face and scene share it, and a face counts as dark only far below
what any skin shows. A scene's measure is that of the light which `light.scene_light` reads. Both are about 1 where one
notices. Measures are kept in a file, for they need every photo once.
"""

import json
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..color import srgb_to_linear
from ..image import read_mask, read_picture
from ..light import scene_light
from ..light.value import brightness
from ..relight import head_box
from .folders import append_line, locked, path_inside, read_json_lines
from .portraits import Portrait, read_rows

Floats = NDArray[np.float32]
Watch = Callable[[Iterator[float]], Iterable[float]]

STRONG_PORTRAIT, STRONG_SCENE = 1.25, 1.0  # from which a light is strong (docs/experiments/synthesis.md)
_SIDE = 96  # [px] longer side of the copy that is measured
_SKIN = (0.75, 0.25)  # log2 warmth and magenta of faces, median of 1,500 portraits
_SHARED = (0.45, 0.25)  # [log2] warmth and magenta that face and scene share, which count 1
_UNEVEN = (1.2, 1.4)  # [EV] across a face: without meaning below the first, counts 1 from there by the second
_AGAINST = (2.0, 0.9)  # [EV] that the brightest of the scene is above the face
_DARK_FACE, _DARK_PHOTO = (2.3, 1.2), (1.0, 0.8)  # [EV] below white: the face, and the brightest part of the photo
_SCENE = (0.3, 0.15, 0.5, 0.7)  # warmth, magenta, level [log2] and contrast of a scene's light, each of which counts 1
_FLOOR = 0.004  # added to linear values, so that dark pixels have no strong colour


class Lit(NamedTuple):
    """The photos of the recipe `scene`."""

    strong: tuple[Portrait, ...]  # in strong light
    others: tuple[Portrait, ...]
    scenes: tuple[Path, ...]  # in strong light


def find_lit(
    portraits: Sequence[Portrait], backgrounds: Path | None, split: str, folder: Path, watch: Watch = iter
) -> Lit:
    """Part portraits and scenes by their light, and keep the measures in a folder.

    Args:
        portraits: at least two.
        backgrounds: folder of scenes with `index.csv` (file, split).
        split: of the scenes.
        folder: is made if need be.
        watch: shows the progress.

    Raises:
        ValueError: no folder of scenes, a damaged index, or no scene in strong light.
        OSError: there is no index, or the folder cannot be written.
    """
    if backgrounds is None:
        raise ValueError("the recipe scene needs scenes without people; give a folder with an index.csv as backgrounds")
    with locked(folder):
        scenes = strong_scenes(backgrounds, split, folder / "scene_light.jsonl")
        strong, others = strong_portraits(portraits, folder / "portrait_light.jsonl", watch)
    return Lit(tuple(strong), tuple(others), tuple(scenes))


def measured(names: Sequence[str], measure: Callable[[str], float], cache: Path) -> Generator[float, None, None]:
    """Yield the measure of each name; what a file knows is not measured again, and what is new is added to it.

    A photo that cannot be read has the measure 0.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be written.
    """
    known = dict[str, float]()
    if cache.is_file():
        known = {str(row["name"]): float(str(row["strength"])) for _, row in read_json_lines(cache, "strength")}
    for name in names:
        if name not in known:
            try:
                known[name] = round(measure(name), 3)
            except (ValueError, OSError):
                known[name] = 0.0
            append_line(cache, json.dumps({"name": name, "strength": known[name]}) + "\n")
        yield known[name]


def strong_portraits(
    portraits: Sequence[Portrait], cache: Path, watch: Watch = iter
) -> tuple[list[Portrait], list[Portrait]]:
    """Part portraits into those in strong light and the others; plain backdrops, a studio's, never count.

    Where fewer than a twentieth are strong, the strongest twentieth counts.

    Args:
        portraits: at least two.
        cache: file of measures.
        watch: shows the progress.
    """
    places = {portrait.name: portrait for portrait in portraits}
    with closing(measured(list(places), lambda name: portrait_strength(places[name]), cache)) as measures:
        strengths = dict(zip(places, watch(measures), strict=True))
    lit = [name for name in sorted(places, key=lambda name: -strengths[name]) if not places[name].plain] or [*places]
    count = max(sum(strengths[name] >= STRONG_PORTRAIT for name in lit), math.ceil(len(places) / 20))
    strong = set(lit[:count])
    return [places[name] for name in places if name in strong], [places[name] for name in places if name not in strong]


def strong_scenes(folder: Path, split: str, cache: Path) -> list[Path]:
    """List the scenes in strong light of a folder with `index.csv` (file, split).

    Raises:
        ValueError: the index is damaged or lacks a column, or no scene of the split has strong light.
        OSError: there is no index.
    """
    index = folder / "index.csv"
    try:
        files = [row["file"] for row in read_rows(index) if row["split"] == split]
    except KeyError as error:
        raise ValueError(f"{index} has no column {error}") from None
    paths = {file: path_inside(folder, file) for file in files}
    with closing(measured(files, lambda file: scene_strength(read_picture(paths[file]).pixels), cache)) as measures:
        strong = [paths[file] for file, strength in zip(files, measures, strict=True) if strength >= STRONG_SCENE]
    if not strong:
        raise ValueError(f"{index}: none of {len(files)} scenes of split {split!r} is in strong light")
    return strong


def scene_strength(pixels: Tensor) -> float:
    """Measure how strong the light of a scene [1,3,H,W] is."""
    step = max(1, min(pixels.shape[2:]) // _SIDE)
    small = pixels[:, :, ::step, ::step]
    light = scene_light(small, torch.zeros_like(small[:, :1]))
    red, green, blue = (light.logs[0] / math.log(2)).tolist()
    level = float(brightness(light.logs)[0, 0]) / math.log(2)
    parts = (red - blue) / 2, (red + blue) / 2 - green, level, light.report().contrast
    return math.hypot(*(part / unit for part, unit in zip(parts, _SCENE, strict=True)))


def portrait_strength(portrait: Portrait) -> float:
    """Measure how strong the light in a portrait is.

    Raises:
        ValueError: a file is no picture, or shows no face before a scene.
        OSError: a file cannot be opened.
    """
    pixels, alpha = read_picture(portrait.photo).pixels, read_mask(portrait.alpha)
    height, width = pixels.shape[2:]
    scale = _SIDE / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = cv2.resize(pixels[0].permute(1, 2, 0).numpy(), size, interpolation=cv2.INTER_AREA)
    matte = np.asarray(cv2.resize(alpha[0, 0].numpy(), size, interpolation=cv2.INTER_AREA), np.float32)
    box = portrait.face or _scaled(head_box(alpha), width / alpha.shape[3])
    x, y, wide, tall = (edge * scale for edge in box)
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    across, down = (columns - x) / max(wide, 1.0), (rows - y) / max(tall, 1.0)
    face = (matte > 0.9) & (np.hypot((across - 0.5) / 0.42, (down - 0.55) / 0.42) < 1)
    scene = matte < 0.1
    if face.sum() < 12 or scene.sum() < 20:
        raise ValueError(f"{portrait.name} shows no face before a scene")
    linear = srgb_to_linear(torch.from_numpy(small).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    return _strength(linear, face, scene, across)


def _strength(linear: Floats, face: NDArray[np.bool_], scene: NDArray[np.bool_], across: Floats) -> float:
    """Measure the light on the pixels of a face and of a scene [h,w] in linear RGB [h,w,3]."""
    grey = linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    behind = grey[scene]
    own = _tint(np.median(linear[face], axis=0)) - np.array(_SKIN)
    theirs = _tint(linear[scene][behind >= np.quantile(behind, 0.7)].mean(axis=0))
    shared = np.sqrt(np.maximum(own * theirs, 0)) / np.array(_SHARED)
    stops = np.log2(grey + 0.01)
    slope = abs(float(np.polyfit(across[face], stops[face], 1)[0]))
    level = float(np.median(stops[face]))
    against = float(np.log2(np.quantile(behind, 0.9) + 0.01)) - level
    brightest = float(np.quantile(stops, 0.95))
    beyond = ((slope, _UNEVEN), (against, _AGAINST), (-level, _DARK_FACE), (-brightest, _DARK_PHOTO))
    return math.hypot(*shared, *(max(0.0, value - start) / unit for value, (start, unit) in beyond))


def _tint(color: Floats) -> NDArray[np.float64]:
    """Warmth and magenta of a linear colour [3], in log2."""
    red, green, blue = np.log2(np.asarray(color, np.float64) + _FLOOR)
    return np.array([(red - blue) / 2, (red + blue) / 2 - green])


def _scaled(box: tuple[int, int, int, int], factor: float) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x * factor, y * factor, width * factor, height * factor
