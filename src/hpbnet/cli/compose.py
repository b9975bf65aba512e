"""`hpbnet compose`: the main job."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import ComposeOptions
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output
from .parameters import takes_settings

if TYPE_CHECKING:
    from ..pipeline import Composition


@click.command("compose")
@click.argument("portrait", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("background", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@click.option(
    "--layers", type=click.Path(path_type=Path), help="Folder to write foreground, alpha, background and grid to, too."
)
@takes_settings(ComposeOptions)
def command(portrait: Path, background: Path, output: Output, layers: Path | None, settings: ComposeOptions) -> int:
    """Put the person of PORTRAIT into BACKGROUND.

    PORTRAIT is a photo, a cut-out with transparency, - for stdin, or a folder; BACKGROUND is a picture, or a folder of
    pictures with the portraits' names.
    """
    mask = Path(settings.mask) if isinstance(settings.mask, str) else None
    jobs = plan_jobs(portrait, [background, mask], output)

    from ..pipeline import Pipeline

    matting = None if mask else settings.matte or "matting"
    pipeline = Pipeline.from_pretrained(harmonizer=settings.harmonizer, matting=matting)

    def make(job: Job) -> "Composition":
        portrait, background, mask = job.read()
        assert portrait is not None and background is not None
        composition = pipeline(portrait, background, replace(settings, mask=mask))
        if layers is not None:
            composition.save_layers(layers / job.destination.stem if job.in_folder else layers)
        return composition

    return run_jobs(jobs, make, output)
