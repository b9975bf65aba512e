"""`hpbnet webcam`: live use."""

import json
import sys
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from ..options import LiveOptions
from .parameters import takes_networks, takes_settings

if TYPE_CHECKING:
    from ..webcam import LiveReport, Sink


@click.command("webcam")
@click.option("--camera", default="0", show_default=True, help="Number of the camera, or a video file to play instead.")
@click.option(
    "--background", required=True, type=click.Path(path_type=Path), help="Background picture, or a video file to loop."
)
@takes_networks()
@click.option("--preview", is_flag=True, help="Show the result in a window; q closes it.")
@click.option("--virtual-camera", is_flag=True, help="Offer the result to other programs as a virtual camera.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help="How long to run [s]; by default until Ctrl-C."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the session.")
@takes_settings(LiveOptions)
def command(
    camera: str,
    background: Path,
    harmonizer: str | None,
    matting: str | None,
    preview: bool,
    virtual_camera: bool,
    seconds: float | None,
    as_json: bool,
    settings: LiveOptions,
) -> None:
    """Replace your webcam background in real time."""
    if not (preview or virtual_camera or seconds):
        raise ValueError("nothing would show the pictures: give --preview or --virtual-camera (or --seconds)")
    if seconds is not None and not isfinite(seconds):
        raise ValueError(f"--seconds is {seconds:g}; expected a number; without it the session runs until Ctrl-C")

    from .. import webcam
    from ..pipeline import DEFAULT_MATTING, Pipeline

    source = webcam.open_camera(camera)
    pipeline = Pipeline.from_pretrained(harmonizer, matting or DEFAULT_MATTING)
    assert pipeline.matting is not None

    def sinks(size: tuple[int, int]) -> list["Sink"]:
        opened: list[Sink] = [webcam.VirtualCamera(size, source.rate)] if virtual_camera else []
        return [*opened, webcam.Preview()] if preview else opened

    with tqdm(bar_format="{desc}", file=sys.stderr, leave=False) as bar:

        def watch(fps: float, delay: float) -> None:
            bar.set_description_str(f"{fps:.1f} fps, {delay * 1000:.0f} ms delay")

        report = webcam.run_webcam(
            source, background, sinks, pipeline.harmonizer, pipeline.matting, settings, seconds, watch
        )
    _tell(report, as_json)


def _tell(report: "LiveReport", as_json: bool) -> None:
    if report.gone:
        click.echo("note: The camera gives no more frames.", err=True)
    pictures = "1 picture" if report.shown == 1 else f"{report.shown} pictures"
    dropped = "1 frame" if report.dropped == 1 else f"{report.dropped} frames"
    delay = f"delay {report.delay * 1000:.0f} ms (95 %: {report.worst_delay * 1000:.0f} ms)"
    line = f"{pictures} in {report.seconds:.1f} s, {dropped} dropped, {delay}"
    click.echo(json.dumps(asdict(report)) if as_json else line)
