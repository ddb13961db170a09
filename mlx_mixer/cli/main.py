"""The command group and the one place where errors become a line on stderr and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong use or setting, 3 model or file not available, 4 not enough memory or disk, or a
model of an unsupported kind, 130 interrupted.
"""

import os
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

import click

from mlx_mixer.errors import MixerError
from mlx_mixer.safe_text import safe_line
from mlx_mixer.version import __version__

INTERRUPTED = 130

# Name -> (where the command is, its one-line help). Help texts stand here so that `--help` imports no command;
# a test compares them with the commands' own.
COMMANDS: dict[str, tuple[str, str]] = {
    "bench": ("mlx_mixer.cli.bench:bench", "Measure how fast this machine runs the models."),
    "chat": ("mlx_mixer.cli.chat:chat", "Ask a question, or talk, with a model on this machine."),
    "convert": ("mlx_mixer.cli.convert:convert", "Convert a PyTorch checkpoint into a model folder."),
    "demo": ("mlx_mixer.cli.demo:demo", "Search this project's own files and write a few words."),
    "docs": ("mlx_mixer.cli.docs:docs", "Add your files to the library and see what is in it."),
    "doctor": ("mlx_mixer.cli.doctor:doctor", "Show what this installation runs on, in one paste."),
    "embed": ("mlx_mixer.cli.embed:embed", "Turn texts into vectors."),
    "generate": ("mlx_mixer.cli.generate:generate", "Continue a text."),
    "models": ("mlx_mixer.cli.models:models", "Find, fetch and show models."),
    "paths": ("mlx_mixer.cli.paths:paths", "Show where files are kept."),
    "search": ("mlx_mixer.cli.search:search", "Find the passage you mean in your files."),
    "study": ("mlx_mixer.cli.study:study", "Measure the paper's claims on this machine, masked mixer beside Llama."),
    "train": ("mlx_mixer.cli.train:train", "Train a tokenizer, a language model or an embedder."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def invoke(self, ctx: click.Context) -> Any:  # whatever the command returns
        """Run the command; a reader that has gone (`| head`) ends it quietly and without an error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered must go somewhere when the interpreter closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        return result

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), "the table above names commands"
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 model or file not available, "
    "4 unsupported model or not enough memory or disk, 130 interrupted.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
@click.version_option(__version__, prog_name="mlx-mixer")
@click.pass_context
def cli(context: click.Context) -> None:
    """Write and search on your own machine with masked mixers.

    Without a command, opens the terminal app.
    """
    if context.invoked_subcommand is None:
        context.exit(_open_app())


def main() -> NoReturn:
    """Entry point of the `mlx-mixer` program."""
    try:
        code = cli.main(standalone_mode=False, prog_name="mlx-mixer")
    except click.exceptions.Abort:
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except MixerError as error:
        code = _report(str(error), error.exit_code)
    except Exception as error:  # a fault of ours: one line for the user, the traceback on request
        code = _report(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _report(message: str, code: int) -> int:
    # Read from the arguments because errors end here, after click's context has gone.
    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"mlx-mixer: {safe_line(message)}", err=True)
    return code


def _open_app() -> int:
    # The screen is named and not imported: the library does not know it, and commands must start without it.
    run = import_module("tui.start").run
    return int(run())
