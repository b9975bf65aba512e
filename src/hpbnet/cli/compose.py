"""`hpbnet compose`: the main job."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import ComposeOptions
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output
from .parameters import takes_hint, takes_limit, takes_mask, takes_networks, takes_settings

if TYPE_CHECKING:
    from ..composition import Composition


@click.command("compose")
@click.argument("portrait", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("background", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@click.option(
    "--layers",
    type=click.Path(path_type=Path),
    help="Folder to also save foreground, alpha, background, shadow and colour grid in.",
)
@takes_limit
@takes_mask
@takes_hint
@takes_networks()
@takes_settings(ComposeOptions)
def command(
    portrait: Path,
    background: Path,
    output: Output,
    layers: Path | None,
    mask: Path | None,
    hint: Path | None,
    harmonizer: str | None,
    matting: str | None,
    max_pixels: int,
    settings: ComposeOptions,
) -> int:
    """Put the person of PORTRAIT into BACKGROUND.

    PORTRAIT is a photo, a cut-out with transparency, - for stdin, or a folder; BACKGROUND is a picture, or a folder of
    pictures with the portraits' names.
    """
    if mask and matting:
        raise ValueError("--mask and --matting both say where the person is; give one of them")
    jobs = plan_jobs(portrait, [background, mask, hint], output)

    from ..pipeline import DEFAULT_MATTING, Pipeline

    pipeline = Pipeline.from_pretrained(harmonizer, None if mask else matting or DEFAULT_MATTING, max_pixels)

    def make(job: Job) -> "Composition":
        portrait, background, mask, hint = job.read()
        assert portrait is not None and background is not None
        composition = pipeline(portrait, background, settings, mask=mask, hint=hint)
        if layers is not None:
            composition.save_layers(layers / job.destination.stem if job.in_folder else layers)
        return composition

    return run_jobs(jobs, make, output)
