"""A server in a thread, small pictures and quick networks for the tests of the web."""

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import httpx
import numpy as np
import torch
import uvicorn
from PIL import Image
from torch import Tensor

from hpbnet.affine_grid import AffineGrid
from hpbnet.layers import Layers
from hpbnet.pipeline import Pipeline
from hpbnet.web import Access, Limits, create_app
from hpbnet.web.run import listen

HEIGHT, WIDTH = 90, 72  # of the portrait
GREEN, RED = (30, 150, 60), (200, 60, 50)


class Counting:
    """Networks that count how often they are asked, and may be slow."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.mattes = self.grids = 0

    def matting(self, portrait: Tensor) -> Tensor:
        self.mattes += 1
        time.sleep(self.seconds)
        return ((portrait[:, :1] - portrait[:, 1:2]) * 4).clamp(0, 1)

    def harmonizer(self, layers: Layers) -> AffineGrid:
        self.grids += 1
        level = (layers.background.mean() * 0.2 + 0.8).item()
        return AffineGrid.uniform(torch.cat([torch.eye(3) * level, torch.zeros(3, 1)], dim=1)[None])

    def pipeline(self) -> Pipeline:
        return Pipeline(self.harmonizer, self.matting)


def portrait(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A red figure on green."""
    y, x = np.mgrid[:height, :width]
    head = np.hypot(x - width / 2, y - 0.35 * height) < 0.18 * height
    body = np.hypot((x - width / 2) / (0.4 * width), (y - 1.05 * height) / (0.45 * height)) < 1
    picture = np.where((head | body)[..., None], RED, GREEN).astype(np.uint8)
    return picture + (x[..., None] % 8).astype(np.uint8)


def background(height: int = 80, width: int = 120) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width, y * 200 // height, 0 * x + 120], axis=2).astype(np.uint8)


def png(picture: np.ndarray, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format)
    return file.getvalue()


PORTRAIT, BACKGROUND = png(portrait()), png(background())


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def notices_of(answer: httpx.Response) -> list[str]:
    return json.loads(unquote(answer.headers["x-hpbnet-notices"]))


def detail(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem of a status."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["title"]
    return problem["detail"]


@contextmanager
def serving(
    pipeline: Pipeline | None = None, limits: Limits | None = None, access: Access | None = None
) -> Iterator[httpx.Client]:
    """Run a server in a thread of this process."""
    listener = listen("127.0.0.1", 0)
    app = create_app(pipeline or Counting().pipeline(), limits, access)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join()
    listener.close()


def begin(client: httpx.Client, **files: bytes) -> str:
    """Begin a session with a portrait and a background, and perhaps others; return its address."""
    address = f"/studio/sessions/{client.post('/studio/sessions').json()['id']}"
    for role, data in ({"portrait": PORTRAIT, "background": BACKGROUND} | files).items():
        answer = client.put(f"{address}/{role}", params={"name": f"{role}.png"}, content=data)
        assert answer.status_code == 200, answer.text
    return address


def preview(
    client: httpx.Client, address: str, sequence: int = 0, side: int = 64, **settings: object
) -> httpx.Response:
    return client.post(f"{address}/preview", json={"settings": settings, "side": side, "sequence": sequence})


def compose_files(**files: bytes) -> dict[str, tuple[str, bytes]]:
    return {
        role: (f"{role}.png", data) for role, data in ({"portrait": PORTRAIT, "background": BACKGROUND} | files).items()
    }
