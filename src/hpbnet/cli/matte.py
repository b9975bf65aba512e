"""`hpbnet matte`: the first step alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .jobs import Job, Output, plan_jobs, run_jobs, takes_output

if TYPE_CHECKING:
    from ..pipeline import CutOut


@click.command("matte")
@click.argument("portrait", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@click.option("--mask", type=click.Path(path_type=Path), help="White where the person is; used instead of the network.")
@click.option("--alpha-only", is_flag=True, help="Write the alpha alone, as a grey picture.")
def command(portrait: Path, output: Output, mask: Path | None, alpha_only: bool) -> int:
    """Cut the person out of PORTRAIT (a photo, - for stdin, or a folder), with transparency."""
    jobs = plan_jobs(portrait, [mask], output)

    from ..pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(matting=None if mask else "matting")

    def make(job: Job) -> "CutOut":
        portrait, mask = job.read()
        assert portrait is not None
        cut_out = pipeline.matte(portrait, mask)
        return cut_out.alpha_only() if alpha_only else cut_out

    return run_jobs(jobs, make, output)
