"""What other programs can use: the colour change as a LUT, and the networks as ONNX files."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .affine_grid import AffineGrid
from .composition import Composition
from .models import load_network
from .networks.harmonizer import HarmonizerNetwork
from .networks.matting import MattingNetwork

CUBE_SIZE = 33  # samples along each axis
_OPSET = 17
_SAMPLES = 9  # colours along each axis on which the loss of a LUT is measured


@dataclass(frozen=True)
class Cube:
    """A 3-D look-up table of a colour change, as .cube files hold it."""

    table: Tensor  # [N,N,N,3] sRGB in [0,1]; index order blue, green, red
    variation: float  # mean difference to the local colour changes over the person, of 255

    def to_text(self, title: str = "hpbnet") -> str:
        """Return the text of a .cube file (Adobe Cube LUT 1.0): red varies fastest."""
        rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in self.table.reshape(-1, 3).tolist())
        return f'TITLE "{title}"\nLUT_3D_SIZE {len(self.table)}\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1\n{rows}\n'

    @property
    def notice(self) -> str:
        """What the table cannot hold, in one sentence."""
        return (
            "A LUT changes equal colours equally everywhere: over the person the composition differs from it by "
            f"{self.variation:.1f} of 255 on average; grain, softness and light wrap are not in it."
        )


def color_cube(composition: Composition, size: int = CUBE_SIZE) -> Cube:
    """Make the LUT of a composition's mean colour change over the person, strength, light and grade included."""
    grid = composition.whole_grid
    height, width = grid.shape[1:]
    share = F.adaptive_avg_pool2d(composition.layers.alpha, (height, width))  # [1,1,h,w]
    share = share / share.sum().clamp_min(1e-6)
    mean = AffineGrid((grid.matrix * share[:, :, None, None]).sum(dim=(4, 5), keepdim=True))
    colors = _lattice(_SAMPLES)
    cells = grid.matrix[0].permute(3, 4, 0, 1, 2).flatten(0, 1)[..., None, None]  # [h*w,3,4,D,1,1]
    local = AffineGrid(cells).apply(colors.expand(len(cells), -1, -1, -1))
    difference = (local - mean.apply(colors)).abs().mean(dim=(1, 2, 3))
    variation = float((difference * share.flatten()).sum()) * 255
    table = mean.apply(_lattice(size))[0].view(3, size, size, size).permute(1, 2, 3, 0)
    return Cube(table, variation)


def _lattice(size: int) -> Tensor:
    """Return all colours of a regular lattice [1,3,1,N^3]; red varies fastest."""
    steps = torch.linspace(0, 1, size)
    blue, green, red = torch.meshgrid(steps, steps, steps, indexing="ij")
    return torch.stack([red, green, blue]).reshape(1, 3, 1, -1)


class _Alpha(nn.Module):
    """Portrait -> alpha, as one graph."""

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, portrait: Tensor) -> Tensor:
        """[1,3,H,W] -> [1,1,H,W]."""
        logits: Tensor = self.network(portrait)
        return logits.sigmoid()


class _Grid(nn.Module):
    """Composite and mask -> the affine grid, as one graph."""

    def __init__(self, network: HarmonizerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """[1,3,S,S], [1,1,S,S] -> [1,3,4,1,h,w]."""
        return self.network.judge(composite, mask).matrix


def export_onnx(name_or_path: str | Path, destination: str | Path) -> None:
    """Write the matting network or the harmonizer as an ONNX file (extra `export`).

    Matting: `portrait` [1,3,H,W] sRGB in [0,1], H and W multiples of 32 -> `alpha` [1,1,H,W]. Harmonizer: `composite`
    [1,3,S,S] and `mask` [1,1,S,S] -> `matrix` [1,3,4,1,h,w], an affine colour map for each cell of the picture.

    Raises:
        ValueError: the network is of another kind, or the package `onnx` is missing.
        OSError: the destination cannot be written.
    """
    network = load_network(name_or_path)
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ValueError("ONNX export needs the package onnx: pip install -e '.[export]'") from None
    graph: nn.Module
    inputs: tuple[Tensor, ...]
    if isinstance(network, MattingNetwork):
        graph, names, output = _Alpha(network), ["portrait"], "alpha"
        inputs, free = (torch.zeros(1, 3, 64, 96),), {n: {2: "height", 3: "width"} for n in ("portrait", "alpha")}
    elif isinstance(network, HarmonizerNetwork):
        graph, names, output = _Grid(network), ["composite", "mask"], "matrix"
        size = network.config.size
        inputs, free = (torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size)), {}
    else:
        raise ValueError(f"{name_or_path} holds a {type(network).__name__}; only matting and harmonizer are exported")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of sizes that are constants here
        torch.onnx.export(
            graph.eval(),
            inputs,
            str(destination),
            dynamo=False,  # one file, and a quarter of the time
            opset_version=_OPSET,
            input_names=names,
            output_names=[output],
            dynamic_axes=free,
        )
