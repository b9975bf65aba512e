"""Small clips of a red disc for the tests of video."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor, nn

from hpbnet.affine_grid import AffineGrid
from hpbnet.layers import Layers
from hpbnet.matte import NetworkMatting
from hpbnet.video.write import Film, VideoWriter

WIDTH, HEIGHT = 96, 64
MILLISECOND = Fraction(1, 1000)


def ramp(width: int = 256, height: int = 64) -> np.ndarray:
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2)


def person(index: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A red disc on green; it moves with the index."""
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.zeros((*size, 3), np.uint8)
    picture[:] = (20, 140, 40)
    picture[(x - size[1] // 2 - index) ** 2 + (y - size[0] // 2) ** 2 < (size[0] // 3) ** 2] = (200, 60, 50)
    return picture


def film(path: Path, frames: list[np.ndarray], times: list[int] | None = None, **fields: object) -> Path:
    """Write a clip, its times in milliseconds."""
    height, width = frames[0].shape[:2]
    writer = VideoWriter(Film(path, width, height, MILLISECOND, Fraction(25), crf=8, **fields))  # type: ignore[arg-type]
    for pixels, time in zip(frames, times or [40 * index for index in range(len(frames))], strict=True):
        writer.write(pixels[:, :, :3], time, pixels[:, :, 3] if pixels.shape[2] == 4 else None)
    writer.close()
    return path


def film_with_tone(path: Path, frames: list[np.ndarray], codec: str = "aac") -> Path:
    """Write a clip with a tone, 25 frames a second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        for index in range(len(frames) * 1920 // 960):
            tone = np.sin(np.arange(960, dtype=np.float32) / 9 + index * 960 / 9)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp" if codec == "aac" else "flt", layout="mono")
            block.sample_rate, block.pts = 48000, index * 960
            container.mux(sound.encode(block))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[bytes]:
    """The payloads of a file's sound."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def mask_of(picture: np.ndarray) -> np.ndarray:
    return (picture[:, :, 0] > 128).astype(np.uint8) * 255


def keep(layers: Layers) -> AffineGrid:
    """A harmonizer that changes nothing and is not known to."""
    return AffineGrid.identity()


class Threshold(nn.Module):
    """Takes red pixels for a person; counts how often it was told a matte before."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bool] = []

    def forward(self, portrait: Tensor, previous: Tensor) -> Tensor:
        self.told.append(bool((previous >= 0).all()))
        return (portrait[:, :1] - portrait[:, 1:2]) * 100


def threshold() -> NetworkMatting:
    """The matting of red pixels, told the matte before."""
    return NetworkMatting(Threshold())  # type: ignore[arg-type]
