"""`hpbnet evaluate-video`: measure steadiness."""

import json
import sys
from pathlib import Path

import click

from ..options import SteadinessOptions
from .parameters import takes_networks, takes_settings

_path = click.Path(path_type=Path)


@click.command("evaluate-video")
@click.argument("portrait", type=_path)
@click.argument("background", type=_path, required=False)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="[LABEL=]NAME[:HOW]",
    help="Harmonizer to measure; HOW is steady, independent or frozen. May be repeated.",
)
@click.option(
    "--result",
    "results",
    multiple=True,
    metavar="LABEL=FILE",
    help="Video made by another program from the same two inputs, to measure too. May be repeated.",
)
@click.option("--mask", type=_path, help="Picture or clip that is white where the person is; used instead of matting.")
@takes_networks(harmonizer=False)
@click.option("-o", "--out", "folder", type=_path, help="Folder for scores.json and steadiness.png.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
@takes_settings(SteadinessOptions)
def command(
    portrait: Path,
    background: Path | None,
    methods: tuple[str, ...],
    results: tuple[str, ...],
    mask: Path | None,
    matting: str | None,
    folder: Path | None,
    as_json: bool,
    settings: SteadinessOptions,
) -> None:
    """Measure how steady the colours of PORTRAIT's person are before BACKGROUND, for several methods.

    Without BACKGROUND the person's colours are disturbed by one constant change and put back before what was filmed, so
    that the true colours are known. By default four methods are compared: learned (steady, independent and frozen) and
    reinhard (independent).
    """
    from tqdm import tqdm

    from ..evaluation import video
    from ..evaluation.chart import new_figure
    from ..matte import matting_by_name
    from ..video.sources import needs_matting

    if folder is not None:
        new_figure(1, 1)  # without Matplotlib, fail before the measurement and not after it
    chosen = tuple(video.parse_method(text) for text in methods or video.DEFAULT_METHODS)
    network = matting_by_name(matting or "matting") if needs_matting(portrait, mask) else None
    with tqdm(unit="frame", file=sys.stderr, leave=False) as bar:

        def watch(count: int) -> None:
            bar.update(count - bar.n)

        made = tuple(_read_result(text) for text in results)
        scores = video.evaluate_video(portrait, background, chosen, network, made, settings, mask, watch)
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
