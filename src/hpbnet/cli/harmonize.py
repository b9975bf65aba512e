"""`hpbnet harmonize`: match colours in a picture that is composed already."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import ComposeOptions
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output
from .parameters import takes_settings

if TYPE_CHECKING:
    from ..pipeline import Composition


@click.command("harmonize")
@click.argument("composite", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("mask", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@takes_settings(ComposeOptions, only=("harmonizer", "painted", "strength", "exposure", "warmth"))
def command(composite: Path, mask: Path, output: Output, settings: ComposeOptions) -> int:
    """Match the colours of what MASK shows in COMPOSITE to the rest of it.

    MASK is white where the picture was pasted in. Both may be folders; files pair by name.
    """
    jobs = plan_jobs(composite, [mask], output)

    from ..pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(harmonizer=settings.harmonizer, matting=None)

    def make(job: Job) -> "Composition":
        composite, mask = job.read()
        assert composite is not None and mask is not None
        return pipeline.harmonize(composite, mask, settings)

    return run_jobs(jobs, make, output)
