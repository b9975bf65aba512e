"""The main job: a portrait and a background in, one picture out.

Knows the order of the steps and what belongs to a result. Knows nothing of how a step is done.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from .affine_grid import AffineGrid
from .finish import grade, light_wrap, match_grain, match_softness
from .framing import plan_placement
from .harmonize import Harmonizer, Painter, harmonizer_by_name
from .image import Picture, Source, encode_picture, format_of, read_mask, read_picture, write_bytes, write_picture
from .layers import Layers, fit_background, place
from .matte import MOST_COVERAGE, estimate_foreground, matte
from .models import embedded, load_network
from .networks.matting import MattingNetwork
from .onnx_matting import PUBLISHED, load_onnx_matting, names_onnx
from .options import ComposeOptions

DEFAULT_HARMONIZER = "learned"
DEFAULT_MATTING = "matting"

_LEAST_SIDE = 16  # [px]
_PAINTED = ("shown is the network's own picture, enlarged; strength and finish do not touch it",)
_load_harmonizer = functools.cache(harmonizer_by_name)


@functools.cache
def _load_matting(name_or_path: str | Path) -> nn.Module:
    if names_onnx(name_or_path):
        return load_onnx_matting(name_or_path)
    if not Path(name_or_path).is_file() and str(name_or_path) not in embedded():
        known = ", ".join([DEFAULT_MATTING, *PUBLISHED])
        raise ValueError(f"unknown matting network {str(name_or_path)!r}: expected an .onnx file or one of {known}")
    network = load_network(name_or_path)
    if not isinstance(network, MattingNetwork):
        raise ValueError(f"{name_or_path} is no matting network")
    return network


@dataclass(frozen=True)
class CutOut:
    """A person cut out of a portrait."""

    foreground: Tensor  # [1,3,H,W] sRGB in [0,1], the person's own colours also at soft edges
    alpha: Tensor  # [1,1,H,W] straight
    depth: int = 8  # [bit] of the portrait, 8 or 16
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.alpha.shape[-2:]
        return height, width

    def alpha_only(self) -> "CutOut":
        """Return the alpha as an opaque grey picture."""
        return replace(self, foreground=self.alpha, alpha=torch.ones_like(self.alpha))

    def encode(self, format: str = "png", quality: int = 95) -> bytes:
        """Return the bytes of a file, transparent where nobody is."""
        opaque = bool((self.alpha == 1).all())
        return encode_picture(self.foreground, None if opaque else self.alpha, format, self.depth, quality)

    def save(self, path: str | Path, format: str | None = None, quality: int = 95) -> None:
        """Write a file, by default in the format of its suffix; an OSError leaves what was there."""
        write_bytes(path, self.encode(format or format_of(path), quality))


@dataclass(frozen=True)
class Composition:
    """A composed picture, and what it was made of."""

    image: Tensor  # [1,3,H,W] sRGB in [0,1]
    layers: Layers  # as they were flattened: the foreground recoloured
    grid: AffineGrid  # the harmonizer's answer, before strength
    options: ComposeOptions
    depth: int = 8  # [bit] 16 where a source had it
    notices: tuple[str, ...] = ()  # what the eye should know

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.layers.size

    def encode(self, format: str = "png", quality: int = 95) -> bytes:
        """Return the bytes of a file."""
        return encode_picture(self.image, None, format, self.depth, quality)

    def save(self, path: str | Path, format: str | None = None, quality: int = 95) -> None:
        """Write a file, by default in the format of its suffix; an OSError leaves what was there."""
        write_bytes(path, self.encode(format or format_of(path), quality))

    def save_layers(self, folder: str | Path) -> None:
        """Write foreground.png, alpha.png, background.png and grid.safetensors (the tensor `matrix`)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("foreground", "alpha", "background"):
            write_picture(folder / f"{name}.png", getattr(self.layers, name), depth=self.depth)
        write_bytes(folder / "grid.safetensors", save({"matrix": self.grid.matrix.contiguous()}))


