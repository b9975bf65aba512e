"""How errors are worded."""

import pytest

from hpbnet.errors import describe, missing_extra


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n   lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("without a number"), "without a number"),
    ],
)
def test_an_error_is_one_line_that_names_the_file(error: Exception, line: str) -> None:
    assert describe(error) == line


def test_a_missing_package_says_how_to_install_it_from_a_clone() -> None:
    error = missing_extra("HEIC pictures", "pillow-heif", "heif")
    assert str(error).startswith("HEIC pictures need pillow-heif, which is not installed")
    assert "pip install -e '.[heif]'" in str(error)
