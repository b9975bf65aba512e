"""Put the person of a portrait into a background: matte, place, harmonize, light, recolour, finish, composite.

This module holds the order of the steps. Each step is implemented in a module of its own.
"""

import functools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from .affine_grid import AffineGrid
from .color import luma
from .composition import Composition, CutOut
from .finish import adjust, finish
from .framing import plan_placement
from .harmonize import Harmonizer, harmonizer_by_name
from .image import MAX_PIXELS, Picture, Source, read_mask, read_picture
from .layers import Layers, fit_background, place
from .light import Lighting, light_person
from .matte import (
    MOST_COVERAGE,
    Matting,
    check_visible,
    estimate_foreground,
    keep_people,
    matte,
    matte_notices,
    matting_by_name,
)
from .models import allow_fork
from .options import (
    ClipOptions,
    ComposeOptions,
    FrameOptions,
    HarmonizeOptions,
    PersonOptions,
    PlacementOptions,
    VideoOptions,
)
from .settings import changed
from .shadow import add_shadow, free_below

if TYPE_CHECKING:
    from .video.report import VideoReport
    from .video.run import ComposedFrame, Progress

Result = TypeVar("Result")

DEFAULT_HARMONIZER = "learned"
DEFAULT_MATTING = "matting"

_LEAST_SIDE = 16  # [px]
_PLAIN, _LEAST_PLAIN = 0.15, 0.9  # distance of a hint's pixel from black, grey or white; share of such pixels
_KEEP = 0.75  # luma of a hint from which a pixel is kept; it is removed below one quarter
_OPAQUE = "The alpha channel is almost fully opaque; it was ignored and the person was detected instead."
_load_harmonizer = functools.cache(harmonizer_by_name)
_load_matting = functools.cache(matting_by_name)


