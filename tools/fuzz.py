"""Give damaged files to everything that reads one, and print as JSON what happened.

    python tools/fuzz.py pictures --count 1000

Each input is a seed with bits flipped, cut short, numbers in its header changed, or bytes put in, removed or doubled,
and is read in a worker of its own limits: 10 s and 2 GB. What is right: it is read, or refused in one line by a
ValueError or OSError, and nothing is printed. The same seed gives the same inputs.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS, BYTES = 10, 2 << 30  # that one input may take
EXAMPLES = 20  # of a kind that are printed

Seeds = dict[str, bytes]
Reader = Callable[[Path], None]


@dataclass
class Figures:
    """What happened to the inputs of one kind."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    unnamed: int = 0  # refused in a line that does not name the file
    tracebacks: int = 0  # another error, or one of several lines
    hangs: int = 0
    over_memory: int = 0  # or the worker died
    noise: int = 0  # something was printed
    slowest: float = 0.0  # [s]
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What happened to one input."""

    kind: str  # the name of a field of `Figures`
    message: str = ""
    printed: str = ""


# -- mutations ----------------------------------------------------------------------------------------------------

ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
ODD_TEXTS = ("-1", "0", "1e999", "NaN", "null", "true", "[]", "{}", '"x"', "", "[" * 50_000, "9" * 5000, "\ufeff", "\0")


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Flip up to sixteen bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Keep a beginning."""
    return data[: rng.randrange(len(data))]


def edit_header(data: bytes, rng: random.Random) -> bytes:
    """Set a number near the beginning to an odd one."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        number, form = rng.choice(ODD_NUMBERS), rng.choice((">B", ">H", "<H", ">I", "<I"))
        packed = struct.pack(form, number & (1 << 8 * struct.calcsize(form)) - 1)
        at = rng.randrange(min(len(changed), rng.choice((32, 128, 1024))))
        changed[at : at + len(packed)] = packed
    return bytes(changed)


def insert(data: bytes, rng: random.Random) -> bytes:
    """Put random bytes in, or double or remove a part."""
    at, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 512))
    part = rng.choice((rng.randbytes(length), data[at : at + length], b""))
    return data[:at] + part + data[at + (length if part == b"" else 0) :]


def edit_text(data: bytes, rng: random.Random) -> bytes:
    """Replace a word or number of a text by something odd."""
    text = data.decode()
    at = rng.randrange(len(text))
    end = min((text.find(mark, at) for mark in ",}]\n:" if text.find(mark, at) > 0), default=len(text))
    return (text[:at] + rng.choice(ODD_TEXTS) + text[end:]).encode("utf-8", "surrogatepass")


def edit_weights(data: bytes, rng: random.Random) -> bytes:
    """Change a word of a safetensors file's header, its length set right, or its numbers."""
    (length,) = struct.unpack("<Q", data[:8])
    if rng.random() < 0.2:
        at = rng.randrange(8 + length, len(data) - 2)
        return data[:at] + struct.pack("<H", rng.choice((0x7C00, 0x7E00, 0xFFFF))) + data[at + 2 :]
    header = json.loads(data[8 : 8 + length])
    table = rng.choice((header["__metadata__"], header))
    name = rng.choice(sorted(table))
    if rng.random() < 0.3:
        del table[name]
    elif isinstance(table[name], str):
        table[name] = edit_text(table[name].encode(), rng).decode("utf-8", "replace")
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


BINARY = (flip_bits, cut, edit_header, insert)


# -- seeds --------------------------------------------------------------------------------------------------------


