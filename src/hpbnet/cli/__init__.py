"""The `hpbnet` command: parse, call the library once, write.

Knows the commands' names and one-line helps, and how an error is said. A command's module (which holds the click
command under the name `command`) is imported only when that command is invoked, so that `hpbnet --help` stays quick.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

import click

from .. import __version__
from ..errors import describe


class Entry(NamedTuple):
    """One row of the table of commands: the module in this package, and the line shown by `hpbnet --help`."""

    module: str
    help: str


COMMANDS: dict[str, Entry] = {
    "studio": Entry("studio", "Open a page in the browser to put a person into another picture."),
    "compose": Entry("compose", "Put a person into another picture."),
    "matte": Entry("matte", "Cut a person out, with a transparent background."),
    "harmonize": Entry("harmonize", "Match the colours of a pasted foreground to its background."),
    "video": Entry("video", "Put a person into a video, or a person from a video into a picture."),
    "webcam": Entry("webcam", "Replace your webcam background in real time."),
    "serve": Entry("serve", "Answer over HTTP: an API for programs, and the studio's page."),
    "export": Entry("export", "Write a colour LUT, settings, or networks as ONNX for other programs."),
    "synthesize": Entry("synthesize", "Make a training or test dataset of disturbed portraits."),
    "generate": Entry("generate", "Draw portraits, with mattes, from a generator of faces."),
    "train": Entry("train", "Train one of the networks."),
    "evaluate": Entry("evaluate", "Measure methods on a dataset with known truth."),
    "evaluate-video": Entry("evaluate_video", "Measure how steadily methods colour a video."),
    "convert": Entry("convert", "Convert published generator weights to hpbnet's format."),
    "models": Entry("models", "List the available networks and harmonizers."),
}


class _LazyGroup(click.Group):
    """A click group that imports a command's module when the command is invoked, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f".{COMMANDS[cmd_name].module}", __name__).command
        assert isinstance(command, click.Command), cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise click.UsageError(f"no command {args[0]!r}; {hint}commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hpbnet")
def group() -> None:
    """Put a person into another picture: cut out, place, match colours, composite."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hpbnet` and return its exit code: 0, 1 where some files of a folder failed, 2 for a user's mistake."""
    try:
        result = group.main(arguments, prog_name="hpbnet", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as request:
        click.echo(request.ctx.get_help() if request.ctx else "")
        if request.ctx is not None and request.ctx.parent is None:
            click.echo("\nNew here? Run `hpbnet studio`: a page opens in the browser, and everything is done there.")
        return 2
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt) as error:
        cut_short = isinstance(error.__cause__, EOFError)  # click takes the end of a damaged file for Ctrl-D
        return _fail("an input file ends before it is complete") if cut_short else _fail("interrupted", code=130)
    except BrokenPipeError:  # the reader of our output went away: `hpbnet models | head -1`
        sys.stdout = None  # or the interpreter complains when it flushes at exit
        return 1
    except (ValueError, OSError) as error:
        return _fail(describe(error))
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int = 2) -> int:
    click.echo(f"hpbnet: {message}", err=True)
    return code
