"""`hpbnet export`: files for other programs."""

from pathlib import Path

import click

from ..options import ComposeOptions
from .parameters import read_settings_file, takes_mask, takes_networks, takes_setting_fields

_path = click.Path(path_type=Path)


@click.command("export")
@click.argument("portrait", type=_path, required=False)
@click.argument("background", type=_path, required=False)
@click.option("--cube", type=_path, help="Write the colour change of PORTRAIT in BACKGROUND as a 33-point .cube LUT.")
@click.option(
    "--settings", "recipe", type=_path, help="Write the settings given here as JSON, to use with --settings FILE."
)
@click.option(
    "--onnx",
    nargs=2,
    type=(str, _path),
    multiple=True,
    metavar="NETWORK FILE",
    help="Write a network as ONNX. May be repeated.",
)
@click.option(
    "--from-settings",
    type=_path,
    is_eager=True,
    expose_value=False,
    callback=read_settings_file,
    help="JSON file of settings to start from.",
)
@takes_mask
@takes_networks()
@takes_setting_fields(ComposeOptions)
def command(
    portrait: Path | None,
    background: Path | None,
    cube: Path | None,
    recipe: Path | None,
    onnx: tuple[tuple[str, Path], ...],
    mask: Path | None,
    harmonizer: str | None,
    matting: str | None,
    settings: ComposeOptions,
) -> None:
    """Write files for other programs: a colour LUT, settings, and networks as ONNX.

    PORTRAIT and BACKGROUND are needed for --cube only.
    """
    if cube is None and recipe is None and not onnx:
        raise ValueError("nothing to export: give --cube FILE, --settings FILE or --onnx NETWORK FILE")
    if cube is not None and (portrait is None or background is None):
        raise ValueError("--cube needs PORTRAIT and BACKGROUND")

    if cube is not None and cube.suffix.lower() != ".cube":
        raise ValueError(f"{cube} is not a LUT's file name; expected one that ends in .cube")

    from .. import export
    from ..image import write_bytes
    from ..pipeline import DEFAULT_MATTING, Pipeline
    from ..recipe import write_recipe

    if cube is not None and portrait is not None and background is not None:
        pipeline = Pipeline.from_pretrained(harmonizer, None if mask else matting or DEFAULT_MATTING)
        lut = export.color_cube(pipeline(portrait, background, settings, mask=mask))
        write_bytes(cube, lut.to_text().encode())
        click.echo(f"note: {lut.notice}", err=True)
    if recipe is not None:
        write_bytes(recipe, write_recipe(settings, harmonizer=harmonizer, matting=matting).encode())
    for network, file in onnx:
        export.export_onnx(network, file)
