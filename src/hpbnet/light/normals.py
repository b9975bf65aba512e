"""The surface of a person: the inflated matte, with the faces that a network finds in it."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models import load_network
from ..networks.normals import NormalsNetwork
from ..relight import estimate_normals

WEIGHTS = "normals"


@torch.no_grad()
def person_normals(
    image: Tensor,  # [B,3,H,W] sRGB in [0,1]
    alpha: Tensor,  # [B,1,H,W]
    network: NormalsNetwork | None = None,  # None: the one that comes with the package
) -> Tensor:
    """Estimate unit normals [B,3,h,w] of a person, longer side 64 px.

    Bodies and hair are those of `estimate_normals`, faces the network's.
    """
    network = network or _embedded()
    body = estimate_normals(image, alpha)
    size, side = body.shape[2:], network.config.size
    small = F.interpolate(torch.cat([image, alpha], dim=1), size, mode="area")
    square = F.pad(small, (0, side - size[1], 0, side - size[0]))
    square = square.contiguous(memory_format=torch.channels_last)
    weight, face = (plane[:, :, : size[0], : size[1]] for plane in network(square[:, :3], square[:, 3:]))
    return F.normalize(torch.lerp(body, face, weight), dim=1)


@functools.cache
def _embedded() -> NormalsNetwork:
    network = load_network(WEIGHTS)
    assert isinstance(network, NormalsNetwork)
    faster: NormalsNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return faster
