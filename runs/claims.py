"""Measure the paper's claims on HPBNets: Eq. (3), colour and light apart, saturated light, identity, fine detail.

    python runs/claims.py PORTRAITS [LABEL=]WEIGHTS ... [--relighter dpr:FILE] [--metrics FOLDER] [--count 100]

Validation portraits of PORTRAITS (index.csv, images/, alpha/) are disturbed in four ways, from the same seeds: by the
paper's recipe, by its colour transfer alone, by its relighting alone, and by the whole recipe in photos of strongly
tinted light. Each network's own picture is pasted over the composite's background, before and after Eq. (3); so is its
U-Net's last estimate, after Eq. (3); "lifted" is the network as a harmonizer. All numbers are over all items, at the
network's own size:

    ratio      squared error after / before, ratio of means          gain      mean rise of PSNR [dB]
    lightness  error of L* after / before: light                     chroma    error of (a*, b*) after / before: colour
    identity   mean cosine of the face to the truth's                detail    error of the finest band / truth's own
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hpbnet.color_temperature import match_color_temperature
from hpbnet.disturb import blur, paste
from hpbnet.evaluation.backbones import weights_folder
from hpbnet.evaluation.measures import Measures, Reference, Scores, load_measures
from hpbnet.harmonize import Painter
from hpbnet.models import load_network
from hpbnet.networks.hpbnet import HPBNet
from hpbnet.relight import Relighter
from hpbnet.synthesis.draws import seeded
from hpbnet.synthesis.item import SourcePhotos, make_item
from hpbnet.synthesis.plan import load_relighter
from hpbnet.synthesis.portraits import Portrait, random_portrait, read_index, read_square
from hpbnet.synthesis.recipe import PAPER, Recipe
from hpbnet.triplet import Triplet

CONDITIONS = {
    "paper": PAPER,
    "colour only": replace(PAPER, light=(("none", 1.0),)),
    "light only": replace(PAPER, transfer=(("none", 1.0),)),
    "saturated light": replace(PAPER, photo_gains=(0.3, 2.2)),
}
BAND = 1.0  # deviation of the blur that leaves the finest band [px]
COLUMNS = ("ratio", "gain", "lightness", "chroma", "identity", "detail")


@dataclass(frozen=True)
class Measured:
    """One picture of one item."""

    scores: Scores
    detail: float


@dataclass(frozen=True)
class Case:
    """One item, and what is measured of it once, whatever the number of networks."""

    item: Triplet
    reference: Reference
    before: Measured  # the untouched composite


def main() -> None:
    """Parse, disturb, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("weights", nargs="+", metavar="[LABEL=]WEIGHTS")
    parser.add_argument("--relighter", default="builtin")
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    networks = dict(open_network(text) for text in arguments.weights)
    measures = replace(load_measures(weights_folder(arguments.metrics)), lpips={}, dists=None)
    portraits = tuple(one for one in read_index(arguments.portraits, "val") if not one.plain)
    relighter = load_relighter(arguments.relighter)
    print(f"{'':16} {'':28}" + "".join(f"{name:>10}" for name in COLUMNS))
    for condition, recipe in CONDITIONS.items():
        sizes = sorted({network.config.resolution for network in networks.values()})
        cases = {
            size: [prepare(item, measures) for item in disturbed(portraits, recipe, relighter, size, arguments.count)]
            for size in sizes
        }
        for label, network in networks.items():
            chosen = cases[network.config.resolution]
            rows = [measure(network, case, measures) for case in chosen]
            for kind in rows[0]:
                values = summary([case.before for case in chosen], [row[kind] for row in rows])
                print(
                    f"{condition:16} {f'{label} {kind}':28}" + "".join(f"{value:10.3f}" for value in values), flush=True
                )


def open_network(text: str) -> tuple[str, HPBNet]:
    """Load [LABEL=]WEIGHTS."""
    label, _, path = text.rpartition("=")
    network = load_network(path)
    if not isinstance(network, HPBNet):
        raise SystemExit(f"{path} holds a {type(network).__name__}, expected an HPBNet")
    return label or Path(path).stem, network


def disturbed(
    portraits: tuple[Portrait, ...], recipe: Recipe, relighter: Relighter, size: int, count: int
) -> Iterator[Triplet]:
    """Make items; item k is of the same photo under the same draws in every condition and at every size."""
    for index in range(count):
        generator = seeded("claims", index)
        for portrait in portraits[index * len(portraits) // count :]:
            other = random_portrait(portraits, portrait.name, generator)
            try:
                photo, alpha, _ = read_square(portrait, size, generator)
                reference, reference_alpha, _ = read_square(other, size, generator)
            except ValueError:  # a square that is all person, or nobody
                continue
            yield make_item(
                SourcePhotos(photo, alpha, reference, reference_alpha), recipe, relighter, generator
            ).triplet
            break


def prepare(item: Triplet, measures: Measures) -> Case:
    """Measure an item's composite, and keep what all networks share."""
    reference = measures.reference(item)
    return Case(item, reference, score(item.composite, item, reference, measures))


@torch.no_grad()
def measure(network: HPBNet, case: Case, measures: Measures) -> dict[str, Measured]:
    """Measure the composite, and what the network makes of it in three ways."""
    composite, mask = case.item.composite, case.item.mask
    answer, layers = network(composite, mask), case.item.layers
    picture = answer.image
    matched = match_color_temperature(picture, composite, mask).clamp(0, 1)
    estimate = match_color_temperature(answer.estimates[-1], composite, mask).clamp(0, 1)
    pictures = {
        "U-Net's estimate": paste(estimate, mask, composite),
        "without Eq. (3)": paste(picture.clamp(0, 1), mask, composite),
        "with Eq. (3)": paste(matched, mask, composite),
        "lifted": layers.recolor(Painter(network)(layers)).composite(),
    }
    made = {name: score(picture, case.item, case.reference, measures) for name, picture in pictures.items()}
    return {"composite": case.before, **made}


def score(picture: Tensor, item: Triplet, reference: Reference, measures: Measures) -> Measured:
    """Measure one picture against its item's truth."""
    return Measured(measures.score(picture, reference), detail_error(picture, item.truth, item.mask))


def detail_error(picture: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Error of the finest band over the foreground, over the truth's own amplitude there."""
    ours, theirs = (image - blur(image, BAND) for image in (picture, truth))
    inside = F.max_pool2d(-mask, 5, stride=1, padding=2).neg()  # away from edges, which pasting makes
    return float(((ours - theirs).abs() * inside).sum() / (theirs.abs() * inside).sum().clamp_min(1e-6))


def summary(before: list[Measured], after: list[Measured]) -> tuple[float, ...]:
    """Average over items, in the order of `COLUMNS`; nan where no face was measured."""

    def mean(rows: list[Measured], name: str) -> float:
        values = [value for row in rows if (value := getattr(row.scores, name)) is not None]
        return sum(values) / len(values) if values else float("nan")

    ratios = {name: mean(after, name) / mean(before, name) for name in ("mse", "lightness", "chroma")}
    gain = mean(after, "psnr") - mean(before, "psnr")
    detail = sum(row.detail for row in after) / len(after)
    return ratios["mse"], gain, ratios["lightness"], ratios["chroma"], mean(after, "identity"), detail


if __name__ == "__main__":
    main()