class Pipeline:
    """Portrait and background -> composition, with one harmonizer and one matting network loaded."""

    def __init__(self, harmonizer: Harmonizer, matting: nn.Module | None = None) -> None:
        self.harmonizer = harmonizer
        self.matting = matting

    @classmethod
    def from_pretrained(
        cls, harmonizer: str | Path | None = None, matting: str | Path | None = DEFAULT_MATTING
    ) -> "Pipeline":
        """Load what is named: a harmonizer's name or weights file, a matting network's; no matting where None.

        A matting network may be an ONNX file of the rembg family, or the name of a published one (extra `[rembg]`).

        Raises:
            ValueError: no such name or file; the message lists what exists.
        """
        network = None if matting is None else _load_matting(matting)
        return cls(_load_harmonizer(harmonizer or DEFAULT_HARMONIZER), network)

    @torch.no_grad()
    def __call__(
        self, portrait: Source, background: Source, options: ComposeOptions | None = None, **fields: object
    ) -> Composition:
        """Put the person of a portrait into a background.

        Args:
            portrait: a path, bytes, a PIL image or an array; its alpha, if any, is the matte.
            background: likewise.
            options: see `ComposeOptions`.
            fields: single options by name, which go before `options`.

        Raises:
            ValueError: a picture that cannot be read, an option out of range, nobody in the portrait.
            OSError: a file cannot be opened.
        """
        options = replace(options or ComposeOptions(), **fields)  # type: ignore[arg-type]
        harmonizer = self._harmonizer(options)
        cut_out = self.matte(portrait, options.mask, options.matte)
        scene = _read(background, "the background")
        opaque = () if scene.alpha is None else ("the background's transparency is ignored",)
        canvas = fit_background(scene.pixels, options.size, options.fit, options.blur)
        placement, notices = plan_placement(cut_out.alpha, canvas, options)

        layers = place(cut_out.foreground, cut_out.alpha, canvas, placement)
        depth, notices = max(cut_out.depth, scene.depth), (*cut_out.notices, *scene.notices, *opaque, *notices)
        del cut_out, scene, canvas  # large pictures need not wait for the rest
        grid, painted = _judge(harmonizer, layers, options)
        layers = layers.recolor(grid, options.strength)
        layers = _finish(layers, options)
        image = layers.composite() if painted is None else painted

        return Composition(image, layers, grid, options, depth, notices + _PAINTED if options.painted else notices)

    @torch.no_grad()
    def matte(self, portrait: Source, mask: Source | None = None, network: str | Path | None = None) -> CutOut:
        """Cut the person out: by the mask, else by the portrait's own alpha, else by a matting network.

        Args:
            portrait: a path, bytes, a PIL image or an array.
            mask: white where the person is.
            network: a name or file, in place of the pipeline's network.

        Raises:
            ValueError: a picture that cannot be read, nobody in it, a mask of another size or all black.
            OSError: a file cannot be opened.
        """
        picture = _read(portrait, "the portrait")
        if mask is not None:
            alpha = _read_mask(mask, picture, "the portrait")
            return CutOut(estimate_foreground(picture.pixels, alpha), alpha, picture.depth, picture.notices)
        matting = self.matting if network is None else _load_matting(network)
        notices = picture.notices
        if picture.alpha is not None:
            if matting is None or picture.alpha.mean().item() <= MOST_COVERAGE:
                return CutOut(picture.pixels, picture.alpha, picture.depth, notices)
            notices = (*notices, "the portrait's transparency leaves out next to nothing, and is not taken for a mask")
        if matting is None:
            raise ValueError("this pipeline was made without matting: give a mask, or a portrait with transparency")
        return CutOut(*matte(matting, picture.pixels), picture.depth, notices)

    @torch.no_grad()
    def harmonize(
        self, composite: Source, mask: Source, options: ComposeOptions | None = None, **fields: object
    ) -> Composition:
        """Match the colours of what a mask shows in a ready composite to the rest of it.

        Raises:
            ValueError: a picture that cannot be read, a mask of another size or all black, an option out of range.
            OSError: a file cannot be opened.
        """
        options = replace(options or ComposeOptions(), **fields)  # type: ignore[arg-type]
        harmonizer = self._harmonizer(options)
        picture = _read(composite, "the composite")
        layers = Layers(picture.pixels, _read_mask(mask, picture, "the composite"), picture.pixels)
        grid, painted = _judge(harmonizer, layers, options)
        layers = _finish(layers.recolor(grid, options.strength), options)
        image = layers.composite() if painted is None else painted
        notices = picture.notices + _PAINTED if options.painted else picture.notices
        return Composition(image, layers, grid, options, picture.depth, notices)

    def _harmonizer(self, options: ComposeOptions) -> Harmonizer:
        """Return the harmonizer that the options ask for, else the pipeline's own."""
        harmonizer = self.harmonizer if options.harmonizer is None else _load_harmonizer(options.harmonizer)
        if options.painted and not isinstance(harmonizer, Painter):
            raise ValueError("painted shows what a network paints, and this harmonizer has none; choose hpbnet")
        return harmonizer


def _judge(harmonizer: Harmonizer, layers: Layers, options: ComposeOptions) -> tuple[AffineGrid, Tensor | None]:
    """Ask a harmonizer for its grid and, where it is to be shown, for its own picture at the layers' size."""
    if not options.painted:
        return harmonizer(layers), None
    assert isinstance(harmonizer, Painter)
    picture = harmonizer.paint(layers)
    return harmonizer.lift(layers, picture), F.interpolate(picture, layers.size, mode="bicubic", antialias=True).clamp(
        0.0, 1.0
    )


def _finish(layers: Layers, options: ComposeOptions) -> Layers:
    """Do what the options ask for after the automatic change, grain last: light is what it lies on."""
    if options.exposure or options.warmth:
        layers = layers.recolor(grade(options.exposure, options.warmth))
    layers = light_wrap(match_softness(layers, options.softness), options.light_wrap)
    return match_grain(layers, options.grain)


def _read(source: Source, role: str) -> Picture:
    picture = read_picture(source)
    height, width = picture.size
    if min(height, width) < _LEAST_SIDE:
        raise ValueError(f"{role} is {width}x{height} px; at least {_LEAST_SIDE}x{_LEAST_SIDE} are needed")
    return picture


def _read_mask(source: Source, picture: Picture, role: str) -> Tensor:
    mask = read_mask(source)
    height, width = mask.shape[-2:]
    if (height, width) != picture.size:
        raise ValueError(
            f"the mask is {width}x{height} px, {role} {picture.size[1]}x{picture.size[0]}; they must agree"
        )
    if not mask.any():
        raise ValueError("the mask is all black: white shows where the person is")
    return mask
