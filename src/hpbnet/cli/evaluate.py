"""`hpbnet evaluate`: measure methods on a dataset with known truth."""

import sys
from pathlib import Path

import click

_path = click.Path(path_type=Path)


@click.command("evaluate")
@click.argument("dataset", type=_path, required=False)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="[LABEL=]NAME",
    help="Harmonizer or weights file to measure. May be repeated.",
)
@click.option(
    "--outputs",
    multiple=True,
    metavar="LABEL=DIR",
    help="Folder of results made elsewhere, paired by file name. May be repeated.",
)
@click.option(
    "--painted", is_flag=True, help="Also measure the pictures that painting networks (HPBNet, baselines) make."
)
@click.option("-o", "--out", "folder", type=_path, help="Folder for rows.jsonl; by default out/evaluate-DATASET.")
@click.option("--list", "names", type=_path, help="File that lists the composites to use, one a line.")
@click.option("--weights", type=_path, help="Folder of metric weights; by default $HPBNET_METRIC_WEIGHTS.")
@click.option("--download", multiple=True, metavar="NAME", help="Download squeezenet, alexnet or vgg16 to --weights.")
@click.option("--fresh", is_flag=True, help="Ignore rows.jsonl and measure everything again.")
@click.option("--from-rows", type=_path, help="Make tables and figures from this rows.jsonl without measuring.")
@click.option("--figure", type=_path, help="File for a figure of some items: input, methods and truth.")
@click.option("--figure-rows", type=click.IntRange(1), default=6, show_default=True, help="Items in the figure.")
@click.option("--worst", is_flag=True, help="Show the last method's worst items in the figure.")
@click.option("--json", "as_json", is_flag=True, help="Print the tables' numbers as one JSON object.")
def command(
    dataset: Path | None,
    names: Path | None,
    from_rows: Path | None,
    figure: Path | None,
    figure_rows: int,
    worst: bool,
    as_json: bool,
    **settings: object,
) -> int:
    """Measure methods on DATASET, against its truth and against the untouched composites.

    DATASET contains composite_images/, masks/ and real_images/, or subfolders that do (iHarmony4). An interrupted run
    continues where it stopped. Items that cannot be measured are listed, and the exit code is then 1.

    Optional metric weights, each of which adds columns: torchvision's squeezenet1_1, alexnet or vgg16 (.pth) with
    lpips/squeeze.pth, alex.pth or vgg.pth (LPIPS v0.1); vgg16 with dists.pt; mobilefacenet.ckpt; yunet.onnx.
    """
    if dataset is None and (from_rows is None or figure is not None):
        raise ValueError("give a DATASET; without one, --from-rows can make tables but no figure")

    from tqdm import tqdm

    from ..evaluation.figure import draw_figure
    from ..evaluation.session import Request, measure, reopen
    from ..evaluation.table import render_tables, tables_as_json

    if from_rows:
        session = reopen(from_rows, dataset if figure else None, names)
    else:
        assert dataset is not None
        with tqdm(unit="item", file=sys.stderr, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            session = measure(Request(dataset, names=names, **settings), show)  # type: ignore[arg-type]
    for line in (*session.notices, *(f"{problem.name}: {problem.reason}" for problem in session.problems)):
        click.echo(f"note: {line}", err=True)
    if session.rows:
        click.echo(tables_as_json(session.rows) if as_json else render_tables(session.rows), nl=as_json)
    if figure and session.dataset:
        draw_figure(figure, session.rows, session.dataset, session.methods, count=figure_rows, worst=worst)
    if session.problems:
        click.echo(f"{len(session.problems)} could not be measured", err=True)
    return 1 if session.problems else 0
