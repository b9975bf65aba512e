"""`hpbnet video`: the main job on clips."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from ..video.options import SHOWN, VideoOptions
from .parameters import takes_settings

if TYPE_CHECKING:
    from ..video.run import Report

_path = click.Path(path_type=Path)


@click.command("video")
@click.argument("portrait", type=_path)
@click.argument("background", type=_path)
@click.option("-o", "--output", required=True, type=_path, help="Video to write: .mp4, .m4v, .mov, .mkv or .webm.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the result.")
@takes_settings(VideoOptions, only=SHOWN)
def command(portrait: Path, background: Path, output: Path, as_json: bool, settings: VideoOptions) -> int:
    """Put the person of PORTRAIT into BACKGROUND, frame by frame, steadily and with sound.

    Each is a clip or a picture, at least one a clip. Ctrl-C keeps what is done, as a playable file.
    """
    from ..pipeline import Pipeline
    from ..video.run import compose_video
    from ..video.sources import needs_matting

    matting = "matting" if needs_matting(portrait, settings.mask) else None
    pipeline = Pipeline.from_pretrained(settings.harmonizer, matting)
    with Bar() as show:
        report = compose_video(portrait, background, output, pipeline.harmonizer, pipeline.matting, settings, show)
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
            form = "{l_bar}{bar}| {n:.1f}/{total_fmt} s [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(file=sys.stderr, leave=False, bar_format=form)
        self._bar.total = None if length is None else max(round(length, 1), seconds)
        elapsed = self._bar.format_dict["elapsed"]
        self._bar.set_postfix_str(f"{frames / max(elapsed, 1e-6):.1f} fps", refresh=False)
        self._bar.update(seconds - self._bar.n)

    def __exit__(self, *error: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def tell(report: "Report", as_json: bool) -> int:
    """Say what became of a video; return the exit code."""
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
        click.echo(f"{report.path}: {report.frames} frames, {report.seconds:.1f} s of video at {fps:.1f} fps", err=True)
    return 0
