"""`hpbnet train`: run one of the trainings."""

import dataclasses
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

import click

from ..settings import kind_of

if TYPE_CHECKING:
    from ..training.config import TrainConfig

TASKS = {
    "harmonizer": "Train the default harmonizer.",
    "hpbnet": "Train the paper's network, or its U-Net alone.",
    "matting": "Train the matting network.",
    "stylegan": "Train a StyleGAN2 generator, the prior of hpbnet.",
    "ht": "Train HT, a method to compare with.",
    "dovenet": "Train DoveNet, a method to compare with.",
    "adfm": "Train ADFM, a method to compare with.",
    "idih": "Train iDIH-HRNet18, a method to compare with.",
    "s2crnet": "Train S2CRNet, a method to compare with.",
}


_NO_LIMIT = 1_000_000  # from which on an upper bound of a field is not worth telling


class _TaskCommand(click.Command):
    """A command whose help lists the fields of its task's config."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        from ..training import start

        assert self.name is not None
        with formatter.section("Fields and their defaults, for --set and --config"):
            formatter.write_dl(list_fields(start.TASKS[self.name].config))


@click.group("train", subcommand_metavar="TASK DATA --run FOLDER [OPTIONS]")
def command() -> None:
    """Train a network; `hpbnet train TASK --help` lists what can be set.

    A training that was interrupted goes on from its last checkpoint when it is started again. Several processes:
    `torchrun --nproc-per-node N -m -- hpbnet train ...`.
    """


def _add(task: str, summary: str) -> None:
    @command.command(task, cls=_TaskCommand, help=summary)
    @click.argument("data", type=click.Path(path_type=Path))
    @click.option(
        "--run",
        "directory",
        type=click.Path(path_type=Path),
        required=True,
        help="Run folder; a training that was interrupted is resumed.",
    )
    @click.option("--config", "file", type=click.Path(path_type=Path), help="JSON file of settings (fields below).")
    @click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set one field. May be repeated.")
    @click.option("--dry-run", is_flag=True, help="Print the config and stop.")
    def run(data: Path, directory: Path, file: Path | None, overrides: tuple[str, ...], dry_run: bool) -> None:
        train(task, data, directory, file, overrides, dry_run)


for _task, _summary in TASKS.items():
    _add(_task, _summary)


def train(task: str, data: Path, directory: Path, file: Path | None, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Run a training and show how far it is."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from ..training import start
    from ..training.config import read_config

    config = read_config(start.TASKS[task].config, file, dict(map(read_setting, overrides)) | {"data": str(data)})
    if dry_run:
        click.echo(json.dumps(asdict(config), indent=2))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    with tqdm(unit="step", desc=task, leave=False, delay=1e-9) as bar, logging_redirect_tqdm():

        def show(done: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = done
            bar.update(done - bar.n)
            if done == total:
                bar.refresh()  # what follows may take long

        weights = start.train(task, config, directory, show)
    click.echo(f"weights: {weights}")


def read_setting(text: str) -> tuple[str, str]:
    """Split NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--set {text!r}: expected NAME=VALUE")
    return name, value


def list_fields(config: "type[TrainConfig]") -> list[tuple[str, str]]:
    """List the fields of a training's config: name and default, then help and range."""
    data, *others = dataclasses.fields(config)
    rows = [(f"{field.name}{_text(field.default)}", _explain(field)) for field in others]
    return [("DATA", str(data.metadata["help"])), *rows]


def _explain(field: "dataclasses.Field[object]") -> str:
    kind, bounds = kind_of(field), field.metadata["range"]
    if get_origin(kind) is Literal:
        return f"{field.metadata['help']} One of {', '.join(get_args(kind))}."
    if bounds is None:
        return str(field.metadata["help"])
    limits = (
        f"From {_number(bounds[0])} to {_number(bounds[1])}" if bounds[1] < _NO_LIMIT else f"At least {bounds[0]:g}"
    )
    return f"{field.metadata['help']} {limits}."


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _text(value: object) -> str:
    """Write a default as --set takes it."""
    if value in (None, ""):
        return ""
    return f"={value}" if isinstance(value, str) else f"={json.dumps(value)}"
