"""`hpbnet models`: list the networks and harmonizers that have a name."""

import json
from dataclasses import asdict, dataclass

import click


@dataclass(frozen=True)
class NamedModel:
    """A network or harmonizer that has a name."""

    name: str
    kind: str  # a harmonizer that needs no weights, or the kind of network
    megabytes: float | None  # of the weights file
    provenance: dict[str, object]


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, with provenance.")
def command(as_json: bool) -> None:
    """List the available networks and harmonizers."""
    from ..checkpoint import read_checkpoint
    from ..harmonize import HARMONIZERS, WEIGHTS
    from ..models import embedded

    models = [NamedModel(name, "harmonizer without weights", None, {}) for name in HARMONIZERS]
    models += [
        NamedModel(name, f"harmonizer: {weights}", None, {})
        for name, weights in WEIGHTS.items()
        if weights in embedded()
    ]
    for name, path in embedded().items():
        checkpoint = read_checkpoint(path)
        models.append(NamedModel(name, checkpoint.network, path.stat().st_size / 1e6, dict(checkpoint.provenance)))
    for model in models:
        size = "" if model.megabytes is None else f"{model.megabytes:.1f} MB  {model.provenance.get('licence', '')}"
        click.echo(json.dumps(asdict(model)) if as_json else f"{model.name:16}{model.kind:28}{size}".rstrip())
