"""The whole application in a real terminal: what a user sees, and what is left when it ends."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library
from tests.tiny import tiny_model_folder
from tests.tui.pseudo_terminal import PseudoTerminal

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "mlx_mixer"]
CTRL_G, CTRL_N, CTRL_Q = "\x07", "\x0e", "\x11"
# Its vocabulary lacks the token that ends a text, so that it writes until it is stopped.
NEVER_ENDS = {"vocab_size": 256, "eos_token_id": None}
F3, F4, F6 = "\x1bOR", "\x1bOS", "\x1b[17~"
PREFIX = "The package manager"
# The promise is a second; this is for machines that run a great deal else. What must not be waited for takes longer.
PATIENCE_SECONDS = 8.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    terminals: list[PseudoTerminal] = []

    def begin(command: list[str] | None = None, *, size: tuple[int, int] = (80, 24), **environ: str) -> PseudoTerminal:
        home.mkdir(exist_ok=True)
        wanted = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "MLX_MIXER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "HF_HUB_OFFLINE": "1",
            **environ,
        }
        terminals.append(PseudoTerminal(command or COMMAND, environ=wanted, size=size, folder=home))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        with terminal:
            pass


Start = Callable[..., PseudoTerminal]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that is small enough to load and write in no time."""
    return tiny_model_folder(tmp_path_factory.mktemp("models") / "tiny", **NEVER_ENDS)


def remember(home: Path, **choices: object) -> None:
    """Store choices as an earlier start would have."""
    (home / "state").mkdir(parents=True)
    (home / "state" / "app.json").write_text(json.dumps(choices))


def numbers(text: str, pattern: str) -> list[int]:
    return [int(number) for number in re.findall(pattern, text)]


def test_a_text_is_continued_a_folder_is_searched_and_the_terminal_is_left_as_it_was(
    start: Start, home: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "trim.md").write_text("# Notes\n\n## Sliding\n\nThe cache is trimmed when the window is full.\n")
    (notes / "other.md").write_text("# Garden\n\nTomatoes like warmth.\n")
    record = tmp_path / "record"
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\necho "$@" > {record}\n')
    editor.chmod(0o755)
    vim = tmp_path / "vim"
    vim.symlink_to(editor)
    remember(home, settings={"seed": 1})
    terminal = start(EDITOR=str(vim))

    terminal.wait_for("Write a beginning")
    terminal.type(PREFIX)
    terminal.wait_for(PREFIX)
    terminal.type("\t")
    terminal.wait_for(lambda screen: any(count >= 5 for count in numbers(screen, r"(\d+) tokens")), seconds=60)
    text_shown = terminal.screen.text.partition("\n\n")[2]
    assert text_shown.lstrip().startswith(PREFIX)
    assert not text_shown.lstrip().startswith(f"{PREFIX}\n"), "the continuation is on the screen"
    terminal.type("\x1b")
    terminal.wait_for(lambda screen: "■ stopped" in screen or "✓ " in screen)

    terminal.type(F4)
    terminal.wait_for("Nothing to search yet")
    terminal.type(CTRL_N)
    terminal.wait_for("Add a file or folder")
    terminal.type(str(notes))
    terminal.wait_for("notes")
    terminal.type("\r")
    terminal.wait_for("2 documents · text 100 %")
    terminal.wait_for("meaning 100 %", seconds=60)
    terminal.type("how is the cache trimmed")
    terminal.wait_for("trim.md:5")
    terminal.wait_for("Sliding")
    terminal.type("\r")
    terminal.wait_for(lambda _: record.exists() and record.read_text())
    assert record.read_text().split() == ["+5", str(notes / "trim.md")]
    terminal.wait_for(lambda _: terminal.output.count("?1049h") == 2 and terminal.takes_keys)

    terminal.type(CTRL_Q)
    code, seconds = terminal.wait_for_exit()
    assert code == 0
    assert seconds < PATIENCE_SECONDS
    assert terminal.is_restored
    draft = (home / "data" / "draft.txt").read_text()
    assert draft.startswith(PREFIX)
    assert len(draft) > len(PREFIX)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_restores_the_terminal_keeps_the_text_and_is_told_in_the_exit_code(
    start: Start, home: Path, number: signal.Signals, code: int
) -> None:
    terminal = start()
    terminal.wait_for("Write a beginning")
    terminal.type("unsaved words")
    terminal.wait_for("unsaved words")
    terminal.signal(number)
    assert terminal.wait_for_exit()[0] == code
    assert terminal.is_restored
    assert (home / "data" / "draft.txt").read_text() == "unsaved words"


