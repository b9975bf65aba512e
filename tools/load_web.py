"""Ask a server a great many mixed requests from several connections at once, and see whether it stays well.

    python tools/load_web.py --requests 10000 --connections 8

One request in twenty is broken. It prints the answers by status, latencies, and how the server's memory grew after the
first tenth, and fails where there is a status of 500 or more, or where the memory grew too much.
"""

import argparse
import io
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image

_MOST_GROWTH = 50.0  # [MB]
_SIZES = ((64, 64), (96, 72), (128, 96))

_KINDS = {"preview": 8, "compose": 3, "matte": 2, "harmonize": 1, "upload": 2, "download": 1, "begin": 1, "look": 2}


@dataclass
class Tally:
    """What was answered."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: int = 0


def picture(generator: random.Random, portrait: bool) -> bytes:
    """Draw a small picture: a red figure on green, or a ramp."""
    height, width = generator.choice(_SIZES)
    y, x = np.mgrid[:height, :width]
    if portrait:
        inside = np.hypot((x - width / 2) / (0.35 * width), (y - 0.6 * height) / (0.5 * height)) < 1
        pixels = np.where(inside[..., None], (200, 60, 50), (30, 150, 60)).astype(np.uint8)
    else:
        pixels = np.stack([x * 255 // width, y * 255 // height, 0 * x + generator.randrange(256)], 2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, generator.choice(("PNG", "JPEG", "WEBP")))
    return file.getvalue()


class Visitor:
    """One connection: a session of the page, and requests of programs."""

    def __init__(self, address: str, seed: int) -> None:
        self.generator = random.Random(seed)
        self.client = httpx.Client(base_url=address, timeout=120, trust_env=False)
        self.session = ""
        self.sequence = 0

    def ask(self) -> tuple[str, httpx.Response]:
        """Ask one thing -> its name and the answer."""
        kinds = {
            "preview": 8,
            "compose": 3,
            "matte": 2,
            "harmonize": 1,
            "upload": 2,
            "download": 1,
            "begin": 1,
            "look": 2,
        }
        name = self.generator.choices([*kinds], [*kinds.values()])[0]
        if self.generator.random() < 0.05:
            return "broken", self.broken()
        if not self.session and name in ("preview", "upload", "download"):
            name = "begin"
        return name, getattr(self, name)()

    def begin(self) -> httpx.Response:
        """End the session and begin another."""
        if self.session:
            self.client.delete(self.session)
        self.session = f"/studio/sessions/{self.client.post('/studio/sessions').json()['id']}"
        self.client.put(f"{self.session}/background", content=picture(self.generator, False))
        return self.client.put(f"{self.session}/portrait", content=picture(self.generator, True))

    def upload(self) -> httpx.Response:
        """Give the session another picture."""
        role = self.generator.choice(("portrait", "background"))
        return self.client.put(f"{self.session}/{role}", content=picture(self.generator, role == "portrait"))

    def preview(self) -> httpx.Response:
        """Move a slider."""
        self.sequence += 1
        name, value = self.generator.choice((("exposure", 1.0), ("warmth", 0.5), ("x", 0.3), ("light_wrap", 0.5)))
        settings = {name: value * self.generator.random()}
        return self.client.post(f"{self.session}/preview", json={"settings": settings, "sequence": self.sequence})

    def download(self) -> httpx.Response:
        """Fetch a result."""
        format = self.generator.choice(("png", "jpg", "webp", "tif16", "layers", "ora", "settings", "cutout"))
        return self.client.post(f"{self.session}/download", json={"format": format})

    def compose(self) -> httpx.Response:
        """Compose as a program does."""
        files = {"portrait": picture(self.generator, True), "background": picture(self.generator, False)}
        return self.client.post("/v1/compose", files=files, data={"warmth": "0.2"})

    def matte(self) -> httpx.Response:
        """Cut out as a program does."""
        return self.client.post("/v1/matte", files={"portrait": picture(self.generator, True)})

    def harmonize(self) -> httpx.Response:
        """Harmonize as a program does; the mask may have another size."""
        files = {"composite": picture(self.generator, True), "mask": picture(self.generator, False)}
        return self.client.post("/v1/harmonize", files=files)

    def look(self) -> httpx.Response:
        """Ask for something that needs no work."""
        return self.client.get(self.generator.choice(("/v1/options", "/health", "/metrics", "/docs", "/v1/networks")))

    def broken(self) -> httpx.Response:
        """Send what cannot be answered well."""
        noise = self.generator.randbytes(self.generator.randint(0, 3000))
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        part = b'--b\r\nContent-Disposition: form-data; name="portrait"; filename="a"\r\n\r\n'
        match self.generator.randrange(6):
            case 0:
                return self.client.post("/v1/compose", content=noise, headers=form)
            case 1:
                return self.client.post("/v1/matte", content=part + noise + b"\r\n--b--\r\n", headers=form)
            case 2:
                return self.client.post("/v1/compose", content=noise, headers={"Content-Type": "application/json"})
            case 3:
                return self.client.put(f"{self.session or '/studio/sessions/x'}/portrait", content=noise)
            case 4:
                return self.client.post("/studio/sessions/none/preview", json={})
            case _:
                cut = picture(self.generator, True)
                return self.client.post("/v1/matte", files={"portrait": cut[: self.generator.randrange(len(cut))]})


def work(visitor: Visitor, tally: Tally, requests: int, until: float) -> None:
    """Ask until all requests are asked, or the time is over."""
    while time.perf_counter() < until:
        with tally.lock:
            if tally.asked >= requests:
                return
            tally.asked += 1
        started = time.perf_counter()
        name, answer = visitor.ask()
        with tally.lock:
            tally.seconds.append(time.perf_counter() - started)
            tally.statuses[name, answer.status_code] += 1
            if answer.status_code >= 500:
                print(name, answer.status_code, answer.text[:300], file=sys.stderr)


def memory_of(address: str) -> float:
    """Return the server's memory [MB]."""
    text = httpx.get(f"{address}/metrics", trust_env=False).text
    found = re.search(r"^hpbnet_memory_bytes ([\d.e+]+)", text, re.MULTILINE)
    assert found, text
    return float(found[1]) / 1e6