def picture_seeds() -> Seeds:
    """Make small pictures of every format that is read, with metadata."""
    import cv2
    import numpy as np
    from PIL import Image, ImageCms

    rng = np.random.default_rng(0)
    photo = np.clip(np.linspace(0, 200, 48)[None, :, None] + rng.normal(0, 12, (40, 48, 3)), 0, 255).astype(np.uint8)
    rgb = Image.fromarray(photo)
    rgba = Image.fromarray(np.dstack([photo, photo[..., 0]]))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    meta = {"exif": exif, "icc_profile": profile}
    frames = {"save_all": True, "append_images": [rgb.rotate(90, expand=False), rgb.rotate(180)]}
    wanted: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "PNG", {}),
        (rgba, "PNG", meta),
        (rgb.convert("P"), "PNG", {"transparency": bytes(range(256))}),
        (rgb.convert("L"), "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (rgb, "PNG", frames),
        (rgb, "JPEG", meta),
        (rgb, "JPEG", {"progressive": True}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("L"), "JPEG", {}),
        (rgb, "WEBP", meta),
        (rgba, "WEBP", {"lossless": True}),
        (rgb, "WEBP", frames),
        (rgb, "TIFF", {}),
        (rgba, "TIFF", {"compression": "tiff_lzw", **meta}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate", **frames}),
        (rgb, "AVIF", meta),
        (rgba, "AVIF", {}),
        (rgb, "GIF", frames),
        (rgb, "BMP", {}),
        (rgb, "PPM", {}),
        (rgb, "JPEG2000", {}),
    ]
    seeds = {}
    for number, (image, format, settings) in enumerate(wanted):
        file = io.BytesIO()
        image.save(file, format, **settings)
        seeds[f"{number}-{format}"] = file.getvalue()
    wide = photo.astype(np.uint16) * 257
    seeds["png-16"] = cv2.imencode(".png", wide)[1].tobytes()
    seeds["png-16-alpha"] = cv2.imencode(".png", np.dstack([wide, wide[..., :1]]))[1].tobytes()
    seeds["tiff-16"] = cv2.imencode(".tiff", wide)[1].tobytes()
    seeds["tiff-16-grey"] = cv2.imencode(".tiff", wide[..., 0])[1].tobytes()
    with contextlib.suppress(ImportError):  # an extra
        from pillow_heif import from_pillow

        file = io.BytesIO()
        from_pillow(rgb).save(file)
        seeds["heic"] = file.getvalue()
    return seeds


def clip_seeds() -> Seeds:
    """Make clips of a second in the usual containers, two with sound."""
    from fractions import Fraction

    import av
    import numpy as np

    seeds = {}
    for container, codec in (("mp4", "mpeg4"), ("matroska", "mpeg4"), ("mpegts", "mpeg2video"), ("mov", "mjpeg")):
        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=15)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for index in range(15):
                pixels = np.full((48, 64, 3), 10 * index, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 15)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        seeds[container] = file.getvalue()
    return seeds


def weight_seeds() -> Seeds:
    """Make checkpoints of tiny networks."""
    from hpbnet.checkpoint import Checkpoint, write_checkpoint
    from hpbnet.networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
    from hpbnet.networks.matting import MattingConfig, MattingNetwork

    narrow = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4), blocks=(0, 1, 0, 0, 0), size=64))
    small = HarmonizerNetwork(HarmonizerConfig(channels=(8, 8, 8, 8), code=8, size=64))
    seeds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, network in (("matting", narrow), ("harmonizer", small)):
            half = {
                key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()
            }
            path = Path(folder) / name
            write_checkpoint(path, Checkpoint(name, asdict(network.config), half, {"steps": 7, "licence": "none"}))
            seeds[name] = path.read_bytes()
    return seeds


def config_seeds() -> Seeds:
    """Write the default config of a training."""
    from hpbnet.training.config import TrainConfig

    return {"config": json.dumps(asdict(TrainConfig()), indent=2).encode()}


def index_seeds() -> Seeds:
    """Write an index of portraits."""
    head = "name,source,split,coverage,iou,face_x,face_y,face_w,face_h,background_std\n"
    rows = "".join(f"p{i},s,train,0.4,0.95,10,10,30,30,40.5\n" for i in range(5))
    return {"index": (head + rows).encode()}


def manifest_seeds() -> Seeds:
    """Write a manifest of a dataset."""
    return {"manifest": "".join(json.dumps({"name": f"{i:06}", "seed": i}) + "\n" for i in range(5)).encode()}


# -- readers ------------------------------------------------------------------------------------------------------


def read_as_picture(path: Path) -> None:
    """Read a picture, and a mask."""
    from hpbnet.image import read_picture

    read_picture(path)


def read_as_clip(path: Path) -> None:
    """Decode every frame."""
    from hpbnet.video.read import open_clip, read_frames

    for _ in read_frames(open_clip(path)):
        pass


def read_as_weights(path: Path) -> None:
    """Build the network."""
    from hpbnet.models import load_network

    load_network(path)


def read_as_config(path: Path) -> None:
    """Read the config of a training."""
    from hpbnet.training.config import TrainConfig, read_config

    read_config(TrainConfig, path, {})


def read_as_index(path: Path) -> None:
    """List the portraits of an index."""
    from hpbnet.synthesis.portraits import read_index

    path.rename(path.with_name("index.csv"))
    read_index(path.parent, "train")


def read_as_manifest(path: Path) -> None:
    """List what a dataset holds."""
    from hpbnet.synthesis.write import finished

    path.rename(path.with_name("manifest.jsonl"))
    finished(path.parent)


