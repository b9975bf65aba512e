"""Every choice of the user has a default, a help and a range, and is checked."""

import dataclasses
import math
from typing import get_args

import pytest

from hpbnet.options import ComposeOptions
from hpbnet.settings import kind_of

FIELDS = {field.name: field for field in dataclasses.fields(ComposeOptions)}
BOUNDED = {name: field.metadata["range"] for name, field in FIELDS.items() if field.metadata["range"]}


def test_defaults_are_valid_and_options_are_frozen() -> None:
    options = ComposeOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.strength = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_explains_itself(name: str) -> None:
    assert FIELDS[name].metadata["help"].endswith(".")
    if kind_of(FIELDS[name]) in (int, float):
        low, high = FIELDS[name].metadata["range"]
        assert low < high


@pytest.mark.parametrize("name", [name for name in BOUNDED if name != "size"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1000.0, 1000.0, "much", True, [1]])
def test_numbers_out_of_range_are_refused_with_the_range(name: str, value: object) -> None:
    low, high = BOUNDED[name]
    with pytest.raises(ValueError, match=rf"{name} is .*; expected a number from {low:g} to {high:g}"):
        ComposeOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in BOUNDED if name != "size"])
def test_the_ends_of_each_range_are_accepted(name: str) -> None:
    for end in BOUNDED[name]:
        assert getattr(ComposeOptions(**{name: end}), name) == end


@pytest.mark.parametrize(
    "size", [(0, 100), (100,), (100.5, 100), (100.0, 100), "100x100", (100, 31000), (math.nan, 100)]
)
def test_sizes_that_are_none_are_refused(size: object) -> None:
    with pytest.raises(ValueError, match=r"size is .*; expected 2 whole numbers from 16 to 30000"):
        ComposeOptions(size=size)  # type: ignore[arg-type]


def test_sizes_that_no_memory_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 100 million pixels"):
        ComposeOptions(size=(30000, 30000))


def test_choices_and_switches_are_checked() -> None:
    for choice in get_args(FIELDS["fit"].type):
        assert ComposeOptions(fit=choice).fit == choice
    with pytest.raises(ValueError, match="fit is 'stretch'; expected one of cover, contain"):
        ComposeOptions(fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flip is 'yes'; expected true or false"):
        ComposeOptions(flip="yes")  # type: ignore[arg-type]
