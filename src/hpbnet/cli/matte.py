"""`hpbnet matte`: the first step alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import ComposeOptions, help_of
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output

if TYPE_CHECKING:
    from ..pipeline import CutOut


_CLIPS = (".mov", ".mkv", ".webm", ".mp4", ".m4v")


@click.command("matte")
@click.argument("portrait", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@click.option("--mask", type=click.Path(path_type=Path), help="White where the person is; used instead of the network.")
@click.option("--matte", "network", metavar="NAME", help=help_of(ComposeOptions, "matte"))
@click.option("--alpha-only", is_flag=True, help="Write the alpha alone, as a grey picture.")
def command(portrait: Path, output: Output, mask: Path | None, network: str | None, alpha_only: bool) -> int:
    """Cut the person out of PORTRAIT (a photo, a clip, - for stdin, or a folder), with transparency.

    A clip is written where -o ends in .mov or .mkv (ProRes) or .webm (VP9); with --alpha-only in .mp4, too.
    """
    if mask and network:
        raise ValueError("--mask and --matte both say where the person is; give one of them")
    if output.path.suffix.lower() in _CLIPS:
        return _cut_out_clip(portrait, output, mask, network or "matting", alpha_only)
    jobs = plan_jobs(portrait, [mask], output)

    from ..pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(matting=None if mask else network or "matting")

    def make(job: Job) -> "CutOut":
        portrait, mask = job.read()
        assert portrait is not None
        cut_out = pipeline.matte(portrait, mask)
        return cut_out.alpha_only() if alpha_only else cut_out

    return run_jobs(jobs, make, output)


def _cut_out_clip(portrait: Path, output: Output, mask: Path | None, network: str, alpha_only: bool) -> int:
    """Cut the person out of every frame of a clip."""
    if output.format is not None:
        raise ValueError(f"--format is of pictures; {output.path.name} is a clip, whose name tells its format")
    if output.skip_existing and output.path.exists():
        return 0
    from ..pipeline import Pipeline
    from ..video.options import VideoOptions
    from ..video.run import cut_out_video
    from ..video.sources import needs_matting
    from .video import Bar, tell

    options = VideoOptions(mask=None if mask is None else str(mask))
    pipeline = Pipeline.from_pretrained(matting=network if needs_matting(portrait, mask) else None)
    with Bar() as show:
        report = cut_out_video(portrait, output.path, pipeline.matting, options, alpha_only, show)
    return tell(report, output.as_json)
