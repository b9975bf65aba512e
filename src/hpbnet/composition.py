"""The results of the pipeline: a cut-out person, and a composed picture with its layers and colour grid."""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from safetensors.torch import save
from torch import Tensor, cat

from .affine_grid import AffineGrid
from .finish import adjust
from .image import encode_picture, format_of, write_bytes, write_picture
from .image.picture import to_samples
from .layers import Layers
from .light import Lighting
from .options import HarmonizeOptions


@dataclass(frozen=True)
class CutOut:
    """A cut-out person: foreground colours and alpha."""

    foreground: Tensor  # [1,3,H,W] sRGB in [0,1], without the old background's colours at soft edges
    alpha: Tensor  # [1,1,H,W] straight
    depth: int = 8  # [bit] of the portrait: 8 or 16
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.alpha.shape[-2:]
        return height, width

    def alpha_only(self) -> "CutOut":
        """Return the alpha as an opaque grey picture."""
        return replace(self, foreground=self.alpha, alpha=self.alpha.new_ones(()).expand_as(self.alpha))

    def encode(self, format: str = "png", quality: int = 95) -> bytes:
        """Return the bytes of a file, transparent outside the person."""
        opaque = bool((self.alpha == 1).all())
        return encode_picture(self.foreground, None if opaque else self.alpha, format, self.depth, quality)

    def save(self, path: str | Path, format: str | None = None, quality: int = 95) -> None:
        """Write a file, by default in the format of its suffix; on an OSError the old file is kept."""
        write_bytes(path, self.encode(format or format_of(path), quality))

    def to_pil(self) -> Image.Image:
        """Return an 8-bit PIL image with transparency."""
        foreground = self.foreground.expand(-1, 3, -1, -1)
        return Image.fromarray(to_samples(cat([foreground, self.alpha], dim=1)), "RGBA")

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        return encode_picture(self.foreground, self.alpha)


@dataclass(frozen=True)
class Composition:
    """A composed picture, with its layers and colour grid."""

    image: Tensor  # [1,3,H,W] sRGB in [0,1]
    layers: Layers  # with the recoloured foreground; `composite` flattens them to `image`
    grid: AffineGrid  # the harmonizer's result, before strength and grade
    options: HarmonizeOptions
    depth: int = 8  # [bit] 16 if a source has 16
    notices: tuple[str, ...] = ()  # sentences about what may look wrong
    light: Lighting | None = None  # what was read of the light, and its change; None where no light was asked for

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.layers.size

    @property
    def whole_grid(self) -> AffineGrid:
        """The colour change that was applied: the harmonizer's, light and grade in one grid."""
        return adjust(self.grid, self.options, None if self.light is None else self.light.grid)

    def encode(self, format: str = "png", quality: int = 95) -> bytes:
        """Return the bytes of a file; `format` is png, jpg, webp, tif or avif."""
        return encode_picture(self.image, None, format, self.depth, quality)

    def save(self, path: str | Path, format: str | None = None, quality: int = 95) -> None:
        """Write a file, by default in the format of its suffix; on an OSError the old file is kept."""
        write_bytes(path, self.encode(format or format_of(path), quality))

    def save_layers(self, folder: str | Path) -> None:
        """Write foreground.png, alpha.png, background.png and grid.safetensors (`matrix`, and `light` if any).

        Where there is a shadow, also shadow.png: black with the shadow's opacity, to lie between the two.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("foreground", "alpha", "background"):
            write_picture(folder / f"{name}.png", getattr(self.layers, name), depth=self.depth)
        (folder / "shadow.png").unlink(missing_ok=True)  # of another result that was there
        if self.layers.shadow is not None:
            shadow = self.layers.full_shadow()
            write_picture(folder / "shadow.png", shadow.new_zeros(()).expand_as(shadow), shadow, self.depth)
        grids = {"matrix": self.grid.matrix.contiguous()}
        if self.light is not None:
            grids["light"] = self.light.grid.matrix.contiguous()
        write_bytes(folder / "grid.safetensors", save(grids))

    def to_pil(self) -> Image.Image:
        """Return an 8-bit PIL image."""
        return Image.fromarray(to_samples(self.image))

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        return encode_picture(self.image)
