"""The networks that a client may name, and a pipeline of them."""

from collections.abc import Mapping

from ..harmonize import HARMONIZERS, WEIGHTS
from ..models import embedded
from ..pipeline import DEFAULT_HARMONIZER, DEFAULT_MATTING, Pipeline

_DESCRIPTIONS = {
    "learned": "Our network: quick, and the best on most pictures.",
    "hpbnet": "The network of the paper: it paints a picture whose colours are taken over.",
    "reinhard": "Classical: means and deviations in Lab, with limits.",
    "covariance": "Classical: means and covariances in RGB, with limits.",
    "none": "Leave the person's colours as they are.",
    "matting": "Our network: finds the person and keeps the hair soft.",
}
Names = tuple[str | None, str | None]  # of harmonizer and matting; None for what the server was started with


def harmonizer_names() -> list[str]:
    """Return the harmonizers that are here, the default first."""
    learned = [name for name, weights in WEIGHTS.items() if weights in embedded()]
    return [*learned, *(name for name in HARMONIZERS if name != "none"), "none"]


def matting_names() -> list[str]:
    """Return the matting networks that are here; those that would have to be downloaded are not."""
    return [DEFAULT_MATTING] if DEFAULT_MATTING in embedded() else []


def describe_networks() -> dict[str, object]:
    """Return the names and descriptions of all networks, and which are used where none is named."""
    return {
        "harmonizer": [_described(name) for name in harmonizer_names()],
        "matting": [_described(name) for name in matting_names()],
        "default": {"harmonizer": DEFAULT_HARMONIZER, "matting": DEFAULT_MATTING},
    }


def names_in(values: Mapping[str, object]) -> Names:
    """Take the names of networks from a client's settings. Paths are refused: a client names no files here.

    Raises:
        ValueError: a network of that name is not here.
    """
    harmonizer, matting = (
        _checked(role, values.get(role), known())
        for role, known in (("harmonizer", harmonizer_names), ("matting", matting_names))
    )
    return harmonizer, matting


def pipeline_of(pipeline: Pipeline, names: Names) -> Pipeline:
    """Return the server's pipeline with the networks that a client named; each is loaded once."""
    harmonizer, matting = names
    if harmonizer is None and matting is None:
        return pipeline
    named = Pipeline.from_pretrained(harmonizer, matting)
    return Pipeline(
        pipeline.harmonizer if harmonizer is None else named.harmonizer,
        pipeline.matting if matting is None else named.matting,
        pipeline.max_pixels,
    )


def _checked(role: str, name: object, known: list[str]) -> str | None:
    if name is None or name == "":
        return None
    if name not in known:
        raise ValueError(f"{role} is {str(name)[:60]!r}; expected one of {', '.join(known)}")
    return str(name)


def _described(name: str) -> dict[str, str]:
    return {"name": name, "description": _DESCRIPTIONS.get(name, "")}
