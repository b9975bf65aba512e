"""One picture or a folder of them: which files belong together, and how the work on them is told.

Every command that makes pictures has the same rules. A folder gives `OUT/STEM.FORMAT` for each picture in it;
companions (backgrounds, masks) are one file for all, or a folder paired by stem. A failing file does not stop the rest.
"""

import errno
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
from tqdm import tqdm

from ..errors import describe
from ..files import PICTURE_SUFFIXES, stem_of
from .parameters import Command

if TYPE_CHECKING:
    from ..light import LightingReport

_TOLD = 3  # names of files that are left out
_FORMATS = ("png", "jpg", "webp", "tif", "avif")  # image.FORMATS, which would load torch; a test compares them
_STDIO = Path("-")


@dataclass(frozen=True)
class Output:
    """Where results go, and how."""

    path: Path
    format: str | None
    quality: int
    skip_existing: bool
    as_json: bool


@dataclass(frozen=True)
class Job:
    """One result to be made."""

    sources: tuple[Path | None, ...]  # the picture, then its companions; None where an optional one is not given
    destination: Path
    in_folder: bool = False
    stdin: bytes | None = None  # that was read before, as every picture of a folder may ask for it

    def read(self) -> list[Path | bytes | None]:
        """Return the sources, stdin read where one is `-`."""
        return [(self.stdin or sys.stdin.buffer.read()) if source == _STDIO else source for source in self.sources]


@dataclass(frozen=True)
class Report:
    """What `--json` prints of a job."""

    input: str
    output: str
    seconds: float
    size: tuple[int, int] | None = None  # width, height [px]
    notices: tuple[str, ...] = ()
    light: "LightingReport | None" = None  # of the scene and of the person, where a person is lit
    error: str | None = None


