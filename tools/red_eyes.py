"""Paint red eyes into validation portraits, harmonize them, and measure how red the pupils stay.

    python tools/red_eyes.py PORTRAITS SHEET [--weights FOLDER] [--method NAME_OR_FILE ...] [--count 10]

PORTRAITS holds images/, alpha/ and index.csv. Eyes are found by YuNet if FOLDER holds it, else placed in the index's
face boxes. Each portrait stays before its own background, so nothing but the eyes is wrong. A network that paints
(HPBNet) is shown twice: its own picture after Eq. (3), and lifted by the fitted grid as `--harmonizer` does; a grid
recolours by place and brightness and cannot single out a pupil. One row a portrait: photo, red-eyed, then the methods.
Redness is R - max(G, B) over the pupils, 0-255 scale.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hpbnet.color import luma
from hpbnet.disturb import paste
from hpbnet.evaluation.backbones import weights_folder
from hpbnet.evaluation.identity import FaceFinder, load_face_finder
from hpbnet.harmonize import Painter, harmonizer_by_name
from hpbnet.image import read_mask, read_picture, write_picture
from hpbnet.layers import Layers
from hpbnet.synthesis.portraits import Portrait, read_index

Method = Callable[[Layers], Tensor]  # layers -> picture [1,3,H,W]

PUPIL = 0.055  # radius of a dark-adapted pupil over the distance of the eyes: 3.5 mm of 63 mm
GLOW = (0.78, 0.13, 0.11)  # sRGB of a pupil that flashes back
HIGHLIGHT = 0.75  # luma above which a reflection covers the pupil
IRIS = 0.094  # its radius: 5.9 mm of 63 mm
SEARCH = (0.06, 0.12)  # how far a pupil may lie below and beside where the eye was found; brows lie higher
LEAST_CONTRAST = 0.15  # luma, of iris and white; below it lie closed eyes, deep shadow and dark glasses
LEAST_DISTANCE = 50.0  # of the eyes in the photo [px]
CELL = 160  # side of a picture on the sheet [px]
PHOTO, RED = "photo", "red-eyed"


def main() -> None:
    """Parse, paint, harmonize, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--method", action="append")
    parser.add_argument("--count", type=int, default=10)
    arguments = parser.parse_args()
    methods: dict[str, Method] = {}
    for name in arguments.method or ["learned"]:
        methods |= open_method(name)
    finder = load_face_finder(weights_folder(arguments.weights))
    rows, sheet = [], []
    for layers, eyes in red_eyed(read_index(arguments.portraits, "val"), finder, arguments.count):
        pupils = pupil_mask(eyes, layers.alpha)
        red = Layers(glow(layers.foreground, pupils), layers.alpha, layers.background)
        pictures = {PHOTO: layers.composite(), RED: red.composite()}
        with torch.no_grad():
            pictures |= {name: method(red) for name, method in methods.items()}
        rows.append({name: redness(picture, pupils) for name, picture in pictures.items()})
        sheet.append(torch.cat([around(picture, eyes) for picture in pictures.values()], dim=3))
    write_picture(arguments.sheet, torch.cat(sheet, dim=2))
    print(f"redness of the pupils over {len(rows)} portraits: mean, least, most")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name:24} {sum(values) / len(values):7.1f} {min(values):7.1f} {max(values):7.1f}")


def open_method(name: str) -> dict[str, Method]:
    """Open a harmonizer, and what it paints if it is HPBNet."""
    harmonizer = harmonizer_by_name(name)
    label = Path(name).stem if Path(name).suffix else name
    opened: dict[str, Method] = {label: lambda layers: layers.recolor(harmonizer(layers)).composite()}
    if isinstance(harmonizer, Painter):
        opened[f"{label} painted"] = lambda layers: paste(
            F.interpolate(harmonizer.paint(layers), layers.size, mode="bicubic", antialias=True).clamp(0, 1),
            layers.alpha,
            layers.background,
        )
    return opened


