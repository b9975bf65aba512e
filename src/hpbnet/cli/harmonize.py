"""`hpbnet harmonize`: match colours in a picture that is composed already."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import HarmonizeOptions
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output
from .parameters import takes_limit, takes_networks, takes_settings

if TYPE_CHECKING:
    from ..composition import Composition


@click.command("harmonize")
@click.argument("composite", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("mask", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@takes_limit
@takes_networks(matting=False)
@takes_settings(HarmonizeOptions)
def command(
    composite: Path, mask: Path, output: Output, harmonizer: str | None, settings: HarmonizeOptions, max_pixels: int
) -> int:
    """Match the colours of the part of COMPOSITE that MASK shows to the rest of it.

    MASK is white where the foreground was pasted in. Both may be folders; files are paired by name.
    """
    jobs = plan_jobs(composite, [mask], output)

    from ..pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(harmonizer, None, max_pixels)

    def make(job: Job) -> "Composition":
        composite, mask = job.read()
        assert composite is not None and mask is not None
        return pipeline.harmonize(composite, mask, settings)

    return run_jobs(jobs, make, output)
