"""`chat` as a user runs it: one question in a pipe, a conversation in a real terminal, offline, in an empty home."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.paths import default_paths
from tests.commands import run_here
from tests.mlx_mixer.documents.helpers import write_tree
from tests.processes import start
from tests.tiny_lm import tiny_llama_folder
from tests.tui.pseudo_terminal import PseudoTerminal

BREAD = "# Cooking\n\n## Bread\n\nMix flour and water, and let the dough rest overnight in a cool place.\n"
QUESTION = ["let", "the", "dough", "rest", "overnight"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_folder(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = write_tree(tmp_path / "docs", {"bread.md": BREAD, "more/garden.md": "# Garden\n\nThe dough of mulch.\n"})
    with Library(default_paths().library) as library:
        library.add([folder])
    return folder


def run(*arguments: str, code: int = 0, stdin: str = "") -> tuple[str, str]:
    done = run_here("chat", *arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def grounded(llama: Path, *more: str) -> list[str]:
    return ["--docs", "--words-only", "--model", str(llama), "-n", "12", "--seed", "1", *more]


def test_an_answer_goes_to_stdout_and_its_sources_with_their_tokens_to_stderr(docs: Path, llama: Path) -> None:
    out, err = run(*grounded(llama), *QUESTION)
    assert out.strip()
    first, *_ = err.splitlines()
    assert re.fullmatch(rf"\[1\] {re.escape(str(docs))}/bread\.md:1  Cooking › Bread  \((\d+) tokens\)", first)
    assert re.search(r"\d+ tokens of passages, of \d+ there is room for; \d+ in all, and the model sees 2048", err)
    assert run(*grounded(llama), *QUESTION)[0] == out


def test_json_holds_answer_sources_prompt_and_quotations(docs: Path, llama: Path) -> None:
    result: dict[str, Any] = json.loads(run(*grounded(llama, "--json"), *QUESTION)[0])
    assert result["finish_reason"] in ("stop", "length")
    assert result["question"] == "let the dough rest overnight"
    assert result["prompt"].count("[1] bread.md: Cooking › Bread\n# Cooking") == 1
    sent = [source for source in result["sources"] if not source["left_out"]]
    assert sum(source["tokens"] for source in sent) <= result["passage_tokens"] <= result["passage_budget"]
    assert (sent[0]["path"], sent[0]["line"], sent[0]["page"]) == (str(docs / "bread.md"), 1, None)
    assert result["quotes"] == []


def test_show_prompt_prints_exactly_what_would_be_sent_and_ends(docs: Path, llama: Path) -> None:
    out, err = run(*grounded(llama, "--show-prompt"), *QUESTION)
    result = json.loads(run(*grounded(llama, "--show-prompt", "--json"), *QUESTION)[0])
    assert out == result["prompt"] + "\n"
    assert f"[{result['prompt_tokens']} tokens; 12 kept for the answer]" in err
    assert "answer" not in result


def test_a_budget_and_a_folder_narrow_what_is_sent(docs: Path, llama: Path) -> None:
    arguments = grounded(llama, "--show-prompt", "--json")
    small = json.loads(run(*arguments, "--budget", "40", "dough")[0])
    assert small["passage_tokens"] <= small["passage_budget"] == 40
    inside = json.loads(run(*arguments, "--in", str(docs / "more"), "dough")[0])
    assert {source["path"] for source in inside["sources"]} == {str(docs / "more" / "garden.md")}


def test_where_nothing_matches_nothing_is_generated_unless_asked_for(docs: Path, llama: Path) -> None:
    out, err = run(*grounded(llama), "zeppelin")
    assert out == ""
    assert "nothing in your documents matches, so nothing was generated; --anyway asks" in err
    assert json.loads(run(*grounded(llama, "--json"), "zeppelin")[0])["finish_reason"] == "no_match"
    assert run(*grounded(llama, "--anyway"), "zeppelin")[0].strip()


def test_a_question_comes_from_a_pipe_and_none_is_a_mistake(llama: Path) -> None:
    arguments = ["--model", str(llama), "--show-prompt"]
    out, _ = run(*arguments, "What is this?", stdin="a diff\n")
    assert "What is this?\n\na diff" in out
    assert run(*arguments, "-", stdin="only this")[0].count("only this") == 1
    out, err = run("--model", str(llama), code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert 'try: mlx-mixer chat --docs "how long' in err


def test_a_model_that_is_not_there_ends_with_3(tmp_path: Path) -> None:
    assert "no model at" in run("--model", str(tmp_path / "nowhere"), "hi", code=3)[1]


def test_an_interrupt_keeps_what_was_written_and_ends_with_130(llama: Path, tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path / "endless", context_length=1 << 20)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": 999}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": None}))
    command = [sys.executable, "-m", "mlx_mixer", "chat", "--model", str(folder), "-n", "100000", "hi"]
    child = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    first = child.stdout.read(16)
    child.send_signal(signal.SIGINT)
    rest, narration = child.communicate(timeout=60)
    assert child.returncode == 130
    assert len(first + rest) >= 16
    assert b"Traceback" not in narration


Start = Callable[..., PseudoTerminal]


@pytest.fixture
def terminal(llama: Path) -> Iterator[Start]:
    """A conversation in a terminal of its own."""
    opened: list[PseudoTerminal] = []

    def begin(*arguments: str) -> PseudoTerminal:
        command = [sys.executable, "-m", "mlx_mixer", "chat", "--model", str(llama), "-n", "30", *arguments]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "dumb"}
        opened.append(PseudoTerminal(command, environ=environ, size=(100, 40), folder=Path.home()))
        return opened[-1]

    yield begin
    for each in opened:
        with each:
            pass


def wait(terminal: PseudoTerminal, wanted: str, count: int = 1) -> None:
    deadline = time.monotonic() + 60
    while terminal.output.count(wanted) < count:
        assert time.monotonic() < deadline, terminal.output
        terminal.read(0.1)


def test_a_conversation_asks_answers_obeys_and_is_left_with_ctrl_d(terminal: Start, docs: Path) -> None:
    session = terminal("--docs", "--words-only")
    wait(session, "Ctrl+D leaves")
    session.type("let the dough rest overnight\n")
    wait(session, "there is room for")
    session.type("/sources\n")
    wait(session, "there is room for", 2)
    session.type("/prompt\n")
    wait(session, "Answer the question from the numbered passages")
    session.type("/docs\n")
    wait(session, "answers come from the model alone now")
    session.type("/nonsense\n")
    wait(session, "there is no /nonsense; /help lists")
    session.type("/new\n")
    wait(session, "forgotten")
    session.type("\x03")
    # An interrupt throws away what is typed and not read yet, so the key is pressed until it is heard.
    deadline = time.monotonic() + 60
    while session.process.poll() is None:
        assert time.monotonic() < deadline, session.output
        session.type("\x04")
        session.read(0.5)
    code, _ = session.wait_for_exit()
    assert code == 0
    assert "Traceback" not in session.output
    history = default_paths().state / "chat_history"
    assert "let the dough rest overnight" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_show_prompt_asks_before_it_sends(terminal: Start, docs: Path) -> None:
    session = terminal("--docs", "--words-only", "--show-prompt", "dough")
    wait(session, "Send this? [Y/n]")
    session.type("n\n")
    assert session.wait_for_exit()[0] == 0
    assert "there is room for" not in session.output
