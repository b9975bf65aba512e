"""Time `hpbnet video` file to file, sound kept: one JSON object per line. Run it with nothing else busy.

{"size", "seconds_of_video", "fps", "peak_mb", "shares": {part: milliseconds of its thread a frame}}. Each size runs in
its own process, so that its peak memory is its own; the last row is a clip ten times longer, whose peak must not grow.
The person is scikit-image's astronaut, swaying before noise that moves, or a clip given as the first argument.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZES = ("640x480", "1280x720", "1920x1080")
SECONDS = 6
RATE = 30  # [1/s]
SAMPLE_RATE = 48000  # [1/s] of the sound


def make_clips(folder: Path, width: int, height: int, seconds: int) -> tuple[Path, Path]:
    """Write a clip of a person with a tone, and a clip of a moving place."""
    import cv2
    from skimage import data

    square = data.astronaut()
    upper = square[: round(len(square) * height / width)]  # in the clip's proportions: a stretched face is none
    face, place = (cv2.resize(picture, (width, height)) for picture in (upper, data.rocket()))

    def swayed(index: int) -> NDArray[np.uint8]:
        sway = np.float32([[1, 0, 12 * np.sin(index / 9)], [0, 1, 4 * np.cos(index / 7)]])
        return cv2.warpAffine(face, sway, (width, height), borderMode=cv2.BORDER_REPLICATE)

    moving = (np.roll(place, 2 * index, axis=1) for index in range(3 * RATE))
    write_clip(folder / "person.mp4", width, height, map(swayed, range(seconds * RATE)), sound_seconds=seconds)
    write_clip(folder / "place.mp4", width, height, moving)
    return folder / "person.mp4", folder / "place.mp4"


def write_clip(
    path: Path, width: int, height: int, frames: Iterable[NDArray[np.uint8]], sound_seconds: int = 0
) -> None:
    """Write frames [H,W,3] as H.264, with a tone if it is to last longer than 0 seconds."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        streams = [video, container.add_stream("aac", rate=SAMPLE_RATE)] if sound_seconds else [video]
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        for index in range(sound_seconds * SAMPLE_RATE // 1024):
            tone = np.sin((np.arange(1024, dtype=np.float32) + 1024 * index) * 0.06)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            block.sample_rate, block.pts = SAMPLE_RATE, 1024 * index
            container.mux(streams[-1].encode(block))
        for stream in streams:
            container.mux(stream.encode(None))


def bench(size: str, seconds: int, portrait: str | None) -> None:
    """Compose one video and print its row."""
    import hpbnet

    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        person, place = make_clips(Path(name), width, height, seconds)
        pipeline = hpbnet.Pipeline.from_pretrained()
        made = Path(name) / "made.mp4"
        report = pipeline.video(portrait or person, place, made, size=(width, height), end=float(seconds))
    shares = {part: round(spent / report.frames * 1000, 2) for part, spent in report.shares}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    row = {"size": size, "seconds_of_video": round(report.seconds, 2), "fps": round(report.frames / report.elapsed, 1)}
    print(json.dumps(row | {"peak_mb": round(peak), "shares": shares}), flush=True)


def main(portrait: str | None) -> None:
    """Measure each size in its own process, and the middle one on a clip ten times longer."""
    for size, seconds in [(size, SECONDS) for size in SIZES] + [(SIZES[0], 10 * SECONDS)]:
        subprocess.run([sys.executable, __file__, size, str(seconds), *([portrait] if portrait else [])], check=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) >= 2:
        bench(arguments[0], int(arguments[1]), arguments[2] if len(arguments) > 2 else None)
    else:
        main(arguments[0] if arguments else None)
