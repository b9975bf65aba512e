"""What lies between a file's bytes and a picture: samples that may be in a colour space of their own.

Knows how a refusal is said, and what orientation, profiles and code points do to samples. Knows no file format.
"""

from dataclasses import dataclass, replace

from PIL import Image

from .colors import HDR, Colors, colors_of_codes
from .picture import Samples
from .profile import hdr_of, image_to_srgb, is_srgb

MOST_FRAMES = 1000  # that are counted

_ORIENTATION = 0x0112  # the Exif tag


@dataclass(frozen=True)
class Decoded:
    """Upright samples, still in their own colour space where `profile` or `colors` is given."""

    samples: Samples  # [H,W] or [H,W,3]
    alpha: Samples | None = None  # [H,W]
    profile: bytes | None = None
    colors: Colors | None = None
    notices: tuple[str, ...] = ()
    labels: bool = False  # the samples are a palette's colours


@dataclass(frozen=True)
class File:
    """A file's bytes and what was learned before they are decoded."""

    data: bytes
    name: str
    managed: bool  # colours are converted to sRGB
    max_pixels: int

    def require_size(self, width: int, height: int) -> None:
        """Refuse what holds too many pixels, or none."""
        if width < 1 or height < 1:
            raise ValueError(f"{self.name} is damaged: it is {width}x{height} px")
        if width * height > self.max_pixels:
            most = f"{self.max_pixels / 1e6:g} million pixels"
            raise ValueError(f"{self.name} is {width}x{height} px; pictures of more than {most} are refused")

    def damage(self, error: BaseException) -> ValueError:
        """Say that the file is damaged, in one line."""
        if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():
            return ValueError(f"{self.name} does not fit into the memory")
        return ValueError(f"{self.name} is damaged: {' '.join(str(error).split()) or type(error).__name__}")


def split_alpha(samples: Samples) -> Decoded:
    """Take the fourth channel for alpha."""
    if samples.ndim == 3 and samples.shape[2] == 4:
        return Decoded(samples[..., :3], samples[..., 3])
    return Decoded(samples)


def with_codes(decoded: Decoded, file: File, codes: tuple[int, int] | None, has_profile: bool = False) -> Decoded:
    """Heed the colours that a file states by code points; of one with a profile, whether it is HDR."""
    if codes is None or not file.managed:
        return decoded
    if codes[1] in HDR:
        raise _hdr(file.name, HDR[codes[1]])
    if has_profile:
        return decoded
    colors = colors_of_codes(*codes)
    if colors is None:
        unknown = f"{file.name}: its colour space ({codes[0]}, {codes[1]}) is not known; it is taken as sRGB"
        return replace(decoded, notices=(*decoded.notices, unknown))
    return decoded if colors.is_srgb else replace(decoded, colors=colors)


def with_profile(decoded: Decoded, profile: bytes | None, file: File) -> Decoded:
    """Give samples of 16 bits the profile that they are to be converted by."""
    if not profile or not file.managed:
        return decoded
    _require_sdr(profile, file.name)
    return decoded if is_srgb(profile) else replace(decoded, profile=profile)


def _require_sdr(profile: bytes, name: str) -> None:
    kind = hdr_of(profile)
    if kind is not None:
        raise _hdr(name, kind)


def _hdr(name: str, kind: str) -> ValueError:
    return ValueError(f"{name} is a {kind} picture; convert it to SDR first (tone mapping is not ours)")


def to_srgb(image: Image.Image, profile: bytes | None, file: File) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert an 8-bit image by its profile, or say why not -> image of mode L or RGB, notices."""
    notices: tuple[str, ...] = ()
    if profile and not is_srgb(profile):
        _require_sdr(profile, file.name)
        try:
            return image_to_srgb(image, profile), ()
        except ValueError as error:
            notices = (f"{file.name}: {error}; its colours are taken as sRGB",)
    elif image.mode == "CMYK":
        notices = (f"{file.name} is CMYK without a profile: its colours are approximate",)
    return (image.convert("RGB") if image.mode == "CMYK" else image), notices


def frames_notice(frames: int, name: str) -> tuple[str, ...]:
    """Say that a file has more than the one frame that is used."""
    told = str(frames) if frames <= MOST_FRAMES else f"more than {MOST_FRAMES}"
    return (f"{name} has {told} frames; the first is used",) if frames > 1 else ()


def orientation_in(exif: bytes) -> object:
    """Read the orientation from Exif data; 1 where it cannot be read."""
    tags = Image.Exif()
    try:
        tags.load(exif)
        return tags.get(_ORIENTATION, 1)
    except Exception:
        return 1


def upright(samples: Samples, orientation: object) -> Samples:
    """Undo the camera's orientation [Exif 2.32, tag 0x0112]; what is none of its eight values changes nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
