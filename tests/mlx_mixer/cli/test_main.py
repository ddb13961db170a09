"""The command group: what it promises about start-up, help, errors and exit codes."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from mlx_mixer.cli.main import COMMANDS
from tests.processes import start
from tests.tiny import tiny_model_folder

HEAVY = ("mlx", "mlx_lm", "numpy", "textual", "transformers", "tokenizers", "huggingface_hub")


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mlx_mixer", *arguments], input=stdin, capture_output=True, text=True)


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys\n"
        f"sys.argv = ['mlx-mixer', *{list(arguments)!r}]\n"
        "from mlx_mixer.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["paths"], ["search", "--help"], ["docs", "--help"], ["chat", "--help"]]
)
def test_help_and_paths_import_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_of_commands_says_what_each_command_says(name: str) -> None:
    where, help_text = COMMANDS[name]
    module, _, attribute = where.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == help_text


def every_command(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(words, command)]
    return [pair for name, inner in command.commands.items() for pair in every_command(inner, (*words, name))]


def test_every_option_has_help() -> None:
    for name, (where, _) in COMMANDS.items():
        module, _, attribute = where.partition(":")
        for words, command in every_command(getattr(import_module(module), attribute), (name,)):
            assert command.help, words
            missing = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
            assert not missing, (words, missing)


def test_a_wrong_command_or_option_exits_with_2() -> None:
    for arguments in (["nonsense"], ["paths", "--nonsense"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "No such" in done.stderr


def test_a_missing_model_exits_with_3_and_one_line() -> None:
    done = run("generate", "--prompt", "a", "--model", "nowhere")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("mlx-mixer: no model at nowhere")
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_it_failed() -> None:
    done = run("--debug", "generate", "--prompt", "a", "--model", "nowhere")
    assert "Traceback" in done.stderr
    assert done.returncode == 3


def test_hostile_names_do_not_reach_the_terminal() -> None:
    done = run("generate", "--prompt", "a", "--model", "\x1b]0;title\x07")
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "model")
    command = f"{sys.executable} -m mlx_mixer generate -p a -m {folder} -n 200 | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_without_a_terminal_the_app_does_not_start() -> None:
    done = run()
    assert done.returncode == 2
    assert "terminal" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interrupt_keeps_what_was_written_and_exits_with_130(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "model", vocab_size=256, eos_token_id=None)  # no id that could end the text
    command = [sys.executable, "-m", "mlx_mixer", "generate", "-p", "a", "-m", str(folder), "-n", "1000000"]
    process = start(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    first = process.stdout.read(64)
    process.send_signal(signal.SIGINT)
    rest, narration = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(first + rest) >= 64
    assert b"interrupted" in narration
    assert b"Traceback" not in narration
