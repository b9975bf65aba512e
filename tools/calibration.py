"""Hold what a harmonizer says of its own error against the error it makes.

    python tools/calibration.py SET [WEIGHTS]

SET is a folder made by `hpbnet synthesize`. Prints a Markdown table of ten equal groups, from the items it is surest of
to the least sure: the error it expects over the foreground (root mean square, 0-255), the error it makes, the error of
the untouched composite, the share of its change that it dares, and how often it does harm (MSE rises by more than 1);
then the rank correlation of expected and actual error and the mean factor between them.
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from hpbnet import AffineGrid, load_network
from hpbnet.evaluation.dataset import read_dataset, read_triplet
from hpbnet.networks.harmonizer import HarmonizerNetwork
from hpbnet.triplet import Triplet

GROUPS = 10


class Judgement(NamedTuple):
    """What was expected of an item and what came of it; errors as root mean squares over the foreground, 0-255."""

    expected: float
    after: float
    before: float
    dared: float
    harm: float


def main() -> None:
    """Parse, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("weights", nargs="?", default="harmonizer")
    arguments = parser.parse_args()
    network = load_network(arguments.weights)
    assert isinstance(network, HarmonizerNetwork)
    judged = np.array([judge(network, read_triplet(item)) for item in read_dataset(arguments.dataset).items])
    judged = judged[np.argsort(judged[:, 0])]
    print("| group | expected | actual | untouched | dared | harm |\n|---|---|---|---|---|---|")
    for number, group in enumerate(np.array_split(judged, GROUPS), start=1):
        expected, after, before = np.sqrt((group[:, :3] ** 2).mean(axis=0))
        dared, harm = group[:, 3:].mean(axis=0)
        print(f"| {number} | {expected:.1f} | {after:.1f} | {before:.1f} | {dared:.2f} | {harm:.1%} |")
    logs = np.log(judged[:, :2].clip(min=0.1))
    print(f"\nrank correlation {rank_correlation(logs[:, 0], logs[:, 1]):.2f}", end="; ")
    print(f"expected / actual {math.exp(np.mean(logs[:, 0] - logs[:, 1])):.2f}", end=", ")
    print(f"mean factor apart {math.exp(np.abs(logs[:, 0] - logs[:, 1]).mean()):.2f}")


@torch.inference_mode()
def judge(network: HarmonizerNetwork, triplet: Triplet) -> Judgement:
    """Judge one item at the network's own size."""
    size = network.config.size
    small = triplet.layers.resize(size, size)
    truth = F.interpolate(triplet.truth, (size, size), mode="area")
    said = network.judge(small.background, small.alpha)
    expected = math.sqrt(math.exp(said.log_error.item())) * 255
    harmonized = small.recolor(AffineGrid(said.matrix)).composite()
    squared = [((picture - truth) * 255).square() for picture in (harmonized, small.background)]
    after, before = (math.sqrt(((error * small.alpha).sum() / small.alpha.sum() / 3).item()) for error in squared)
    harm = float(squared[0].mean() > squared[1].mean() + 1)
    return Judgement(expected, after, before, said.confidence.item(), harm)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's coefficient of two lists without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
