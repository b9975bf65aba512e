"""Write docs/cli.md from the commands' own help, so that the two cannot disagree."""

from pathlib import Path

import click

from hpbnet.cli import COMMANDS, group

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"


def document_commands() -> str:
    """Return the page: `hpbnet --help` and every command's."""
    root = click.Context(group, info_name="hpbnet", terminal_width=100, **group.context_settings)
    parts = ["# The commands\n\nWritten by `make docs` from each command's `--help`.\n", _section("hpbnet", root)]
    for name in COMMANDS:
        command = group.get_command(root, name)
        assert command is not None
        context = click.Context(command, parent=root, info_name=name, terminal_width=100)
        parts.append(_section(f"hpbnet {name}", context))
        for task, inner in getattr(command, "commands", {}).items():
            below = click.Context(inner, parent=context, info_name=task, terminal_width=100)
            parts.append(_section(f"hpbnet {name} {task}", below))
    return "\n".join(parts)


def _section(title: str, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{context.get_help().rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(document_commands())
