"""`hpbnet generate`: draw portraits, with mattes, from a generator of faces."""

from pathlib import Path

import click

_path = click.Path(path_type=Path)


def _range(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, float]:
    """Read LOW..HIGH, or one number for both."""
    low, dots, high = text.partition("..")
    try:
        return float(low), float(high if dots else low)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a range; expected LOW..HIGH such as 0.5..1") from None


@click.command("generate")
@click.argument("prior", type=_path)
@click.option(
    "-o", "--out", "folder", type=_path, required=True, help="Output folder; an interrupted run is continued."
)
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Portraits to make.")
@click.option("--size", type=click.IntRange(64), default=512, show_default=True, help="Side of a portrait [px].")
@click.option(
    "--truncation",
    metavar="LOW..HIGH",
    default="0.5..1",
    show_default=True,
    callback=_range,
    help="Truncation, drawn for each portrait: 0 is the average face, 1 the generator's full variety.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed; the same seed makes the same portraits.")
@click.option("--matting", default="matting", show_default=True, help="Matting network, by name or file.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Worker processes; the results do not depend on it.",
)
def command(
    prior: Path,
    folder: Path,
    count: int,
    size: int,
    truncation: tuple[float, float],
    seed: int,
    matting: str,
    workers: int,
) -> None:
    """Draw portraits from PRIOR, a generator written by `hpbnet convert mobilestylegan`.

    Writes images/, alpha/ and index.csv as `hpbnet synthesize` and the trainings read them, and sheet.png.
    The same seed makes the same files, whatever the number of workers. An interrupted run is continued.
    """
    from collections import Counter

    from tqdm import tqdm

    from ..synthesis.engines import Engine
    from ..synthesis.generate import INDEX, LEFT_OUT, PortraitPlan, contact_sheet, generate, read_rows

    plan = PortraitPlan(prior, size, truncation, seed, matting)
    for _ in tqdm(generate(plan, folder, count, Engine(workers)), unit="portrait"):
        pass
    click.echo(contact_sheet(folder))
    reasons = Counter(row[1] for row in read_rows(folder / LEFT_OUT).values())
    left_out = "; ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    click.echo(
        f"{folder}: {len(read_rows(folder / INDEX))} portraits, {reasons.total()} left out ({left_out or 'none'})"
    )