def measure(address: str, requests: int, connections: int, minutes: float) -> dict[str, object]:
    """Ask a server, and return what became of it."""
    tally, started = Tally(), time.perf_counter()
    threads = [
        threading.Thread(
            target=work, args=(Visitor(address, seed), tally, requests, started + 60 * minutes), daemon=True
        )
        for seed in range(connections)
    ]
    for thread in threads:
        thread.start()
    memory: list[tuple[int, float]] = []
    while any(thread.is_alive() for thread in threads):
        memory.append((tally.asked, memory_of(address)))
        time.sleep(1.0)
    elapsed, seconds = time.perf_counter() - started, sorted(tally.seconds)
    memory.append((tally.asked, memory_of(address)))
    warm = [each for asked, each in memory if asked >= tally.asked / 10]
    return {
        "requests": tally.asked,
        "seconds": round(elapsed, 1),
        "p50_ms": round(1000 * seconds[len(seconds) // 2]),
        "p95_ms": round(1000 * seconds[int(0.95 * len(seconds))]),
        "memory_mb": [round(warm[0]), round(warm[-1])],
        "growth_mb": round(max(warm) - warm[0], 1),
        "statuses": {f"{name} {status}": count for (name, status), count in sorted(tally.statuses.items())},
        "server_errors": sum(count for (_, status), count in tally.statuses.items() if status >= 500),
    }


def main() -> int:
    """Start a server, ask it, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=120.0, help="Stop after this time, whatever was asked.")
    parser.add_argument("--harmonizer", default="learned")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "hpbnet", "serve", "--port", "0", "--harmonizer", arguments.harmonizer]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        line = server.stderr.readline()
        found = re.search(r"http://[\d.:]+\d", line)
        assert found, line + server.stderr.read()
        threading.Thread(target=lambda: sys.stderr.writelines(server.stderr or ()), daemon=True).start()
        result = measure(found[0], arguments.requests, arguments.connections, arguments.minutes)
    finally:
        server.terminate()
        server.wait()
    print(json.dumps(result, indent=1))
    return int(bool(result["server_errors"]) or float(str(result["growth_mb"])) > _MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
