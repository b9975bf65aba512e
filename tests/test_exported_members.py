"""The public surface: what `import hpbnet` gives, and nothing else."""

import subprocess
import sys

import pytest

import hpbnet


def test_public_surface_is_pinned() -> None:
    assert sorted(hpbnet.__all__) == [
        "AffineGrid",
        "ComposeOptions",
        "Composition",
        "CutOut",
        "HarmonizeOptions",
        "Layers",
        "Pipeline",
        "VideoOptions",
        "__version__",
        "load_network",
    ]


@pytest.mark.parametrize("name", hpbnet.__all__)
def test_every_public_name_exists_and_explains_itself(name: str) -> None:
    member = getattr(hpbnet, name)
    assert name == "__version__" or (member.__doc__ and not member.__doc__.startswith(f"{name}("))


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Harmonizer'"):
        hpbnet.Harmonizer  # type: ignore[attr-defined]


def test_importing_the_package_does_not_load_torch() -> None:
    code = "import sys, hpbnet; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