class Result(Protocol):
    """What a job makes."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the eye should know."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""

    def encode(self, format: str = "png", quality: int = 95) -> bytes:
        """Return the bytes of a file."""

    def save(self, path: str | Path, format: str | None = None, quality: int = 95) -> None:
        """Write a file."""


def takes_output(command: Command) -> Command:
    """Give a command the options that say where results go; it receives them as one `output=` argument."""

    @functools.wraps(command)
    def gather(
        path: Path, format: str | None, quality: int, skip_existing: bool, as_json: bool, **rest: object
    ) -> int | None:
        if as_json and path == _STDIO:
            raise ValueError("--json and -o - cannot both write to stdout")
        return command(output=Output(path, format, quality, skip_existing, as_json), **rest)

    where = click.Path(path_type=Path, allow_dash=True)
    decorated: Command = gather
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each result."),
        click.option("--skip-existing", is_flag=True, help="Skip pictures whose output exists."),
        click.option(
            "--quality",
            type=click.IntRange(1, 100),
            default=95,
            show_default=True,
            help="Compression quality for JPEG, WebP and AVIF.",
        ),
        click.option(
            "--format",
            type=click.Choice(_FORMATS),
            help="Output format; by default by the output's file name, PNG for folders.",
        ),
        click.option(
            "-o", "--output", "path", type=where, required=True, help="Output file or folder, or - for stdout."
        ),
    ):
        decorated = option(decorated)
    return decorated


def plan_jobs(picture: Path, companions: Sequence[Path | None], output: Output) -> list[Job]:
    """Pair files into jobs.

    Raises:
        ValueError: files that do not pair, results that would overwrite each other or what they are made of, or a
            format that is not written.
        OSError: a companion is not there, or the folder to write to.
    """
    for companion in companions:
        if companion is not None and companion != _STDIO:
            companion.stat()  # once and now, not for each picture
            if companion.is_dir() and not picture.is_dir():
                raise ValueError(f"{companion} is a folder; it goes with a folder of pictures, not with {picture}")
    sources = (picture, *companions)
    if sources.count(_STDIO) > 1:
        raise ValueError("only one picture can come from stdin (-)")
    if picture.is_dir():
        jobs = list(_folder_jobs(picture, companions, output))
        _refuse_overwriting(jobs)
        output.path.mkdir(parents=True, exist_ok=True)
        return jobs
    if output.path.is_dir():
        if picture == _STDIO:
            raise ValueError(f"{output.path} is a folder; what comes from stdin has no name, so -o must name a file")
        job = Job(sources, output.path / f"{picture.stem}.{output.format or 'png'}")
        _refuse_overwriting([job])
        return [job]
    if output.path != _STDIO and not output.path.parent.is_dir():  # said now, not when the work is done
        raise FileNotFoundError(errno.ENOENT, "cannot be written: there is no such folder", str(output.path))
    if output.format is None and output.path != _STDIO:
        from ..image import format_of

        format_of(output.path)
    job = Job(sources, output.path)
    _refuse_overwriting([job])
    return [job]


def _folder_jobs(folder: Path, companions: Sequence[Path | None], output: Output) -> Iterator[Job]:
    named_file = output.path.suffix.lower() in PICTURE_SUFFIXES and not output.path.is_dir()
    if output.path == _STDIO or named_file or (output.path.exists() and not output.path.is_dir()):
        raise ValueError(f"{folder} is a folder, so -o must name a folder, not {output.path}")
    if output.path.resolve() in {each.resolve() for each in (folder, *companions) if each is not None}:
        raise ValueError(f"the results would be mixed with the pictures in {output.path}; give -o another folder")
    pictures = _by_stem(folder)
    albums = [_by_stem(each) if each is not None and each.is_dir() else None for each in companions]
    stdin = sys.stdin.buffer.read() if _STDIO in companions else None
    for each, album in zip(companions, albums, strict=True):
        if each is not None and album is not None:
            _tell_left_out(each, [path for stem, path in album.items() if stem not in pictures], "without a picture")
    for stem, picture in pictures.items():
        found = [
            each if album is None or each is None else album.get(stem, each / f"{picture.stem}.*")
            for each, album in zip(companions, albums, strict=True)
        ]
        yield Job((picture, *found), output.path / f"{picture.stem}.{output.format or 'png'}", True, stdin)


def _refuse_overwriting(jobs: Sequence[Job]) -> None:
    """Refuse results that would replace a file they are made of."""
    sources = {source.resolve() for job in jobs for source in job.sources if source not in (None, _STDIO)}
    for job in jobs:
        if job.destination != _STDIO and job.destination.resolve() in sources:
            raise ValueError(
                f"{job.destination} would be overwritten by its own result; give -o another name or folder"
            )


def _by_stem(folder: Path) -> dict[str, Path]:
    """List a folder's pictures by stem, in order of name; the stems' accents are in one form, whoever wrote them."""
    pictures: dict[str, Path] = {}
    left_out = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.suffix.lower() not in PICTURE_SUFFIXES or path.is_dir():
            left_out.append(path)
            continue
        stem = stem_of(path)
        if stem in pictures:
            raise ValueError(f"{pictures[stem]} and {path} have one stem and would become one result")
        pictures[stem] = path
    if not pictures:
        raise ValueError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    _tell_left_out(folder, left_out, "no pictures by their names")
    return pictures


def _tell_left_out(folder: Path, paths: Sequence[Path], reason: str) -> None:
    """Count what a folder job does not take."""
    if paths:
        names = ", ".join(path.name for path in paths[:_TOLD]) + (", ..." if len(paths) > _TOLD else "")
        _tell(f"note: {folder}: {len(paths)} left out, {reason} ({names})")


def run_jobs(jobs: Sequence[Job], make: Callable[[Job], Result], output: Output) -> int:
    """Make and write every result; return 1 where some of a folder's failed. A single picture's error is raised."""
    folder = any(job.in_folder for job in jobs)
    todo = [job for job in jobs if not (output.skip_existing and job.destination.exists())]
    failed = 0
    for job in tqdm(todo, unit="picture", file=sys.stderr, disable=not folder, leave=False):
        try:
            report = _run(job, make, output)
        except (ValueError, OSError) as error:
            if not folder:
                raise
            failed += 1
            picture, reason = str(job.sources[0]), describe(error)
            report = Report(picture, str(job.destination), 0.0, error=reason)
            _tell(f"hpbnet: {reason}" if picture in reason else f"hpbnet: {picture}: {reason}")
        if output.as_json:
            click.echo(json.dumps(asdict(report)))
    if folder:
        click.echo(f"{len(todo) - failed} done, {len(jobs) - len(todo)} skipped, {failed} failed", err=True)
    return 1 if failed else 0


def _run(job: Job, make: Callable[[Job], Result], output: Output) -> Report:
    started = time.perf_counter()
    result = make(job)
    for notice in result.notices:
        _tell(f"note: {job.sources[0]}: {notice}" if job.in_folder else f"note: {notice}")
    if job.destination == _STDIO:
        sys.stdout.buffer.write(result.encode(output.format or "png", output.quality))
    else:
        result.save(job.destination, output.format, output.quality)
    seconds = round(time.perf_counter() - started, 3)
    size, light = result.size[::-1], _light_of(result)
    return Report(str(job.sources[0]), str(job.destination), seconds, size, result.notices, light)


def _light_of(result: Result) -> "LightingReport | None":
    from ..composition import Composition

    if not isinstance(result, Composition) or result.light is None:
        return None
    return result.light.report()


def _tell(line: str) -> None:
    """Print a line on stderr, above the progress bar."""
    tqdm.write(line, file=sys.stderr)
