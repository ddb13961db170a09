"""Commands as a user types them, without the second that a fresh interpreter takes.

In this process for what a command says and does; in one child for many where a crash of the interpreter must show.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from mlx_mixer.cli.main import main

_CHILD = """
import json, sys
from tests.commands import run_here

for arguments in json.load(sys.stdin):
    done = run_here(*arguments)
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""


def run_here(*arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `mlx-mixer` with some arguments in this process: its exit code, stdout and stderr."""
    given = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mlx-mixer", *given])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
    code = left.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(given, code, out.getvalue(), err.getvalue())


def run_all(commands: Sequence[Sequence[object]]) -> "list[subprocess.CompletedProcess[str]]":
    """Run one command after the other in one child; a crash of its interpreter names the command."""
    given = [[str(argument) for argument in command] for command in commands]
    child = subprocess.run([sys.executable, "-c", _CHILD], input=json.dumps(given), capture_output=True, text=True)
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(lines) == len(given), (given[len(lines)], child.returncode, child.stderr)
    assert (child.returncode, child.stderr) == (0, "")
    return [subprocess.CompletedProcess(each, *line) for each, line in zip(given, lines, strict=True)]