def test_closing_the_window_ends_the_program(start: Start) -> None:
    terminal = start()
    terminal.wait_for("Write a beginning")
    terminal.hang_up()
    assert terminal.process.wait(30) == 129


def test_the_whole_terminal_is_used_whatever_its_size(start: Start) -> None:
    def fills(screen: str) -> bool:
        rows = screen.split("\n")
        return len(rows[0]) > terminal.screen.columns - 3 and "^P Commands" in rows[-1]

    terminal = start(size=(110, 34))
    terminal.wait_for(fills)
    for size in ((64, 18), (140, 40)):
        terminal.resize(*size)
        terminal.wait_for(fills)


# Told of the end of the terminal, as the first process of a session is, and keeping it to itself, as make does.
SILENT_PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, lambda *_: None)
sys.exit(subprocess.run([sys.executable, "-m", "mlx_mixer"]).returncode)
"""


@pytest.mark.parametrize("has_editor", [False, True])
def test_closing_the_window_ends_a_program_that_nobody_tells_of_it(
    start: Start, home: Path, tmp_path: Path, *, has_editor: bool
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho it is open\ncat > /dev/null\n")
    editor.chmod(0o755)
    terminal = start([sys.executable, "-c", SILENT_PARENT], EDITOR=str(editor))
    terminal.wait_for("Write a beginning")
    terminal.type("unsaved words")
    terminal.wait_for("unsaved words")
    if has_editor:
        terminal.type(CTRL_G)
        terminal.wait_for("it is open")
    terminal.hang_up()
    assert terminal.process.wait(30) == 129
    assert (home / "data" / "draft.txt").read_text() == "unsaved words"


HUNG = """
import sys, time
from tui import engine, start
engine.MlxEngine._load = lambda self, path: time.sleep(100)
sys.exit(start.run())
"""


def test_quitting_does_not_wait_for_a_model_that_is_being_loaded(start: Start) -> None:
    terminal = start([sys.executable, "-c", HUNG])
    terminal.wait_for("◌ loading the model")
    terminal.type(CTRL_Q)
    code, seconds = terminal.wait_for_exit()
    assert (code, terminal.is_restored) == (0, True)
    assert seconds < PATIENCE_SECONDS


def test_quitting_while_the_model_writes_keeps_what_it_wrote(start: Start, home: Path, tiny: Path) -> None:
    remember(home, model=str(tiny), settings={"max_tokens": 10_000})
    terminal = start()
    terminal.wait_for("Write a beginning")
    terminal.type(f"{PREFIX}\t")
    terminal.wait_for("● writing", seconds=60)
    terminal.wait_for(lambda screen: any(count > 3 for count in numbers(screen, r"(\d+) tokens")))
    terminal.type(CTRL_Q)
    code, seconds = terminal.wait_for_exit()
    assert (code, terminal.is_restored) == (0, True)
    assert seconds < PATIENCE_SECONDS
    assert terminal.stray_controls == []
    assert len((home / "data" / "draft.txt").read_text()) > len(PREFIX)


BROKEN = """
import sys
from tui import start
from tui.screens.write import WriteScreen
def broken(self):
    diary = self.text
    raise ValueError(diary)
