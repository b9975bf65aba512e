"""`hpbnet synthesize`: make a dataset of disturbed portraits."""

from pathlib import Path

import click

_path = click.Path(path_type=Path)


@click.command("synthesize")
@click.argument("portraits", type=_path)
@click.option(
    "-o", "--out", "folder", type=_path, required=True, help="Output folder; an interrupted run is continued."
)
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Items to make.")
@click.option(
    "--recipe",
    type=click.Choice(["paper", "wide", "scene", "relit"]),
    default="paper",
    show_default=True,
    help="Kind of disturbances: the paper's, every kind, people not lit by their scene, or the light alone.",
)
@click.option("--size", type=click.IntRange(16), default=512, show_default=True, help="Side of an item [px].")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed; the same seed makes the same files.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Worker processes, by default 1; with Ray, items made at a time, by default enough for all cores.",
)
@click.option(
    "--alphas", type=_path, help="Folder of mattes named like the photos; by default made by the matting network."
)
@click.option("--list", "names", type=_path, help="Text file of the photos to use: one name per line, without suffix.")
@click.option(
    "--split", default="train", show_default=True, help="Split of PORTRAITS/index.csv to use, if there is one."
)
@click.option(
    "--relighter",
    default="builtin",
    show_default=True,
    help="Relighting method: builtin, or dpr:PATH for DPR with its weights.",
)
@click.option("--illuminants", type=_path, help="Measured illuminants, .npy [N,3]; by default black bodies.")
@click.option(
    "--lights", type=_path, help="Lights, .npz with `sh` [N,9] (DPR) or [N,9,3] (HDR); by default random lamps."
)
@click.option(
    "--backgrounds", type=_path, help="Folder of scenes without people, with an index.csv, for the recipe scene."
)
@click.option("--pool", is_flag=True, help="Write arrays for `hpbnet train` instead of pictures.")
@click.option("--preview", is_flag=True, help="Also write preview.png, a contact sheet.")
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Run workers as processes of this machine, or on a Ray cluster.",
)
@click.option("--address", help="Address of a Ray cluster; without it, one is started on this machine.")
def command(
    portraits: Path,
    folder: Path,
    count: int,
    names: Path | None,
    split: str,
    alphas: Path | None,
    pool: bool,
    preview: bool,
    workers: int | None,
    engine: str,
    address: str | None,
    backgrounds: Path | None,
    **options: object,
) -> None:
    """Disturb the portraits of a folder: composites, masks and truths to train and test with.

    PORTRAITS holds photos, or an index.csv (name, split, face box, ...) with images/ and alpha/.
    The same seed makes the same files, whatever the number of workers. An interrupted run is continued.
    """
    from functools import partial

    from tqdm import tqdm

    from ..synthesis.alphas import list_portraits, read_names
    from ..synthesis.engines import Engine
    from ..synthesis.lit import find_lit
    from ..synthesis.plan import SynthesisPlan
    from ..synthesis.shards import count_items, write_pool
    from ..synthesis.write import contact_sheet, finished, synthesize

    listed = read_names(names) if names else None
    usable, unusable = list_portraits(portraits, split, listed, alphas, made=folder / "alphas")
    if options["recipe"] == "scene":
        lit = find_lit(usable, backgrounds, split, folder, partial(tqdm, total=len(usable), unit="photo", leave=False))
        click.echo(f"{len(lit.strong)} portraits and {len(lit.scenes)} scenes are in strong light", err=True)
        plan = SynthesisPlan(portraits=lit.others, strong=lit.strong, scenes=lit.scenes, **options)  # type: ignore[arg-type]
    elif backgrounds is not None:
        raise ValueError(f"backgrounds are for the recipe scene; the recipe {options['recipe']} keeps the photos' own")
    else:
        plan = SynthesisPlan(portraits=tuple(usable), **options)  # type: ignore[arg-type]
    resources = Engine(workers, engine == "ray", address)
    skipped = set(unusable)
    stream = write_pool(plan, folder, count, resources) if pool else synthesize(plan, folder, count, resources)
    made_before = min(count, count_items(folder) if pool else len(finished(folder)))
    for made in tqdm(stream, total=count, initial=made_before, unit="item"):
        skipped.update(made.skipped)
    for reason in sorted(skipped):
        click.echo(f"skipped {reason}", err=True)
    if preview and not pool:
        click.echo(contact_sheet(folder))
    click.echo(f"{folder}: {count} items of {len(usable)} portraits, {len(skipped)} photos skipped")
