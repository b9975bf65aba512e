"""Read a pool of made items (`shards.py`) and vary them on the fly, so that few relit items teach much.

`vary` keeps what a pair means: the truth is a photo as it could have been taken, the composite the same photo with the
person disturbed, the mask where the person is. Truths are graded as whole photos too, so that not every right answer is
a well-lit neutral portrait.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..disturb import blur, compress_jpeg, cut_hole, grow_mask, paste
from .draws import Range, happens, uniform
from .grading import apply_grade, draw_grade
from .recipe import PERSON, SCENE

_COVERAGE = (0.06, 0.9)  # of the person in a crop
Triplet = tuple[Tensor, Tensor, Tensor]  # composite [1,3,S,S], real [1,3,S,S], mask [1,1,S,S]


@dataclass(frozen=True)
class Variation:
    """How often and how far `vary` changes an item; every number beside a name is a probability."""

    crop: float = 0.5
    crop_side: Range = (0.6, 1.0)  # share of the picture
    flip: float = 0.5
    unchanged: float = 0.1  # pairs that need no change: the composite is the truth
    replaced: float = 0.15  # the pool's disturbance is dropped, only a grade disturbs
    partial: float = 0.3
    strength: Range = (0.3, 1.0)  # of a partial disturbance
    portrait_grade: float = 0.35
    photo_grade: float = 0.4
    mask_hard: float = 0.15  # the person pasted by a binary mask
    mask_wrong: float = 0.25  # the given mask differs from the one that was pasted by
    mask_radius: int = 2  # [px] at 256
    jpeg: float = 0.1
    jpeg_quality: Range = (40, 90)


def vary(
    composite: Tensor,  # [1,3,S,S]
    real: Tensor,  # [1,3,S,S]
    mask: Tensor,  # [1,1,S,S]
    generator: torch.Generator,
    variation: Variation | None = None,
) -> Triplet:
    """Return another item made from this one: framing, strength, grades of person and photo, mask, JPEG."""
    chance = variation or Variation()
    composite, real, mask = _reframe((composite, real, mask), chance, generator)
    portrait = recover_portrait(composite, real, mask)
    portrait, mask = _disturb_again(portrait, real, mask, chance, generator)
    if happens(chance.photo_grade, generator):  # foreground and background together, so both sides agree
        drawn = draw_grade(SCENE, generator)
        portrait, real = apply_grade(torch.cat([portrait, real]), drawn).split(1)
    if happens(chance.mask_hard, generator):
        mask = (mask > 0.5).float()
    composite = paste(portrait, mask, real)
    if happens(chance.jpeg, generator):
        quality = round(uniform(chance.jpeg_quality, generator))
        composite, real = compress_jpeg(torch.cat([composite, real]), quality).split(1)
    if happens(chance.mask_wrong, generator):
        mask = _spoil(mask, chance, generator)
    return composite, real, mask


def recover_portrait(composite: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Undo the paste: the disturbed person over the whole frame, as far as alpha tells."""
    portrait = real + (composite - real) / mask.clamp_min(0.1)
    return portrait.clamp(0.0, 1.0)


class Pool:
    """The finished shards of a pool, as memory maps."""

    def __init__(self, folder: Path | str) -> None:
        folders = sorted(path for path in Path(folder).iterdir() if path.name.isdigit())
        if not folders:
            raise ValueError(f"{folder} holds no shards (folders 000, 001, ...)")
        names = ("composites", "reals", "masks")
        self._shards = [[np.load(path / f"{name}.npy", mmap_mode="r") for name in names] for path in folders]
        self._ends = np.cumsum([len(shard[0]) for shard in self._shards])
        self.plain = torch.tensor([plain for path in folders for plain in _plain_rows(path / "rows.jsonl")])
        coverage = np.concatenate([shard[2][:, ::16, ::16].mean((1, 2)) / 255 for shard in self._shards])
        self.coverage = torch.from_numpy(coverage).float()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Triplet:
        """Read one item as floats."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        row = index - int(self._ends[number]) + len(self._shards[number][0])
        composite, real, mask = (torch.from_numpy(array[row].copy()).float() / 255 for array in self._shards[number])
        return composite.permute(2, 0, 1)[None], real.permute(2, 0, 1)[None], mask[None, None]

    def draw(
        self,
        count: int,
        generator: torch.Generator,
        *,
        variation: Variation | None = None,
        plain_weight: float = 0.5,
    ) -> Triplet:
        """Draw a batch of varied items [N,...]; plain backdrops less often, pictures all person or all scene never."""
        usable = (self.coverage > _COVERAGE[0]) & (self.coverage < _COVERAGE[1])
        weights = torch.where(self.plain, plain_weight, 1.0) * usable
        indices = torch.multinomial(weights, count, replacement=True, generator=generator)
        items = [vary(*self[int(index)], generator, variation) for index in indices]
        composites, reals, masks = zip(*items, strict=True)
        return torch.cat(composites), torch.cat(reals), torch.cat(masks)


def _plain_rows(path: Path) -> list[bool]:
    """Read which items of a shard stand before a plain backdrop."""
    return [bool(json.loads(line)["plain"]) for line in path.read_text().splitlines()]


def _disturb_again(
    portrait: Tensor, real: Tensor, mask: Tensor, chance: Variation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Keep, weaken, drop or add to what disturbs the person."""
    if happens(chance.unchanged, generator):
        return real, mask
    replaced = happens(chance.replaced, generator)
    if replaced:
        portrait = real
    if replaced or happens(chance.portrait_grade, generator):
        portrait = apply_grade(portrait, draw_grade(PERSON, generator))
    if happens(chance.partial, generator):
        portrait = torch.lerp(real, portrait, uniform(chance.strength, generator))
    return portrait, mask


def _reframe(images: Triplet, chance: Variation, generator: torch.Generator) -> Triplet:
    """Crop a random square of the same picture from all three, and mirror them."""
    joined = torch.cat(images, dim=1)
    size = joined.shape[2]
    if happens(chance.crop, generator):
        whole = joined
        side = round(size * uniform(chance.crop_side, generator))
        top, left = torch.randint(size - side + 1, (2,), generator=generator).tolist()
        joined = joined[:, :, top : top + side, left : left + side]
        if not _COVERAGE[0] < float(joined[:, 6:].mean()) < _COVERAGE[1]:  # nothing left to compare the person with
            joined = whole
        joined = F.interpolate(joined, (size, size), mode="bilinear", align_corners=False)
    if happens(chance.flip, generator):
        joined = joined.flip(3)
    return joined[:, :3], joined[:, 3:6], joined[:, 6:]


def _spoil(mask: Tensor, chance: Variation, generator: torch.Generator) -> Tensor:
    """Make a mask imperfect in one way: shrunk, grown, blurred, or with a hole."""
    kind, reach = int(torch.randint(4, (), generator=generator)), chance.mask_radius * mask.shape[3] / 256
    if kind == 0:
        return blur(mask, uniform((0.3, 1.5), generator) * reach)
    if kind == 1:
        place = torch.rand(1, 4, generator=generator)
        return cut_hole(mask, torch.cat([place[:, :2], 0.02 + 0.06 * place[:, 2:]], dim=1))
    return grow_mask(mask, max(1, round(uniform((0.5, 1.0), generator) * reach)) * (1 if kind == 2 else -1))
