"""Teach the network of faces' normals by the depth that a published network finds in faces.

    python runs/normals.py prepare PREPARED TEACHER YUNET OUT.pt [--count 1400]
    python runs/normals.py train OUT.pt normals.safetensors [--minutes 30] [--start normals.safetensors]

PREPARED is what `tools/prepare_mattes.py` writes, TEACHER the tensors of [HSSL22] (Face Relighting with Geometrically
Consistent Shadows, MIT), YUNET OpenCV's face detector. Each item is a person's box at 64 px: RGB, alpha, the teacher's
normals in the face, and how far they count [8,64,64].
"""

import argparse
import json
import math
import random
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hpbnet.checkpoint import Checkpoint, read_foreign_tensors, write_checkpoint
from hpbnet.models import load_network
from hpbnet.networks.normals import NormalsNetwork
from hpbnet.relight import smooth
from hpbnet.training.cuts import Pixels, read_cut, read_people
from hpbnet.training.optimise import Ema

Box = tuple[float, float, float, float]  # x, y, width, height [px]

SIDE, SEEN = 64, 256  # [px] of the items; of the teacher's picture
LONGEST, LEAST_FACE = 360, 30  # [px] of a photo; of a face
CROP, FACE_EDGE = 1.2, 0.35  # side of the teacher's picture in faces; width of the soft edge, in radii
DEPTH_BLUR, DEPTH_SCALE = 2.5, 100.0  # [px] of the teacher's picture; its last layer's unit
BATCH, RATE, WEIGHT_DECAY = 24, 2e-3, 0.02
ANGLE_WEIGHT = 3.0


