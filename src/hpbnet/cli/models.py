"""`hpbnet models`: what can be named on the command line."""

import click


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(as_json: bool) -> None:
    """List the networks and harmonizers that can be named."""
