"""Compare two surfaces with DPR: correlation of log ratio images of light, and a sheet to look at.

    python runs/relighting.py $DATA/portraits $DPR [sheet.png]

The built-in relighter, with its own surface and with that of `light/normals.py`, and DPR put the same 50 squares
of validation portraits under the same random lights of the `paper` recipe.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hpbnet.color import luma, srgb_to_linear
from hpbnet.disturb import paste
from hpbnet.image import write_picture
from hpbnet.light.normals import person_normals
from hpbnet.relight import (
    builtin_relighter,
    dpr_relighter,
    frontal_direction,
    load_dpr,
    sphere_light,
)
from hpbnet.synthesis.draws import seeded, uniform, whole
from hpbnet.synthesis.portraits import read_index, read_square
from hpbnet.synthesis.recipe import PAPER

COUNT, SHOWN, SIZE = 50, 16, 256


def main(portraits: Path, weights: Path, sheet: Path | None) -> None:
    """Print the table's numbers and write the sheet: photo, DPR, built-in with both surfaces, normals with faces."""
    dpr, faces, generator = dpr_relighter(load_dpr(weights)), read_index(portraits, "val"), seeded("relighting")
    correlations: list[Tensor] = []
    spreads: list[Tensor] = []
    levels: list[Tensor] = []
    rows: list[Tensor] = []
    while len(correlations) < COUNT:
        try:
            photo, alpha, _ = read_square(faces[whole(len(faces), generator)], SIZE, generator)
        except ValueError:  # a square that is all person
            continue
        ambient, intensity = uniform(PAPER.ambient, generator), uniform(PAPER.intensity, generator)
        light = sphere_light(frontal_direction(generator)[None], torch.tensor([ambient]), torch.tensor([intensity]))
        surface = person_normals(photo, alpha)
        relit = [dpr(photo, alpha, light)]
        relit += [builtin_relighter(photo, alpha, light, normals) for normals in (None, surface)]
        inside = (alpha > 0.9) & (luminance(photo) > 0.003) & (luminance(photo) < 0.95)
        ratios = torch.stack([((luminance(image) + 0.01) / (luminance(photo) + 0.01)).log()[inside] for image in relit])
        correlations.append(torch.corrcoef(ratios)[0, 1:])
        spreads.append(ratios.std(1))
        levels.append(ratios.mean(1))
        normals = interpolate(surface, (SIZE, SIZE), mode="bilinear")
        colours = torch.stack([normals[:, 0] / 2 + 0.5, normals[:, 2] / 2 + 0.5, -normals[:, 1]], dim=1) * alpha
        rows.append(torch.cat([photo, *(paste(image, alpha, photo) for image in relit), colours], dim=3))
    spread, level = torch.stack(spreads), torch.stack(levels)
    for name, correlation in zip(("matte alone", "with faces"), torch.stack(correlations).T, strict=True):
        print(f"{name}: correlation mean {correlation.mean():.3f}, median {correlation.median():.3f}", end=", ")
        print(f"least tenth {correlation.quantile(0.1):.2f}, negative {(correlation < 0).float().mean():.0%}")
    print("spread of log ratio: DPR {:.2f}, matte alone {:.2f}, with faces {:.2f}".format(*spread.mean(0).tolist()))
    print(f"correlation of mean log ratio over portraits: {torch.corrcoef(level.T)[0, 1]:.2f}")
    if sheet:
        pairs = [torch.cat(rows[start : start + 2], dim=3) for start in range(0, SHOWN, 2)]
        write_picture(sheet, torch.cat(pairs, dim=2).clamp(0.0, 1.0))


def luminance(image: Tensor) -> Tensor:
    """Linear luminance [1,1,H,W]."""
    return luma(srgb_to_linear(image))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