class Teacher:
    """The encoder and the depth decoder of [HSSL22]."""

    def __init__(self, path: Path) -> None:
        self.tensors = read_foreign_tensors(path)

    @torch.inference_mode()
    def depth(self, face: Tensor) -> Tensor:
        """Height [B,1,256,256] of faces [B,3,256,256], in pixels towards the camera."""
        x = self._active("c1_og", "conv_c1_og", face)
        skips = [x]
        x = F.max_pool2d(x, 2)
        for scale in (1, 2, 3, 4):
            before = (
                x if scale == 1 else self._plain(f"shortcut_h{scale - 1}_out", f"conv_shortcut_h{scale - 1}_out", x)
            )
            inner = self._active(f"h{scale}_1", f"conv_h{scale}_1", x)
            x = F.leaky_relu(before + self._plain(f"h{scale}_2", f"conv_h{scale}_2", inner), 0.2)
            if scale < 4:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        x = x[:, :128]  # the rest tells the light
        shortcuts = ("all_features", "h5_out", "h6_out", None)
        for index, (scale, shortcut) in enumerate(zip((5, 6, 7, 8), shortcuts, strict=True)):
            inner = self._active(f"depth_h{scale}_1", f"deconv_depth_h{scale}_1", x)
            inner = self._plain(f"depth_h{scale}_2", f"deconv_depth_h{scale}_2", inner)
            name = f"depth_shortcut_{shortcut}"
            before = x if shortcut is None else self._plain(name, f"deconv_{name}", x)
            x = F.interpolate(F.leaky_relu(before + inner, 0.2), scale_factor=2.0, mode="nearest")
            skip, name = skips[3 - index], f"depth_skip_s{index + 1}"
            inner = self._plain(f"{name}_2", f"conv_{name}_2", self._active(f"{name}_1", f"conv_{name}_1", skip))
            x = x + F.leaky_relu(skip + inner, 0.2)
        for layer in (1, 2, 3):
            x = self._active(f"depth_c2_{layer}", f"conv_depth_c2_{layer}", x)
        return DEPTH_SCALE * self._convolved("conv_depth_c2_o", x)

    def _active(self, norm: str, layer: str, x: Tensor) -> Tensor:
        return F.leaky_relu(self._plain(norm, layer, x), 0.2)

    def _plain(self, norm: str, layer: str, x: Tensor) -> Tensor:
        names = (f"bn_{norm}.{part}" for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(self._convolved(layer, x), *(self.tensors[name] for name in names))

    def _convolved(self, layer: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{layer}.weight"], self.tensors.get(f"{layer}.bias")
        convolve = F.conv_transpose2d if layer.startswith("deconv") else F.conv2d
        return convolve(x, weight, bias, padding=weight.shape[-1] // 2)


def main() -> None:
    """Parse, and do one of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    preparation, training = tasks.add_parser("prepare"), tasks.add_parser("train")
    for name in ("prepared", "teacher", "yunet", "out"):
        preparation.add_argument(name, type=Path)
    preparation.add_argument("--count", type=int, default=1400)
    for name in ("items", "weights"):
        training.add_argument(name, type=Path)
    training.add_argument("--minutes", type=float, default=30.0)
    training.add_argument("--start", type=Path)
    arguments = parser.parse_args()
    if arguments.task == "prepare":
        prepare(arguments.prepared, Teacher(arguments.teacher), arguments.yunet, arguments.out, arguments.count)
    else:
        train(arguments.items, arguments.weights, arguments.minutes, arguments.start)


def prepare(prepared: Path, teacher: Teacher, yunet: Path, out: Path, count: int) -> None:
    """Write two boxes of each person until there are enough."""
    detector = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), 0.7)
    rng = random.Random(1)
    people = [person for person in read_people(prepared, "train") if person.kind != "object"]
    rng.shuffle(people)
    items: list[Tensor] = []
    for person in people:
        cut = read_cut(person.file)
        scale = min(1.0, LONGEST / max(cut.alpha.shape))
        planes = np.dstack([cut.photo, cut.alpha])
        planes = cv2.resize(planes, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        face = largest_face(np.ascontiguousarray(planes[..., :3]), detector)
        inside = cv2.boundingRect((planes[..., 3] > 127).astype(np.uint8))
        large = face is not None and min(face[2:]) >= LEAST_FACE
        if min(inside[2:]) < 40 or not (large or person.kind == "person"):
            continue
        photo = torch.from_numpy(planes).permute(2, 0, 1)[None].float() / 255
        nothing = (torch.zeros_like(photo[:, :3]), torch.zeros_like(photo[:, :1]))  # backs, small figures: the matte's
        told = torch.cat([photo, *(taught(photo[:, :3], face, teacher) if face and large else nothing)], dim=1)
        items += [boxed(told, drawn_box(inside, widest, rng)) for widest in (1.0, 1.5)]
        if len(items) >= count:
            break
    torch.save(torch.cat(items).half(), out)


def largest_face(photo: Pixels, detector: cv2.FaceDetectorYN) -> Box | None:
    """Find the largest face."""
    detector.setInputSize((photo.shape[1], photo.shape[0]))
    _, faces = detector.detect(photo[:, :, ::-1])
    if faces is None:
        return None
    x, y, width, height = max(faces.tolist(), key=lambda face: face[2] * face[3])[:4]
    return x, y, width, height


def taught(photo: Tensor, face: Box, teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Normals [1,3,H,W] of the face by the teacher, and how far they count [1,1,H,W]."""
    height, width = photo.shape[2:]
    x, y = face[0] + face[2] / 2, face[1] + face[3] / 2
    side = int(CROP * max(face[2:]))
    left, top = int(x - side / 2) + width, int(y - side / 2) + height
    part = slice(top, top + side), slice(left, left + side)
    around = F.pad(photo, (width, width, height, height), mode="replicate")[:, :, *part]
    seen = F.interpolate(around, (SEEN, SEEN), mode="bilinear", antialias=True).clamp(0.0, 1.0)
    down, right = torch.gradient(smooth(teacher.depth(seen), DEPTH_BLUR), dim=(2, 3))
    normals = F.normalize(torch.cat([-right, -torch.ones_like(right), down], dim=1), dim=1)
    canvas = torch.zeros(1, 3, 3 * height, 3 * width)
    canvas[:, :, *part] = F.interpolate(normals, (side, side), mode="area" if side < SEEN else "bilinear")
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    radius = (((columns - x) / (face[2] / 2)) ** 2 + ((rows - y) / (face[3] / 2)) ** 2).sqrt()
    weight = ((1 + 0.3 * FACE_EDGE - radius) / FACE_EDGE).clamp(0.0, 1.0)
    return canvas[:, :, height : 2 * height, width : 2 * width], weight[None, None]


def drawn_box(inside: tuple[int, int, int, int], widest: float, rng: random.Random) -> Box:
    """Draw a box around a person, sometimes of their upper part alone."""
    more = rng.uniform(1.0, widest)
    width, height = inside[2] * more, inside[3] * more
    left = inside[0] - inside[2] * (more - 1) * rng.random()
    top = inside[1] - inside[3] * (more - 1) * rng.random()
    if widest > 1 and rng.random() < 0.5:
        height = min(height, max(0.45 * height, rng.uniform(0.8, 1.6) * width))
    return left, top, width, height


def boxed(planes: Tensor, box: Box) -> Tensor:
    """Cut a box out and fit it into a square [1,8,64,64]."""
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    part = planes[:, :, top : int(box[1] + box[3]), left : int(box[0] + box[2])]
    size = [max(8, round(side * SIDE / max(part.shape[2:]))) for side in part.shape[2:]]
    return F.pad(F.interpolate(part, size, mode="area"), (0, SIDE - size[1], 0, SIDE - size[0]))


def train(items: Path, weights: Path, minutes: float, start: Path | None) -> None:
    """Train for some minutes of a cosine schedule, and write the averaged weights."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = torch.load(items, weights_only=True)
    network = NormalsNetwork()
    if start is not None:
        network.load_state_dict(load_network(start).state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    ema, begin, step = Ema(network, 0.995), time.time(), 0
    while (done := (time.time() - begin) / (60 * minutes)) < 1:
        batch = disturbed(data[torch.randint(len(data), (BATCH,), generator=generator)].float(), generator)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        loss = distance(network, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        ema.update(network, step)
        step += 1
        if step % 100 == 0:
            print(step, f"{done:.2f}", f"loss {float(loss.detach()):.3f}", flush=True)
    config = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(network.config).items()
    }
    tensors = {name: value.half() for name, value in ema.shadow.items()}
    told = {
        "task": "normals",
        "data": f"{len(data)} boxes of people",
        "settings": json.dumps({"batch_size": BATCH, "learning_rate": RATE, "weight_decay": WEIGHT_DECAY}),
        "steps": step,
        "torch": torch.__version__,
        "licence": "see WEIGHTS_LICENSE",
    }
    write_checkpoint(weights, Checkpoint("normals", config, tensors, told))


def disturbed(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of a batch, and change colours and brightness."""
    mirror = torch.tensor([1.0, 1, 1, 1, -1, 1, 1, 1]).view(1, 8, 1, 1)
    flip = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
    batch = torch.where(flip, batch.flip(3) * mirror, batch)
    gains = 0.12 * torch.randn(len(batch), 3, 1, 1, generator=generator)
    gains = gains + 0.25 * torch.randn(len(batch), 1, 1, 1, generator=generator)
    return torch.cat([(batch[:, :3] * gains.exp()).clamp(0.0, 1.0), batch[:, 3:]], dim=1)


def distance(network: NormalsNetwork, batch: Tensor) -> Tensor:
    """Cross entropy of the weight over the person, and one minus the cosine of the normals' angle in the face."""
    alpha, weight = batch[:, 3:4], batch[:, 7:] * batch[:, 3:4]
    logits, normals = network.answer(batch[:, :3], alpha)
    person = (alpha > 0.02).float()
    entropy = F.binary_cross_entropy_with_logits(logits, weight, reduction="none")
    angle = 1 - (normals * F.normalize(batch[:, 4:7], dim=1)).sum(1, keepdim=True)
    parts = ((entropy * person).sum() / person.sum(), (angle * weight).sum() / weight.sum().clamp_min(1.0))
    return parts[0] + ANGLE_WEIGHT * parts[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