KINDS: dict[str, tuple[Callable[[], Seeds], Reader, tuple[Callable[[bytes, random.Random], bytes], ...]]] = {
    "pictures": (picture_seeds, read_as_picture, BINARY),
    "clips": (clip_seeds, read_as_clip, BINARY),
    "weights": (weight_seeds, read_as_weights, (*BINARY, edit_weights, edit_weights)),
    "configs": (config_seeds, read_as_config, (flip_bits, cut, insert, edit_text, edit_text)),
    "indices": (index_seeds, read_as_index, (flip_bits, cut, insert, edit_text, edit_text)),
    "manifests": (manifest_seeds, read_as_manifest, (flip_bits, cut, insert, edit_text, edit_text)),
}


def mutants(kind: str, count: int, seed: int) -> list[tuple[str, bytes]]:
    """List inputs of a kind with their names: every seed in turn, with mutations drawn from `seed`."""
    make, _, ways = KINDS[kind]
    seeds = sorted(make().items())
    inputs = []
    for index in range(count):
        name, data = seeds[index % len(seeds)]
        rng = random.Random(f"{seed}/{kind}/{index}")
        way = rng.choice(ways)
        inputs.append((f"{kind}-{index}-{name}-{way.__name__}", way(data, rng)))
    return inputs


# -- workers ------------------------------------------------------------------------------------------------------


def work(kind: str, pipe: Connection) -> None:
    """Read inputs from a pipe and say what happened to each; standard error goes to a file."""
    reader = KINDS[kind][1]
    warnings.simplefilter("always")
    printed = tempfile.TemporaryFile()  # noqa: SIM115 (of the process's whole life)
    os.dup2(printed.fileno(), 2)
    _read(reader, b"to load what the reader needs")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
    pipe.send("ready")
    while (data := pipe.recv()) is not None:
        printed.seek(0)
        printed.truncate()
        outcome = _read(reader, data)
        sys.stderr.flush()
        printed.seek(0)
        pipe.send(Outcome(outcome.kind, outcome.message, printed.read().decode("utf-8", "replace")[:300]))


def _read(reader: Reader, data: bytes) -> Outcome:
    """Read an input from a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.bin"
        path.write_bytes(data)
        try:
            reader(path)
        except Exception as error:
            return Outcome(_kind_of(error, folder), f"{error!r:.300}")
    return Outcome("read")


def _kind_of(error: Exception, folder: str) -> str:
    """Tell how an error counts; a line that names the file is right."""
    text = f"{error} {getattr(error, 'filename', '')}"
    if isinstance(error, MemoryError) or "does not fit into the memory" in text:
        return "over_memory"
    if not isinstance(error, ValueError | OSError) or isinstance(error, EOFError) or "\n" in str(error):
        return "tracebacks"
    return "refused" if folder in text else "unnamed"


class Worker:
    """A process that reads inputs of one kind, begun anew when it hangs or dies."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=work, args=(self._kind, other), daemon=True)
        self._process.start()
        other.close()
        self._pipe.recv()

    def read(self, data: bytes) -> Outcome:
        """Have an input read."""
        try:
            self._pipe.send(data)
            if self._pipe.poll(SECONDS):
                outcome: Outcome = self._pipe.recv()
                return outcome
            outcome = Outcome("hangs", f"over {SECONDS} s")
        except (EOFError, OSError):
            outcome = Outcome("over_memory", "the process died")
        self.end()
        self._begin()
        return outcome

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def fuzz(kind: str, count: int, seed: int = 0, save: Path | None = None) -> Figures:
    """Read mutants of a kind and count what happens; what goes wrong may be saved."""
    figures = Figures()
    worker = Worker(kind)
    for name, data in mutants(kind, count, seed):
        started = time.monotonic()
        outcome = worker.read(data)
        figures.slowest = max(figures.slowest, round(time.monotonic() - started, 2))
        figures.inputs += 1
        setattr(figures, outcome.kind, getattr(figures, outcome.kind) + 1)
        figures.noise += bool(outcome.printed)
        if outcome.kind not in ("read", "refused") or outcome.printed:
            if len(figures.examples) < EXAMPLES:
                figures.examples.append(f"{name}: {outcome.kind} {outcome.message} {outcome.printed}".strip())
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                (save / name).write_bytes(data)
    worker.end()
    return figures


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--count", type=int, default=100, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for inputs that go wrong")
    given = parser.parse_args()
    if unknown := set(given.kinds) - KINDS.keys():
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    figures = {kind: asdict(fuzz(kind, given.count, given.seed, given.save)) for kind in given.kinds}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