def red_eyed(portraits: list[Portrait], finder: FaceFinder, count: int) -> list[tuple[Layers, Tensor]]:
    """Choose portraits of large faces, evenly over the index; with the centres of their eyes [2,2]."""
    large = [one for one in portraits if one.face and one.face[2] >= 2 * LEAST_DISTANCE and not one.plain]
    chosen: list[tuple[Layers, Tensor]] = []
    for start in range(count):
        for portrait in large[start * len(large) // count : (start + 1) * len(large) // count]:
            photo = read_picture(portrait.photo).pixels
            points = finder(photo, tuple(map(float, portrait.face)) if portrait.face else None)  # type: ignore[arg-type]
            if points is None or (points[0] - points[1]).norm() < LEAST_DISTANCE:
                continue
            eyes = [centred(photo, eye, float((points[0] - points[1]).norm())) for eye in points[:2]]
            if min(contrast for _, contrast in eyes) < LEAST_CONTRAST:
                continue
            alpha = F.interpolate(read_mask(portrait.alpha), photo.shape[2:], mode="bilinear")
            chosen.append((Layers(photo, alpha, photo), torch.stack([eye for eye, _ in eyes])))
            break
    return chosen


def centred(photo: Tensor, eye: Tensor, distance: float) -> tuple[Tensor, float]:
    """Move a rough eye [2] to the iris near it, darker than what lies left and right of it; says by how much, too."""
    iris = 2 * round(IRIS * distance) + 1
    down, across = (round(share * distance) for share in SEARCH)
    x, y = (int(value) for value in eye.tolist())
    window = F.pad(luma(photo), (across + 2 * iris,) * 2 + (down + iris,) * 2, mode="replicate")
    window = window[:, :, y : y + 2 * (down + iris) + 1, x : x + 2 * (across + 2 * iris) + 1]
    smooth = F.avg_pool2d(window, iris, stride=1)[0, 0, iris - iris // 2 : iris // 2 - iris]
    smooth = smooth[:, iris - iris // 2 : iris // 2 - iris]
    darker = (smooth[:, : -2 * iris] + smooth[:, 2 * iris :]) / 2 - smooth[:, iris:-iris]
    row, column = divmod(int(darker.argmax()), darker.shape[1])
    return torch.tensor([x + column - across + 0.5, y + row - down + 0.5]), float(darker.max())


def pupil_mask(eyes: Tensor, like: Tensor) -> Tensor:
    """Draw both pupils as soft discs [1,1,H,W]."""
    height, width = like.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    radius = PUPIL * (eyes[0] - eyes[1]).norm()
    discs = [(radius + 0.5 - torch.hypot(x - eye[0], y - eye[1])).clamp(0, 1) for eye in eyes]
    return torch.stack(discs).amax(dim=0)[None, None]


def glow(photo: Tensor, pupils: Tensor) -> Tensor:
    """Let pupils flash back red, except under reflections."""
    seen = pupils * (luma(photo) < HIGHLIGHT)
    return photo + seen * (torch.tensor(GLOW).view(1, 3, 1, 1) - photo)


def redness(picture: Tensor, pupils: Tensor) -> float:
    """Measure R - max(G, B) over the pupils, 0-255 scale."""
    excess = picture[:, :1] - picture[:, 1:].amax(dim=1, keepdim=True)
    return float(255 * (excess * pupils).sum() / pupils.sum())


def around(picture: Tensor, eyes: Tensor) -> Tensor:
    """Cut the eyes out, twice as wide as they are apart -> [1,3,CELL/2,CELL]."""
    (x, y), distance = eyes.mean(dim=0).tolist(), float((eyes[0] - eyes[1]).norm())
    top, left = max(0, round(y - distance / 2)), max(0, round(x - distance))
    window = picture[:, :, top : round(y + distance / 2), left : round(x + distance)]
    return F.interpolate(window, (CELL // 2, CELL), mode="bilinear", antialias=True).clamp(0, 1)


if __name__ == "__main__":
    main()
