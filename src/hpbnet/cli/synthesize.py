"""`hpbnet synthesize`: make a dataset of disturbed portraits."""

from pathlib import Path

import click

_path = click.Path(path_type=Path)


@click.command("synthesize")
@click.argument("portraits", type=_path)
@click.option("-o", "--out", "folder", type=_path, required=True, help="Folder to write; continued if it exists.")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Items to make.")
@click.option(
    "--recipe",
    type=click.Choice(["paper", "wide", "relit"]),
    default="paper",
    show_default=True,
    help="Which disturbances: the paper's, every kind, or the light alone.",
)
@click.option("--size", type=click.IntRange(16), default=512, show_default=True, help="Side of an item [px].")
@click.option("--seed", type=int, default=0, show_default=True, help="An item depends on its number and this.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes; results do not differ."
)
@click.option("--alphas", type=_path, help="Folder of mattes, paired by stem; else the matting network makes them.")
@click.option("--list", "names", type=_path, help="File of the stems to use, one a line.")
@click.option("--split", default="train", show_default=True, help="Rows of PORTRAITS/index.csv to use, if any.")
@click.option("--relighter", default="builtin", show_default=True, help="builtin, or dpr:PATH to DPR's weights.")
@click.option("--illuminants", type=_path, help="Measured illuminants, .npy [N,3], in place of black bodies.")
@click.option(
    "--lights", type=_path, help="Lights in place of random lamps, .npz with `sh` [N,9] (DPR) or [N,9,3] (HDR)."
)
@click.option("--pool", is_flag=True, help="Write arrays for a training in place of pictures.")
@click.option("--preview", is_flag=True, help="Also write preview.png, a contact sheet.")
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="What runs the workers.",
)
@click.option("--address", help="Of a Ray cluster; without it one is started here.")
def command(
    portraits: Path,
    folder: Path,
    count: int,
    names: Path | None,
    split: str,
    alphas: Path | None,
    pool: bool,
    preview: bool,
    workers: int,
    engine: str,
    address: str | None,
    **drawn: str,
) -> None:
    """Disturb the portraits of a folder: composites, masks and truths to train and test with.

    PORTRAITS holds photos, or an index.csv (name, split, face box, ...) with images/ and alpha/.
    The same seed makes the same files, whatever the workers. An interrupted run goes on where it stopped.
    """
    from tqdm import tqdm

    from ..synthesis.alphas import list_portraits, read_names
    from ..synthesis.engines import Engine
    from ..synthesis.job import Job
    from ..synthesis.shards import count_items, write_pool
    from ..synthesis.write import contact_sheet, finished, synthesize

    listed = read_names(names) if names else None
    usable, unmatted = list_portraits(portraits, split, listed, alphas, made=folder / "alphas")
    job = Job(portraits=tuple(usable), **drawn)  # type: ignore[arg-type]
    where = Engine(workers, engine == "ray", address)
    skipped = set(unmatted)
    stream = write_pool(job, folder, count, where) if pool else synthesize(job, folder, count, where)
    there = min(count, count_items(folder) if pool else len(finished(folder)))  # an earlier run's
    for made in tqdm(stream, total=count, initial=there, unit="item"):
        skipped.update(made.skipped)
    for reason in sorted(skipped):
        click.echo(f"skipped {reason}", err=True)
    if preview and not pool:
        click.echo(contact_sheet(folder))
    click.echo(f"{folder}: {count} items of {len(usable)} portraits, {len(skipped)} photos skipped")
