"""Drawing numbers from explicit generators."""

import hashlib
from collections.abc import Sequence

import torch

Range = tuple[float, float]
Triple = tuple[float, float, float]


def seeded(*key: object) -> torch.Generator:
    """Return a generator that depends on the key alone, not on what was drawn before."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def uniform(bounds: Range, generator: torch.Generator) -> float:
    """Draw one number."""
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))


def three(bounds: Range, generator: torch.Generator) -> Triple:
    """Draw three numbers."""
    return uniform(bounds, generator), uniform(bounds, generator), uniform(bounds, generator)


def happens(probability: float, generator: torch.Generator) -> bool:
    """Draw whether something happens."""
    return float(torch.rand((), generator=generator)) < probability


def choose(chances: Sequence[tuple[str, float]], generator: torch.Generator) -> str:
    """Draw a name by its weight."""
    weights = torch.tensor([weight for _, weight in chances])
    return chances[int(torch.multinomial(weights, 1, generator=generator))][0]


def whole(count: int, generator: torch.Generator) -> int:
    """Draw a whole number below a count."""
    return int(torch.randint(count, (), generator=generator))
