"""`hpbnet webcam`: live use."""

import json
import sys
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from ..video.options import VideoOptions
from .parameters import takes_settings

if TYPE_CHECKING:
    from ..webcam import Sink

_CHOICES = ("size", "fit", "blur", "flip", "scale", "x", "y", "harmonizer", "strength", "exposure", "warmth", "follow")


@click.command("webcam")
@click.option("--camera", default="0", show_default=True, help="Number of a camera, or a clip that stands for one.")
@click.option("--background", required=True, type=click.Path(path_type=Path), help="A picture, or a clip to loop.")
@click.option("--preview", is_flag=True, help="Show a window; q closes it.")
@click.option("--virtual-camera", is_flag=True, help="Be a camera for other programs.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long to run; until Ctrl-C by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the session.")
@takes_settings(VideoOptions, only=_CHOICES)
def command(
    camera: str,
    background: Path,
    preview: bool,
    virtual_camera: bool,
    seconds: float | None,
    as_json: bool,
    settings: VideoOptions,
) -> None:
    """Put whoever sits before the camera into another place, live."""
    if not (preview or virtual_camera or seconds):
        raise ValueError("nothing would show the pictures: give --preview or --virtual-camera (or --seconds)")
    if seconds is not None and not isfinite(seconds):
        raise ValueError(f"--seconds is {seconds:g}; expected a number; without it the session runs until Ctrl-C")

    from .. import webcam
    from ..pipeline import Pipeline

    source = webcam.open_camera(camera)
    pipeline = Pipeline.from_pretrained(settings.harmonizer)
    assert pipeline.matting is not None

    def sinks(size: tuple[int, int]) -> list["Sink"]:
        opened: list[Sink] = [webcam.VirtualCamera(size, source.rate)] if virtual_camera else []
        return [*opened, webcam.Preview()] if preview else opened

    with tqdm(bar_format="{desc}", file=sys.stderr, leave=False) as bar:

        def watch(fps: float, delay: float) -> None:
            bar.set_description_str(f"{fps:.1f} fps, {delay * 1000:.0f} ms late")

        report = webcam.run_webcam(
            source, background, sinks, pipeline.harmonizer, pipeline.matting, settings, seconds, watch
        )
    if report.gone:
        click.echo("note: the camera gives no more frames", err=True)
    line = f"{report.shown} pictures in {report.seconds:.1f} s, {report.dropped} frames dropped"
    late = f"delay {report.delay * 1000:.0f} ms (95 %: {report.worst_delay * 1000:.0f} ms)"
    click.echo(json.dumps(asdict(report)) if as_json else f"{line}, {late}")
