"""Time `hpbnet video` file to file, sound kept: one JSON object a line. Run it with nothing else busy.

{"size", "seconds_of_video", "fps", "peak_mb", "shares": {part: milliseconds of its thread a frame}}. Each size runs in
its own process, so that its peak memory is its own; the last row is a clip ten times longer, whose peak must not grow.
The person is scikit-image's astronaut, swaying before noise that moves, or a clip given as the first argument.
"""

import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

SIZES = ("640x480", "1280x720", "1920x1080")
SECONDS = 6
RATE = 30


def make_clips(folder: Path, width: int, height: int, seconds: int) -> tuple[Path, Path]:
    """Write a clip of a person with a tone, and a clip of a moving place."""
    import av
    import cv2
    import numpy as np
    from skimage import data

    square = data.astronaut()
    upper = square[: round(len(square) * height / width)]  # in the clip's proportions: a stretched face is none
    face, place = (cv2.resize(picture, (width, height)) for picture in (upper, data.rocket()))
    with av.open(str(folder / "person.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for index in range(seconds * RATE):
            sway = np.float32([[1, 0, 12 * np.sin(index / 9)], [0, 1, 4 * np.cos(index / 7)]])
            frame = cv2.warpAffine(face, sway, (width, height), borderMode=cv2.BORDER_REPLICATE)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        for index in range(seconds * 48000 // 1024):
            tone = np.sin((np.arange(1024, dtype=np.float32) + 1024 * index) * 0.06)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            block.sample_rate, block.pts = 48000, 1024 * index
            container.mux(sound.encode(block))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    from hpbnet.video.write import Film, VideoWriter

    writer = VideoWriter(Film(folder / "place.mp4", width, height, Fraction(1, RATE), Fraction(RATE)))
    for index in range(3 * RATE):
        writer.write(np.ascontiguousarray(np.roll(place, 2 * index, axis=1)), index)
    writer.close()
    return folder / "person.mp4", folder / "place.mp4"


def bench(size: str, seconds: int, portrait: str | None) -> None:
    """Compose one video and print its row."""
    import hpbnet
    from hpbnet.video.options import VideoOptions
    from hpbnet.video.run import compose_video

    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        person, place = make_clips(Path(name), width, height, seconds)
        pipeline = hpbnet.Pipeline.from_pretrained()
        options = VideoOptions(size=(width, height), end=float(seconds))
        harmonizer, matting = pipeline.harmonizer, pipeline.matting
        made = Path(name) / "made.mp4"
        report = compose_video(portrait or person, place, made, harmonizer, matting, options)
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
