"""Mattings by name, and the verb: portrait -> foreground and alpha."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import did_you_mean
from ..models import embedded, load_network, native_bfloat16
from ..networks.matting import MattingNetwork
from ..onnx_matting import PUBLISHED, OnnxMatting, load_onnx_matting, names_onnx
from .colors import estimate_foreground
from .looks import estimate_alpha
from .people import check_coverage, keep_people
from .refine import refine_alpha, shrink

Matting = Callable[[Tensor], Tensor]  # portrait [1,3,H,W] sRGB in [0,1] -> alpha [1,1,H,W] at its size


@dataclass(frozen=True)
class NetworkMatting:
    """The matting of our own network: portrait -> alpha at the portrait's size."""

    network: MattingNetwork

    def __call__(self, portrait: Tensor, hint: Tensor | None = None) -> Tensor:
        """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W], told by a hint [1,1,H,W]: 1 keep, -1 remove, 0 unknown."""
        return estimate_alpha(self._quick, portrait, hint)

    @cached_property
    def _quick(self) -> nn.Module:
        return made_quick(self.network)


def made_quick(network: nn.Module) -> nn.Module:
    """Return a matting network laid out for speed; in bfloat16 where the processor has it: twice as fast, alpha +-0.01.

    The network itself is left as it is; one of another kind is returned.
    """
    if not isinstance(network, MattingNetwork):
        return network
    quick = _folded(copy.deepcopy(network)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(nn.Module, quick.bfloat16() if native_bfloat16() else quick)


def _folded(network: nn.Module) -> nn.Module:
    """Fold batch normalisation into the convolutions before it; changes the network that is given."""
    for stage in network.modules():
        if isinstance(stage, nn.Sequential):
            for index, (first, second) in enumerate(pairwise(stage)):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    stage[index], stage[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


@dataclass(frozen=True)
class ForeignMatting:
    """The matting of an ONNX network of others, refined along the portrait's edges."""

    network: OnnxMatting

    def __call__(self, portrait: Tensor) -> Tensor:
        """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W]."""
        small = shrink(portrait, max(self.network.seen), 1)
        return refine_alpha(self.network(small), small, portrait)


def matting_by_name(name_or_path: str | Path) -> Matting:
    """Return the matting of a name, a checkpoint's path, or an ONNX file or published name of the rembg family.

    Raises:
        ValueError: neither a known name nor a file, or the file holds a network of another kind.
    """
    if names_onnx(name_or_path):
        return ForeignMatting(load_onnx_matting(name_or_path))
    if not Path(name_or_path).is_file() and str(name_or_path) not in embedded():
        name, known = str(name_or_path), ["matting", *PUBLISHED]
        expected = f"expected an .onnx file or one of {', '.join(known)}"
        raise ValueError(f"unknown matting network {name!r}: {did_you_mean(name, known)}{expected}")
    network = load_network(name_or_path)
    if not isinstance(network, MattingNetwork):
        raise ValueError(f"{name_or_path} holds a {type(network).__name__}, which is not a matting network")
    return NetworkMatting(network)


def matte(matting: Matting, portrait: Tensor, hint: Tensor | None = None, who: str = "all") -> tuple[Tensor, Tensor]:
    """Cut the people out of a portrait.

    Args:
        matting: finds the people's alpha.
        portrait: [1,3,H,W] sRGB in [0,1].
        hint: [1,1,H,W] 1 keep, -1 remove, 0 unknown; only our own network takes one.
        who: which people are kept, see `keep_people`.

    Returns:
        foreground [1,3,H,W], the people's own colours also where the edge is soft, and alpha [1,1,H,W].

    Raises:
        ValueError: there is nobody in the picture, or nothing but somebody, or the network takes no hint.
    """
    if hint is None:
        alpha = matting(portrait)
    elif isinstance(matting, NetworkMatting):
        alpha = matting(portrait, hint)
    else:
        raise ValueError("this matting network takes no hint; use the default one, or give a mask")
    alpha = keep_people(alpha, who)
    check_coverage(alpha)
    return estimate_foreground(portrait, alpha), alpha
