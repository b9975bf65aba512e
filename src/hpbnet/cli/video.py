"""`hpbnet video`: put a person into a video."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from ..options import VideoOptions
from .parameters import takes_networks, takes_settings

if TYPE_CHECKING:
    from ..video.report import VideoReport

_path = click.Path(path_type=Path)


@click.command("video")
@click.argument("portrait", type=_path)
@click.argument("background", type=_path)
@click.option("-o", "--output", required=True, type=_path, help="Video to write: .mp4, .m4v, .mov, .mkv or .webm.")
@click.option("--mask", type=_path, help="Picture or clip that is white where the person is; used instead of matting.")
@takes_networks()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the result.")
@takes_settings(VideoOptions)
def command(
    portrait: Path,
    background: Path,
    output: Path,
    mask: Path | None,
    harmonizer: str | None,
    matting: str | None,
    as_json: bool,
    settings: VideoOptions,
) -> int:
    """Put the person of PORTRAIT into BACKGROUND, frame by frame, with steady colours and with sound.

    At least one of the two is a clip, the other may be a picture. On Ctrl-C, what is done is kept as a playable file.
    """
    if mask and matting:
        raise ValueError("--mask and --matting both say where the person is; give one of them")

    from ..pipeline import DEFAULT_MATTING, Pipeline
    from ..video.sources import needs_matting

    network = (matting or DEFAULT_MATTING) if needs_matting(portrait, mask) else None
    pipeline = Pipeline.from_pretrained(harmonizer, network)
    with Bar() as show:
        report = pipeline.video(portrait, background, output, settings, mask=mask, progress=show)
    return tell(report, as_json)


class Bar:
    """Frames a second and the time left, on stderr, from the first frame on."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> "Bar":
        """Show nothing yet."""
        return self

    def __call__(self, frames: int, seconds: float, length: float | None) -> None:
        """Show how far the work is: frames done, and seconds done and in all."""
        if self._bar is None:
            form = "{l_bar}{bar}| {desc} [{elapsed}<{remaining}{postfix}]" if length else "{desc} [{elapsed}{postfix}]"
            self._bar = tqdm(file=sys.stderr, leave=False, bar_format=form.replace("{l_bar}", "{percentage:3.0f}%|"))
        self._bar.total = None if length is None else max(round(length, 1), seconds)
        elapsed = self._bar.format_dict["elapsed"]
        total = "" if length is None else f" of {length:.1f}"
        self._bar.set_description_str(f"{seconds:.1f}{total} s", refresh=False)
        self._bar.set_postfix_str(f"{frames / max(elapsed, 1e-6):.1f} fps", refresh=False)
        self._bar.update(seconds - self._bar.n)

    def __exit__(self, *error: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def tell(report: "VideoReport", as_json: bool) -> int:
    """Print what was written; return the exit code."""
    for notice in report.notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        plain = {"path": str(report.path), "size": report.size[::-1], "shares": dict(report.shares)}  # width, height
        click.echo(json.dumps(asdict(report) | plain))
    if report.interrupted:
        kept = f"{report.path} holds the first {report.seconds:.1f} s" if report.frames else "nothing was written"
        click.echo(f"hpbnet: interrupted: {kept}", err=True)
        return 130
    if not as_json:
        fps = report.frames / max(report.elapsed, 1e-6)
        frames = "1 frame" if report.frames == 1 else f"{report.frames} frames"
        click.echo(f"{report.path}: {frames}, {report.seconds:.1f} s of video at {fps:.1f} fps", err=True)
    return 0
