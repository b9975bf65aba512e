"""The face embedding: strict loading, alignment, and that it tells people apart."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hpbnet.metrics import identity_cosine
from hpbnet.networks.face import REFERENCE_POINTS, MobileFaceNet, align_face, load_face_network, similarity


def published(shared: Path) -> dict[str, Tensor]:
    file = torch.load(shared / "weights/mobilefacenet.ckpt", map_location="cpu", weights_only=True)
    tensors: dict[str, Tensor] = file["net_state_dict"]
    return tensors


def test_faces_become_embeddings_of_128_numbers() -> None:
    with torch.no_grad():
        assert MobileFaceNet().eval()(torch.rand(2, 3, 112, 96)).shape == (2, 128)


def test_a_face_of_another_size_is_refused() -> None:
    with pytest.raises(AssertionError, match="112, 112"):
        MobileFaceNet()(torch.rand(1, 3, 112, 112))


def test_published_weights_load_strictly(shared: Path) -> None:
    tensors = published(shared)
    assert load_face_network(tensors).linear7.conv.weight.shape == (512, 1, 7, 6)
    with pytest.raises(ValueError, match=r"not MobileFaceNet's: Missing key.*conv1\.conv\.weight"):
        load_face_network({name: tensor for name, tensor in tensors.items() if name != "conv1.conv.weight"})
    with pytest.raises(ValueError, match=r"not MobileFaceNet's: Unexpected key.*surplus"):
        load_face_network(tensors | {"surplus": torch.zeros(1)})


def test_similarity_recovers_rotation_scale_and_shift() -> None:
    points = torch.tensor(REFERENCE_POINTS)
    angle, scale = math.radians(20), 2.5
    rotation = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = points @ rotation.T + torch.tensor([30.0, -7.0])
    expected = torch.cat([rotation, torch.tensor([[30.0], [-7.0]])], dim=1)
    torch.testing.assert_close(similarity(points, moved), expected, atol=1e-4, rtol=0)


def test_a_face_already_at_the_reference_points_is_left_alone(generator: torch.Generator) -> None:
    face = torch.rand(1, 3, 112, 96, generator=generator)
    torch.testing.assert_close(align_face(face, torch.tensor(REFERENCE_POINTS)), face, atol=1e-4, rtol=0)


def test_alignment_undoes_a_mirrorless_turn_of_the_picture(generator: torch.Generator) -> None:
    face = torch.rand(1, 3, 112, 96, generator=generator)
    turned = face.rot90(1, dims=(2, 3))  # counter-clockwise: (x, y) -> (y, 95 - x)
    points = torch.tensor([[y, 95 - x] for x, y in REFERENCE_POINTS])
    torch.testing.assert_close(align_face(turned, points), face, atol=1e-3, rtol=0)


def test_the_same_person_is_near_and_another_is_far(shared: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    network = load_face_network(published(shared))
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    detector = cv2.FaceDetectorYN.create(str(shared / "weights/yunet.onnx"), "", (320, 320), 0.6)
    cv2.utils.logging.setLogLevel(level)
    photos = sorted((shared / "data/portraits/images").glob("london-cfd*front_*"))
    people = {number: [p for p in photos if f"front_{number}_" in p.name] for number in ("001", "002", "003", "004")}
    people = {number: found[:2] for number, found in people.items() if len(found) >= 2}
    assert len(people) >= 2
    embeddings = []
    for path in (path for found in people.values() for path in found):
        with Image.open(path) as file:
            pixels = np.array(file.convert("RGB"))
        detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        points = torch.from_numpy(detector.detect(pixels[:, :, ::-1].copy())[1][0, 4:14]).view(5, 2)
        embeddings.append(network(align_face(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, points)))
    same = identity_cosine(torch.cat(embeddings[::2]), torch.cat(embeddings[1::2]))
    other = identity_cosine(torch.cat(embeddings[:-2:2]), torch.cat(embeddings[2::2]))
    assert same.min() > 0.6
    assert other.max() < 0.5