class Pipeline:
    """Compose portraits and backgrounds with one harmonizer and one matting network, loaded once."""

    def __init__(
        self,
        harmonizer: Harmonizer,
        matting: Matting | None = None,
        max_pixels: int = MAX_PIXELS,  # files of more are refused before they are decoded
    ) -> None:
        self.harmonizer = harmonizer
        self.matting = matting
        self.max_pixels = max_pixels

    @classmethod
    def from_pretrained(
        cls,
        harmonizer: str | Path | None = None,
        matting: str | Path | None = DEFAULT_MATTING,
        max_pixels: int = MAX_PIXELS,
    ) -> "Pipeline":
        """Load networks by name or path.

        Args:
            harmonizer: a name that `hpbnet models` lists, or a weights file; `learned` by default.
            matting: likewise, or an ONNX file or published name of the rembg family (extra `rembg`); None to load
                no matting network, where every portrait has a mask or transparency.
            max_pixels: files of more pixels are refused before they are decoded.

        Raises:
            ValueError: no such name or file; the message lists what exists.
        """
        allow_fork()
        network = None if matting is None else _load_matting(matting)
        return cls(_load_harmonizer(harmonizer or DEFAULT_HARMONIZER), network, max_pixels)

    def __call__(
        self,
        portrait: Source,
        background: Source,
        options: ComposeOptions | None = None,
        *,
        mask: Source | None = None,
        hint: Source | None = None,
        **settings: object,
    ) -> Composition:
        """Put the person of a portrait into a background.

        Args:
            portrait: a path, bytes, a PIL image, an array or a tensor; its transparency, if any, is the alpha.
            background: likewise.
            options: see `ComposeOptions`.
            mask: white where the person is; used instead of the matting network.
            hint: strokes or a rough mask for the matting network: white is kept, black removed, grey or transparent
                unknown.
            settings: single fields of `ComposeOptions` by name; they override `options`.

        Raises:
            ValueError: a picture cannot be read, an option is unknown or out of range, or no person is found.
            OSError: a file cannot be opened.
        """
        return run_steps(self.steps(portrait, background, changed(ComposeOptions, options, settings), mask, hint))

    @torch.no_grad()
    def steps(
        self,
        portrait: Source | Picture,
        background: Source | Picture,
        options: ComposeOptions,
        mask: Source | None = None,
        hint: Source | None = None,
    ) -> Generator[None, None, Composition]:
        """Compose as a call does, and yield between the steps, so that the work can be stopped there."""
        cut_out = self.matte(portrait, mask, hint, options.person)
        yield
        canvas = self.canvas(background, options)
        placement, framing = plan_placement(cut_out.alpha, canvas.pixels, options)
        yield
        layers = place(cut_out.foreground, cut_out.alpha, canvas.pixels, placement)
        depth, notices = max(cut_out.depth, canvas.depth), (*cut_out.notices, *canvas.notices, *framing)
        free = free_below(cut_out.alpha)
        del cut_out, canvas  # free the memory of large pictures
        yield
        grid = self.estimate(layers)
        yield
        light = light_person(layers, options)
        yield
        layers, missing = add_shadow(layers, free, None if light is None else light.scene.coefficients, options)
        yield
        return self.recolor(layers, grid, light, options, depth, (*notices, *missing))

    @torch.no_grad()
    def matte(
        self, portrait: Source | Picture, mask: Source | None = None, hint: Source | None = None, person: str = "all"
    ) -> CutOut:
        """Cut the person out: by the mask, else by the portrait's transparency, else by the matting network.

        Args:
            portrait: a path, bytes, a PIL image, an array or a tensor.
            mask: white where the person is.
            hint: strokes or a rough mask for the matting network: white is kept, black removed, grey or transparent
                unknown.
            person: which people are kept, as `PersonOptions` says.

        Raises:
            ValueError: a picture that cannot be read, nobody in it, a mask or hint of another size, a mask that shows
                nobody, or a hint where no network is asked.
            OSError: a file cannot be opened.
        """
        person = PersonOptions(person).person
        picture = self._read(portrait, "the portrait")
        if mask is not None:
            if hint is not None:
                raise ValueError("a mask and a hint were given; the hint is for the matting network: give one of them")
            alpha = keep_people(self._read_mask(mask, picture, "the portrait"), person)
            return CutOut(estimate_foreground(picture.pixels, alpha), alpha, picture.depth, picture.notices)
        notices = picture.notices
        if picture.alpha is not None and hint is None:
            if self.matting is None or picture.alpha.mean().item() <= MOST_COVERAGE:
                check_visible(picture.alpha, "the portrait's transparency")
                return CutOut(picture.pixels, keep_people(picture.alpha, person), picture.depth, notices)
            notices = (*notices, _OPAQUE)
        if self.matting is None:
            raise ValueError("no matting network is loaded: give a mask, or a portrait with transparency")
        marks = None if hint is None else self._read_hint(hint, picture)
        foreground, alpha = matte(self.matting, picture.pixels, marks, person)
        return CutOut(foreground, alpha, picture.depth, (*notices, *matte_notices(alpha)))

    @torch.no_grad()
    def canvas(self, background: Source | Picture, options: PlacementOptions) -> Picture:
        """Make the canvas of a background: cropped or extended to the result's size, and blurred.

        Raises:
            ValueError: the picture cannot be read, or is too small.
            OSError: the file cannot be opened.
        """
        scene = self._read(background, "the background")
        opaque = () if scene.alpha is None else ("The background's transparency was ignored.",)
        pixels = fit_background(scene.pixels, options.size, options.fit, options.blur)
        return Picture(pixels, None, scene.depth, (*scene.notices, *opaque))

    @torch.no_grad()
    def estimate(self, layers: Layers) -> AffineGrid:
        """Ask the harmonizer for the colour change of layers.

        Raises:
            ValueError: its answer is not finite.
        """
        grid = self.harmonizer(layers)
        if not grid.matrix.isfinite().all():
            raise ValueError("the harmonizer's answer holds numbers that are not finite; its weights may be damaged")
        return grid

    @torch.no_grad()
    def recolor(
        self,
        layers: Layers,
        grid: AffineGrid,  # of `estimate`
        light: Lighting | None,  # of `light_person`
        options: HarmonizeOptions,
        depth: int = 8,
        notices: tuple[str, ...] = (),
    ) -> Composition:
        """Recolour layers by the harmonizer's grid, the light and the user's wishes, finish and flatten."""
        layers = layers.recolor(adjust(grid, options, None if light is None else light.grid))
        layers = finish(layers, options)
        return Composition(layers.composite(), layers, grid, options, depth, notices, light)

    @torch.no_grad()
    def harmonize(
        self, composite: Source, mask: Source, options: HarmonizeOptions | None = None, **settings: object
    ) -> Composition:
        """Match the colours of the masked part of a ready composite to the rest of it.

        Args:
            composite: a path, bytes, a PIL image, an array or a tensor.
            mask: white where the foreground is.
            options: see `HarmonizeOptions`.
            settings: single fields of `HarmonizeOptions` by name; they override `options`.

        Raises:
            ValueError: a picture cannot be read, the mask has another size or is black, or an option is out of range.
            OSError: a file cannot be opened.
        """
        options = changed(HarmonizeOptions, options, settings)
        picture = self._read(composite, "the composite")
        layers = Layers(picture.pixels, self._read_mask(mask, picture, "the composite"), picture.pixels)
        grid, light = self.estimate(layers), light_person(layers, options)
        return self.recolor(layers, grid, light, options, picture.depth, picture.notices)

    def video(
        self,
        portrait: Source,
        background: Source,
        destination: str | Path,
        options: VideoOptions | None = None,
        *,
        mask: Source | None = None,
        progress: "Progress | None" = None,
        **settings: object,
    ) -> "VideoReport":
        """Put the person of a clip or picture into a clip or picture, and write a video (extra `video`).

        Args:
            portrait: a path of a clip, or a picture as `Pipeline` takes it.
            background: likewise; at least one of the two is a clip.
            destination: .mp4, .m4v, .mov, .mkv or .webm.
            options: see `VideoOptions`.
            mask: a picture or clip that is white where the person is.
            progress: called with frames done, seconds done and seconds in all (None where unknown).
            settings: single fields of `VideoOptions` by name; they override `options`.

        Raises:
            ValueError: a file cannot be read, an option is out of range, or no person is found in a still portrait.
            OSError: a file cannot be opened or written.
        """
        from .video.run import compose_video

        options = changed(VideoOptions, options, settings)
        return compose_video(
            portrait, background, destination, self.harmonizer, self.matting, options, mask=mask, progress=progress
        )

    def frames(
        self,
        portrait: Source,
        background: Source,
        options: FrameOptions | None = None,
        *,
        mask: Source | None = None,
        **settings: object,
    ) -> "Iterator[ComposedFrame]":
        """Compose as `video` does, and yield each frame (`pixels` uint8 [H,W,3], `time` [s]) instead of writing it."""
        from .video.run import compose_frames

        options = changed(FrameOptions, options, settings)
        return compose_frames(portrait, background, self.harmonizer, self.matting, options, mask=mask)

    def matte_video(
        self,
        portrait: str | Path,
        destination: str | Path,
        options: ClipOptions | None = None,
        *,
        mask: Source | None = None,
        alpha_only: bool = False,
        progress: "Progress | None" = None,
        **settings: object,
    ) -> "VideoReport":
        """Cut the person out of every frame of a clip, and write a video with transparency.

        Args:
            portrait: the path of a clip.
            destination: .mov or .mkv (ProRes), .webm (VP9), and .mp4 where `alpha_only`.
            options: see `ClipOptions`.
            mask: a picture or clip that is white where the person is.
            alpha_only: write the alpha as a grey video.
            progress: called with frames done, seconds done and seconds in all (None where unknown).
            settings: single fields of `ClipOptions` by name; they override `options`.

        Raises:
            ValueError: a file cannot be read, or an option is out of range.
            OSError: a file cannot be opened or written.
        """
        from .video.run import cut_out_video

        options = changed(ClipOptions, options, settings)
        return cut_out_video(
            portrait, destination, self.matting, options, mask=mask, alpha_only=alpha_only, progress=progress
        )

    def _read(self, source: Source | Picture, role: str) -> Picture:
        picture = read_picture(source, self.max_pixels)
        height, width = picture.size
        if min(height, width) < _LEAST_SIDE:
            raise ValueError(f"{role} is {width}x{height} px; at least {_LEAST_SIDE}x{_LEAST_SIDE} are needed")
        return picture

    def _read_hint(self, source: Source, portrait: Picture) -> Tensor:
        """Read a hint [1,1,H,W]: 1 keep, -1 remove, 0 unknown."""
        hint = read_picture(source, self.max_pixels)
        if hint.size != portrait.size:
            raise ValueError(
                f"the hint is {hint.size[1]}x{hint.size[0]} px, the portrait {portrait.size[1]}x{portrait.size[0]}; "
                "they must be the same size"
            )
        known = torch.ones_like(hint.pixels[:, :1]) if hint.alpha is None else (hint.alpha > 0.5).float()
        shade = luma(hint.pixels)
        plain = (hint.pixels - (2 * shade).round() / 2).abs().amax(dim=1, keepdim=True) < _PLAIN
        if (plain * known).sum() < _LEAST_PLAIN * known.sum():
            raise ValueError("the hint is a coloured picture; expected strokes: white, black, and grey or transparent")
        marks = ((shade > _KEEP).float() - (shade < 1 - _KEEP).float()) * known
        if not marks.any() or bool((marks < 0).all()):  # strokes that only remove are fine
            raise ValueError(
                "the hint marks nothing to keep: white is kept, black removed, grey or transparent unknown"
            )
        return marks

    def _read_mask(self, source: Source, picture: Picture, role: str) -> Tensor:
        mask = read_mask(source, self.max_pixels)
        height, width = mask.shape[-2:]
        if (height, width) != picture.size:
            raise ValueError(
                f"the mask is {width}x{height} px, {role} {picture.size[1]}x{picture.size[0]}; "
                "they must be the same size"
            )
        check_visible(mask, "the mask")
        return mask


def run_steps(steps: Generator[None, None, Result], between: Callable[[], None] | None = None) -> Result:
    """Run the steps of `Pipeline.steps` to their end and return the result.

    Args:
        steps: what to run.
        between: called between two steps; an error that it raises stops the work.
    """
    try:
        while True:
            next(steps)
            if between is not None:
                between()
    except StopIteration as end:
        result: Result = end.value
        return result
