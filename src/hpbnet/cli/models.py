"""`hpbnet models`: what can be named on the command line."""

import json
from dataclasses import asdict, dataclass

import click


@dataclass(frozen=True)
class Row:
    """One thing that can be named."""

    name: str
    kind: str  # a harmonizer that needs no weights, or the kind of network
    megabytes: float | None  # of the weights' file
    provenance: dict[str, object]


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, provenance included.")
def command(as_json: bool) -> None:
    """List the weights and harmonizers that can be named."""
    from ..checkpoint import read_checkpoint
    from ..harmonize import HARMONIZERS, WEIGHTS
    from ..models import embedded

    rows = [Row(name, "harmonizer without weights", None, {}) for name in HARMONIZERS]
    rows += [
        Row(name, f"harmonizer: {weights}", None, {}) for name, weights in WEIGHTS.items() if weights in embedded()
    ]
    for name, path in embedded().items():
        checkpoint = read_checkpoint(path)
        rows.append(Row(name, checkpoint.network, path.stat().st_size / 1e6, dict(checkpoint.provenance)))
    for row in rows:
        size = "" if row.megabytes is None else f"{row.megabytes:.1f} MB  {row.provenance.get('licence', '')}"
        click.echo(json.dumps(asdict(row)) if as_json else f"{row.name:16}{row.kind:28}{size}".rstrip())