WriteScreen.action_rewrite = broken
WriteScreen.check_action = lambda *_: True
sys.exit(start.run())
"""


def test_a_failure_shows_one_line_and_neither_screen_nor_log_hold_the_text(start: Start, home: Path) -> None:
    terminal = start([sys.executable, "-c", BROKEN])
    terminal.wait_for("Write a beginning")
    terminal.type("my diary")
    terminal.wait_for("my diary")
    terminal.type("\x12")
    code, _ = terminal.wait_for_exit()
    assert (code, terminal.is_restored) == (1, True)
    after = terminal.output.rpartition("?1049l")[2]
    assert "mlx-mixer: stopped by an unexpected ValueError; your text is kept, details are in" in after
    assert "diary" not in after
    assert "Traceback" not in after
    log = (home / "state" / "mlx-mixer.log").read_text()
    assert "ValueError" in log
    assert "diary" not in log
    assert (home / "data" / "draft.txt").read_text() == "my diary"


NOISY = """
import os, sys
from tui import app, start
def noise():
    os.write(1, b"NOISE-ONE\\n")
    os.write(2, b"NOISE-TWO\\n")
app.MixerApp._start_work = (lambda begin: lambda self: (noise(), begin(self)))(app.MixerApp._start_work)
sys.exit(start.run())
"""


def test_what_other_code_writes_to_the_terminal_goes_to_the_log(start: Start, home: Path, tiny: Path) -> None:
    remember(home, model=str(tiny))
    terminal = start([sys.executable, "-c", NOISY])
    terminal.wait_for("○ ready", seconds=60)
    terminal.type(CTRL_Q)
    assert terminal.wait_for_exit()[0] == 0
    assert "NOISE" not in terminal.output
    assert (home / "state" / "mlx-mixer.log").read_text().count("NOISE") == 2


def test_ctrl_c_has_to_be_pressed_twice(start: Start) -> None:
    terminal = start()
    terminal.wait_for("Write a beginning")
    terminal.type("\x03")
    terminal.wait_for("Press Ctrl+C again to quit")
    terminal.type("\x03")
    assert terminal.wait_for_exit()[0] == 0


@pytest.mark.parametrize("size", [(1, 1), (10, 2), (500, 200)])
def test_no_size_of_a_terminal_is_a_problem(start: Start, size: tuple[int, int]) -> None:
    terminal = start(size=size)
    terminal.wait_for(lambda _: "?1049h" in terminal.output and len(terminal.output) > 200)
    terminal.type(F4 + F3)
    terminal.read(0.3)
    terminal.type(CTRL_Q)
    assert terminal.wait_for_exit()[0] == 0


def test_a_dumb_terminal_is_refused_with_exit_code_2(start: Start) -> None:
    terminal = start(
        ["sh", "-c", f"{sys.executable} -c 'import sys, tui.start; sys.exit(tui.start.run())'"], TERM="dumb"
    )
    assert terminal.wait_for_exit()[0] == 2
    assert "needs a terminal that can move its cursor" in terminal.output


def test_a_question_is_answered_from_a_folder_in_a_real_terminal(start: Start, home: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "trim.md").write_text("# Notes\n\n## Sliding\n\nThe cache is trimmed when the window is full.\n")
    with Library(home / "data" / "library.sqlite3") as library:
        library.add([notes])
    remember(home, settings={"seed": 1, "max_tokens": 20})
    terminal = start()
    terminal.wait_for("Write a beginning")
    terminal.type(F6)
    terminal.wait_for("Ask something")
    terminal.type("when is the cache trimmed\r")
    terminal.wait_for("Will be sent: 1 of 1 passage", seconds=90)
    terminal.wait_for("[1] trim.md:1")
    terminal.type("\r")
    terminal.wait_for(lambda screen: "✓ answered" in screen or "✓ stopped at the limit" in screen, seconds=90)
    assert "› when is the cache trimmed" in terminal.screen.text
    terminal.type(CTRL_Q)
    code, _ = terminal.wait_for_exit()
    assert (code, terminal.stray_controls, terminal.is_restored) == (0, [], True)
