"""`hpbnet train`: run one of the trainings."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("task", type=click.Choice(["harmonizer", "hpbnet", "matting", "stylegan"]))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--run", "directory", type=click.Path(path_type=Path), required=True, help="Run folder; resumed if it exists."
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="JSON file of config fields.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set one config field; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print the config and stop.")
def command(
    task: str, data: Path, directory: Path, file: Path | None, settings: tuple[str, ...], dry_run: bool
) -> None:
    """Train a network on DATA."""
    from ..training import start
    from ..training.config import read_config

    overrides = dict(read_setting(text) for text in settings) | {"data": str(data)}
    config = read_config(start.TASKS[task].config, file, overrides)
    if dry_run:
        click.echo(json.dumps(asdict(config), indent=2))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    weights = start.train(task, config, directory)
    click.echo(f"weights: {weights}")


def read_setting(text: str) -> tuple[str, str]:
    """Split NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--set {text!r}: expected NAME=VALUE")
    return name, value
