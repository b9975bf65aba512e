"""Build the wheel, install it into a new environment, and compose a picture there, offline and in another folder.

The new environment borrows the packages that hpbnet needs from the one that runs this script, so that nothing is
downloaded. `python -m build`, then `pip install dist/*.whl` in an environment of your own, downloads them.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXPECTED = (
    "hpbnet/py.typed",
    "hpbnet/weights/matting.safetensors",
    "hpbnet/weights/harmonizer.safetensors",
    "hpbnet/web/static/index.html",
)

COMPOSE_OFFLINE = """
import socket, sys

def refuse(*arguments, **settings):
    raise OSError("a network connection was attempted")

socket.socket.connect = socket.getaddrinfo = refuse
from hpbnet.cli import main

sys.exit(main(["compose", "portrait.jpg", "background.jpg", "-o", "result.png"]))
"""


def main() -> None:
    """Build, install, compose, and say so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        python = install(wheel, folder / "env")
        compose(python, folder)
    print(f"{wheel.name} installs into a new environment and composes a picture there, offline")


def build(destination: Path) -> Path:
    """Build the wheel as `python -m build` does, from the source distribution, and check what is inside."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(destination)]
    run([*command, str(ROOT)])
    (wheel,) = destination.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    licences = [f"{wheel.name.split('-py3')[0]}.dist-info/licenses/{file}" for file in ("LICENSE", "WEIGHTS_LICENSE")]
    if missing := [file for file in (*EXPECTED, *licences) if file not in names]:
        raise SystemExit(f"{wheel.name} lacks {', '.join(missing)}")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment -> its Python."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            str(wheel),
        ]
    )
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return python


def compose(python: Path, folder: Path) -> None:
    """Compose scikit-image's astronaut, with the command's own version checked first."""
    from PIL import Image
    from skimage import data

    import hpbnet

    Image.fromarray(data.astronaut()).save(folder / "portrait.jpg")
    Image.fromarray(data.rocket()).save(folder / "background.jpg")
    version = run([str(python.with_name(f"hpbnet{python.suffix}")), "--version"], folder)
    origin = run([str(python), "-c", "import hpbnet; print(hpbnet.__file__)"], folder)
    if hpbnet.__version__ not in version or not origin.startswith(str(folder)):
        raise SystemExit(f"expected hpbnet {hpbnet.__version__} in {folder}; there is {version} at {origin}")
    run([str(python), "-c", COMPOSE_OFFLINE], folder)
    with Image.open(folder / "result.png") as result:
        if result.size != data.rocket().shape[1::-1]:
            raise SystemExit(f"the result is {result.size}, expected the background's size")


def run(command: list[str], folder: Path = ROOT) -> str:
    """Run a command without this environment's settings -> what it prints; end with its errors if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ...\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
