"""Run a segmentation network of others on the photos of `evaluate_matting.py`, to be compared by the same command.

    python tools/mattes_of_others.py FILE DATA PREPARED OUT [--looks 1] [--room 2] [--sets NAME ...] [--first N]
    python tools/evaluate_matting.py DATA PREPARED --answers 'OUT/{set}/{name}.png'

FILE is a network that OpenVINO reads (extra package openvino), of one square input of RGB in [0,1] and one output plane
of its size, such as pose_landmark_full.tflite of the package mediapipe 0.10.14 (Apache-2.0). The picture is padded to a
square, `--room` times as large: that network expects whole bodies and fails where a head fills its frame, so that
selfies want a room of 2. The second look is at the square around what the first took for people, a quarter larger (or
`--room` times as large). Existing answers are kept.
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from matting_cases import SETS, Floats

ROOM = 1.25  # side of the second look, as a share of the larger side of what was found, at the least
HIGH = 0.35  # share of the room that is above the middle of the picture: bodies go on below
Box = tuple[float, float, float]  # left, top, side [px]


class Network:
    """A network that OpenVINO runs."""

    def __init__(self, file: Path, threads: int) -> None:
        import openvino

        self._run = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_NUM_THREADS": threads})
        self.side = int(self._run.inputs[0].shape[1])
        shapes = [[int(side) for side in output.shape] for output in self._run.outputs]
        self._output = shapes.index([1, self.side, self.side, 1])

    def __call__(self, square: Floats) -> Floats:
        """[side,side,3] -> alpha [side,side]; logits are recognised by their range."""
        plane = np.asarray(self._run([square[None]])[self._output])[0, :, :, 0]
        logits = plane.min() < -0.01 or plane.max() > 1.01
        return cast(Floats, 1 / (1 + np.exp(-plane.clip(-30, 30))) if logits else plane)


def look(network: Network, photo: Floats, box: Box) -> Floats:
    """Let the network see a square of the photo; alpha [H,W], 0 outside."""
    left, top, side = box
    scale = network.side / side
    matrix = np.array([[scale, 0, -left * scale + (scale - 1) / 2], [0, scale, -top * scale + (scale - 1) / 2]])
    blurred = cv2.GaussianBlur(photo, (0, 0), 0.4 / scale) if scale < 0.8 else photo
    square = cv2.warpAffine(blurred, matrix, (network.side, network.side), flags=cv2.INTER_LINEAR)
    back, size = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR, (photo.shape[1], photo.shape[0])
    return cast(Floats, cv2.warpAffine(network(square), matrix, size, flags=back))


def answer(network: Network, photo: Floats, looks: int, room: float) -> Floats:
    """Alpha [H,W] of a photo [H,W,3]."""
    height, width = photo.shape[:2]
    side = room * max(height, width)
    high = HIGH if room > 1 else 0.5
    alpha = look(network, photo, ((width - side) / 2, height / 2 - high * side, side))
    seen = (alpha > 0.5).astype(np.uint8)
    if looks == 2 and seen.any():
        x, y, wide, tall = cv2.boundingRect(seen)
        closer = min(side, max(ROOM, room) * max(wide, tall))
        alpha = look(network, photo, (x + (wide - closer) / 2, y + tall / 2 - high * closer, closer))
    return alpha


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--looks", type=int, default=2, choices=(1, 2))
    parser.add_argument("--room", type=float, default=1.0)
    parser.add_argument("--sets", nargs="+", default=["selfies", "people", "pasted", "empty", "heads"], choices=[*SETS])
    parser.add_argument("--first", type=int, default=0, help="photos of each set; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    network = Network(arguments.file, arguments.threads)
    for name in arguments.sets:
        (arguments.out / name).mkdir(parents=True, exist_ok=True)
        for case in islice(SETS[name](arguments.data, arguments.prepared), arguments.first or None):
            file = arguments.out / name / f"{case.name}.png"
            if not file.exists():
                photo = np.ascontiguousarray(case.photo[0].permute(1, 2, 0).numpy())
                cv2.imwrite(
                    str(file), (answer(network, photo, arguments.looks, arguments.room) * 255).round().astype(np.uint8)
                )


if __name__ == "__main__":
    main()
