"""How errors are worded: any error in one line, a misspelt name, an optional package that is not installed."""

import difflib
from collections.abc import Iterable


def describe(error: Exception) -> str:
    """Put an error into one line: the reason, and the file if the error names one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name most like a misspelt one, as the start of a sentence; empty if none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def missing_extra(purpose: str, package: str, extra: str) -> ValueError:
    """Make the error for an optional package that is not installed.

    Args:
        purpose: what needs the package, at the start of a sentence; plural, as in "HEIC pictures".
        package: its name.
        extra: the extra of hpbnet that installs it.
    """
    return ValueError(
        f"{purpose} need {package}, which is not installed; "
        f"run pip install -e '.[{extra}]' in the folder that hpbnet was cloned into"
    )
