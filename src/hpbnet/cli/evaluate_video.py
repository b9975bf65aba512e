"""`hpbnet evaluate-video`: steadiness, measured."""

import json
import sys
from pathlib import Path

import click

from ..video.options import VideoOptions
from .parameters import takes_settings

_path = click.Path(path_type=Path)


@click.command("evaluate-video")
@click.argument("portrait", type=_path)
@click.argument("background", type=_path, required=False)
@click.option(
    "--method", "methods", multiple=True, metavar="[LABEL=]NAME[:HOW]", help="HOW: steady, independent, frozen; repeat."
)
@click.option("--result", "results", multiple=True, metavar="LABEL=FILE", help="A result made elsewhere; repeat.")
@click.option("-o", "--out", "folder", type=_path, help="Folder for scores.json and steadiness.png.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
@takes_settings(VideoOptions, only=("mask", "strength", "follow", "start", "end"))
def command(
    portrait: Path,
    background: Path | None,
    methods: tuple[str, ...],
    results: tuple[str, ...],
    folder: Path | None,
    as_json: bool,
    settings: VideoOptions,
) -> None:
    """Measure how steadily methods colour the person of PORTRAIT before BACKGROUND.

    Without BACKGROUND the person is disturbed by one constant change and put back before what was filmed, so that the
    truth is known. By default four methods are compared: learned steady, independent and frozen, and reinhard frame by
    frame.
    """
    from tqdm import tqdm

    from ..evaluation import video
    from ..evaluation.chart import new_figure
    from ..models import load_network
    from ..video.sources import needs_matting

    if folder is not None:
        new_figure(1, 1)  # without Matplotlib, fail before the measurement and not after it
    chosen = tuple(video.parse_method(text) for text in methods or video.DEFAULT_METHODS)
    matting = load_network("matting") if needs_matting(portrait, settings.mask) else None
    with tqdm(unit="frame", file=sys.stderr, leave=False) as bar:

        def watch(count: int) -> None:
            bar.update(count - bar.n)

        made = tuple(_read_result(text) for text in results)
        scores = video.evaluate_video(portrait, background, chosen, matting, made, settings, watch)
    plain = json.dumps(video.scores_as_plain(scores))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scores.json").write_text(plain + "\n")
        video.draw_steadiness(scores, folder / "steadiness.png")
    click.echo(plain if as_json else video.render_steadiness(scores))


def _read_result(text: str) -> tuple[str, Path]:
    label, equals, file = text.partition("=")
    if not equals:
        raise ValueError(f"--result {text!r}: expected LABEL=FILE")
    return label, Path(file)
