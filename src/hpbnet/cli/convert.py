"""`hpbnet convert`: convert published weights to hpbnet's own format."""

from pathlib import Path

import click


@click.command("convert")
@click.argument("kind", type=click.Choice(["stylegan2", "mobilestylegan"]))
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File for the generator (.safetensors)."
)
@click.option(
    "--discriminator", type=click.Path(path_type=Path), help="File for StyleGAN2's discriminator (.safetensors)."
)
def command(kind: str, file: Path, output: Path, discriminator: Path | None) -> None:
    """Convert published generator weights in FILE; code inside FILE is never run.

    For stylegan2, FILE is a state dict of the PyTorch port (.pt with g_ema) or a pickle of stylegan2-ada-pytorch (.pkl
    with G_ema). For mobilestylegan, FILE is the wheel of random_face 2021.7.21.1, or a folder with its OpenVINO files.
    """
    from ..checkpoint import write_checkpoint
    from ..convert import convert_mobile_stylegan, convert_stylegan2

    prior = convert_stylegan2(file) if kind == "stylegan2" else convert_mobile_stylegan(file)
    if discriminator is not None and prior.discriminator is None:
        raise ValueError(f"{file} has no discriminator")
    write_checkpoint(output, prior.generator)
    click.echo(f"{kind}: {output} ({prior.resolution} px)")
    if discriminator is not None and prior.discriminator is not None:
        write_checkpoint(discriminator, prior.discriminator)
        click.echo(f"{kind} discriminator: {discriminator}")
