"""`hpbnet matte`: the first step alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import ClipOptions, MatteOptions
from .jobs import Job, Output, plan_jobs, run_jobs, takes_output
from .parameters import takes_hint, takes_limit, takes_mask, takes_networks, takes_settings

if TYPE_CHECKING:
    from ..composition import CutOut

_CLIPS = (".mov", ".mkv", ".webm", ".mp4", ".m4v")


@click.command("matte")
@click.argument("portrait", type=click.Path(path_type=Path, allow_dash=True))
@takes_output
@takes_limit
@takes_mask
@takes_hint
@takes_networks(harmonizer=False)
@click.option("--alpha-only", is_flag=True, help="Write the alpha alone, as a grey picture.")
@takes_settings(MatteOptions)
def command(
    portrait: Path,
    output: Output,
    mask: Path | None,
    hint: Path | None,
    matting: str | None,
    alpha_only: bool,
    max_pixels: int,
    settings: MatteOptions,
) -> int:
    """Cut the person out of PORTRAIT (a photo, a clip, - for stdin, or a folder), with transparency.

    A clip is written where -o ends in .mov or .mkv (ProRes) or .webm (VP9), with --alpha-only also .mp4; --start,
    --end, --codec and --crf are for clips, --hint and --person for pictures.
    """
    if mask and matting:
        raise ValueError("--mask and --matting both say where the person is; give one of them")
    if output.path.suffix.lower() in _CLIPS:
        if hint or settings.person != "all":
            raise ValueError(f"--hint and --person are for pictures; {output.path} is a clip")
        clip = ClipOptions(settings.start, settings.end, settings.codec, settings.crf)
        return _cut_out_clip(portrait, output, mask, matting, alpha_only, clip)
    if settings != MatteOptions(person=settings.person):
        raise ValueError(f"--start, --end, --codec and --crf are for clips; {output.path} is not a clip")
    jobs = plan_jobs(portrait, [mask, hint], output)

    from ..pipeline import DEFAULT_MATTING, Pipeline

    network = None if mask else matting or DEFAULT_MATTING
    pipeline = Pipeline.from_pretrained(matting=network, max_pixels=max_pixels)

    def make(job: Job) -> "CutOut":
        portrait, mask, hint = job.read()
        assert portrait is not None
        cut_out = pipeline.matte(portrait, mask, hint, settings.person)
        return cut_out.alpha_only() if alpha_only else cut_out

    return run_jobs(jobs, make, output)


def _cut_out_clip(
    portrait: Path, output: Output, mask: Path | None, matting: str | None, alpha_only: bool, settings: ClipOptions
) -> int:
    """Cut the person out of every frame of a clip."""
    if output.format is not None:
        raise ValueError(f"--format is for pictures; the name of the clip {output.path.name} tells its format")
    if output.skip_existing and output.path.exists():
        return 0
    from ..pipeline import DEFAULT_MATTING, Pipeline
    from ..video.sources import needs_matting
    from .video import Bar, tell

    network = (matting or DEFAULT_MATTING) if needs_matting(portrait, mask) else None
    pipeline = Pipeline.from_pretrained(matting=network)
    with Bar() as show:
        report = pipeline.matte_video(portrait, output.path, settings, mask=mask, alpha_only=alpha_only, progress=show)
    return tell(report, output.as_json)
