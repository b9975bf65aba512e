"""Results as files: pictures in each format, the cut-out, the layers as a zip and as OpenRaster, and the settings."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from ..composition import Composition, CutOut
from ..image import FORMATS, encode_picture
from ..layers import Layers

MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tif16": "image/tiff",
    "avif": "image/avif",
    "cutout": "image/png",
    "layers": "application/zip",
    "ora": "image/openraster",
    "settings": "application/json",
}
_SUFFIXES = {"tif16": "tif", "cutout": "png", "layers": "zip", "settings": "json"}
_NAMES = {"cutout": "cut-out", "layers": "layers", "settings": "settings"}
_THUMBNAIL = 256  # [px] longer side, as OpenRaster asks for


@dataclass(frozen=True)
class Download:
    """A file to be saved."""

    data: bytes
    media_type: str
    name: str


def as_download(format: str, data: bytes) -> Download:
    """Give a file's bytes the name and type of its format."""
    name = f"hpbnet-{_NAMES.get(format, 'result')}.{_SUFFIXES.get(format, format)}"
    return Download(data, MEDIA_TYPES[format], name)


def check_format(format: object, known: tuple[str, ...] = tuple(MEDIA_TYPES)) -> str:
    """Return a format's name.

    Raises:
        ValueError: there is no such format.
    """
    name = {"jpeg": "jpg", "tiff": "tif"}.get(str(format), str(format))
    if name not in known:
        raise ValueError(f"format is {str(format)[:60]!r}; expected one of {', '.join(known)}")
    return name


def check_quality(quality: object) -> int:
    """Return a quality for JPEG, WebP and AVIF.

    Raises:
        ValueError: it is no whole number from 1 to 100.
    """
    text = str(quality)
    if isinstance(quality, bool) or not (text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 100):
        raise ValueError(f"quality is {text[:20]!r}; expected a whole number from 1 to 100")
    return int(text)


def encode_result(composition: Composition, format: str, quality: int, folder: Path) -> bytes:
    """Encode a composed picture: in a picture's format, or as `tif16`, `layers` or `ora`.

    Args:
        composition: what to encode.
        format: see `MEDIA_TYPES`.
        quality: of jpg, webp and avif.
        folder: where temporary files may be written.
    """
    if format == "tif16":
        return encode_picture(composition.image, None, "tif", 16, quality)
    if format == "layers":
        return layers_zip(composition, folder)
    if format == "ora":
        return open_raster(composition)
    assert format in FORMATS
    return composition.encode(format, quality)


def layers_zip(composition: Composition, folder: Path) -> bytes:
    """Pack what `Composition.save_layers` writes, the person with transparency, and the result."""
    file = io.BytesIO()
    with TemporaryDirectory(dir=folder) as written, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        composition.save_layers(written)
        for path in sorted(Path(written).iterdir()):
            archive.write(path, path.name)
        layers, depth = composition.layers, composition.depth
        archive.writestr("person.png", CutOut(layers.foreground, layers.alpha, depth).encode())
        archive.writestr("result.png", composition.encode())
    return file.getvalue()


def open_raster(composition: Composition) -> bytes:
    """Write background, shadow and person as layers of a file that GIMP and Krita open [OpenRaster 0.0.6]."""
    layers = composition.layers
    height, width = layers.size
    stack = {"person": encode_picture(layers.foreground, layers.alpha)}
    if layers.shadow is not None:
        opacity = layers.full_shadow()
        stack["shadow"] = encode_picture(opacity.new_zeros(()).expand(1, 3, height, width), opacity)
    stack["background"] = encode_picture(layers.background)
    rows = "\n".join(
        f'    <layer name="{name.capitalize()}" src="data/{name}.png" x="0" y="0" opacity="1.0" visibility="visible" '
        'composite-op="svg:src-over"/>'
        for name in stack
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<image version="0.0.6" w="{width}" h="{height}" xres="72" yres="72">\n  <stack>\n{rows}\n  </stack>\n'
        "</image>\n"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("mimetype", "image/openraster")  # first and stored, so that its bytes tell the file's kind
        archive.writestr("stack.xml", xml, zipfile.ZIP_DEFLATED)
        for name, data in stack.items():
            archive.writestr(f"data/{name}.png", data)
        archive.writestr("mergedimage.png", encode_picture(composition.image))
        archive.writestr("Thumbnails/thumbnail.png", encode_picture(_thumbnail(layers, composition.image)))
    return file.getvalue()


def _thumbnail(layers: Layers, image: Tensor) -> Tensor:
    height, width = layers.size
    scale = min(1.0, _THUMBNAIL / max(height, width))
    flat = Layers(image, layers.alpha.new_ones(()).expand_as(layers.alpha), image)
    return flat.resize(max(1, round(height * scale)), max(1, round(width * scale))).background
