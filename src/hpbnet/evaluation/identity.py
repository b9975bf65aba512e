"""Faces in an evaluation: where they are, whose they are, and the tone of their skin.

Knows how a face is found (YuNet, or a box that a manifest gives) and how its skin is measured. Faces are located in the
truth only; harmonization moves nothing, so the same points hold for composite and outputs.
"""

import math
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import rgb_to_lab
from ..image.picture import to_samples
from ..networks.face import MobileFaceNet, align_face, load_face_network
from .backbones import WeightsFolder, read_tensors
from .dataset import PhotoLight

Box = tuple[float, float, float, float]  # x, y, width, height [px]

# Where YuNet sees eyes, nose and mouth corners in a detector's box: medians over 219 portraits.
_POINTS_IN_BOX = ((0.263, 0.397), (0.739, 0.393), (0.496, 0.602), (0.292, 0.735), (0.713, 0.734))
_DETECTION_SIDE = 640  # [px] larger pictures are shrunk first
_LEAST_SCORE = 0.6
_PHOTO_GAMMA = 2.2  # of the light in which `synthesize` multiplies by its gains
_CHEEKS = (slice(58, 84), slice(24, 72))  # rows, columns of an aligned face between eyes and mouth

# Individual typology angle [deg]: six classes of Chardon et al. 1991 and Del Bino et al. 2006, merged to four.
SKIN_GROUPS = (("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown and dark", -math.inf))


class FaceFinder(Protocol):
    """Five points [5,2] of the largest face of a picture [1,3,H,W], or None."""

    def __call__(self, picture: Tensor, box: Box | None) -> Tensor | None:
        """Find the face; a box given by the dataset may help."""


def points_from_box(picture: Tensor, box: Box | None) -> Tensor | None:
    """Guess the five points of an upright face from its box alone."""
    if box is None:
        return None
    return torch.tensor(_POINTS_IN_BOX) * torch.tensor(box[2:]) + torch.tensor(box[:2])


class YuNet:
    """The face detector of OpenCV's model zoo; where it finds nothing, the dataset's box is used."""

    def __init__(self, path: Path) -> None:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns of targets not chosen
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _LEAST_SCORE)
        except cv2.error as error:
            raise ValueError(f"{path} is not a face detector that OpenCV can read: {error.err}") from None
        finally:
            cv2.utils.logging.setLogLevel(level)

    def __call__(self, picture: Tensor, box: Box | None) -> Tensor | None:
        """Find the largest face."""
        scale = min(1.0, _DETECTION_SIDE / max(picture.shape[-2:]))
        size = [max(1, round(side * scale)) for side in picture.shape[-2:]]
        small = F.interpolate(picture, size, mode="area") if scale < 1 else picture
        pixels = to_samples(small.flip(1))  # BGR
        self._detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        faces = self._detector.detect(pixels)[1]
        if faces is None:
            return points_from_box(picture, box)
        largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
        return torch.from_numpy(largest[4:14].reshape(5, 2).copy()) / scale


def load_face_finder(weights: WeightsFolder | None) -> FaceFinder:
    """Choose YuNet where its file is there, else the boxes of the dataset."""
    path = weights.face_detector() if weights else None
    return YuNet(path) if path else points_from_box


def load_embedder(weights: WeightsFolder | None) -> MobileFaceNet | None:
    """Load the face network where its file is there."""
    path = weights.face_network() if weights else None
    return load_face_network(read_tensors(path)) if path else None


def embed(network: MobileFaceNet, picture: Tensor, points: Tensor) -> Tensor:
    """Embed the face of a picture at known points -> [1,128]."""
    embedding: Tensor = network(align_face(picture, points))
    return embedding


def typology_angle(picture: Tensor, points: Tensor, light: PhotoLight) -> float | None:
    """Individual typology angle [deg] of the cheeks: atan2(L* - 50, b*) of their median colour.

    It is meant to tell the person's skin, not the light: known white balance gains are undone first, and where more
    was done to the photo there is no angle. The light that the photo was taken in cannot be undone: a pale face in a
    dim red room counts as dark.
    """
    if light.graded:
        return None
    rows, columns = _CHEEKS
    gains = torch.tensor(light.gains).view(3, 1, 1) ** (1 / _PHOTO_GAMMA)
    skin = rgb_to_lab((align_face(picture, points) / gains).clamp(0, 1))[0, :, rows, columns].flatten(1)
    lightness, _, b = skin.median(dim=1).values.tolist()
    return math.degrees(math.atan2(lightness - 50, b))


def skin_group(angle: float) -> str:
    """Name the group of a typology angle."""
    return next(name for name, least in SKIN_GROUPS if angle > least)
