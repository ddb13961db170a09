"""The real engine answers questions with tiny real models of both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.chat.prompt import INSTRUCTION
from mlx_mixer.documents.passages import Passage
from mlx_mixer.grounding.candidates import Candidate, Candidates
from mlx_mixer.sampling import SamplingSettings
from tests.tiny import tiny_model_folder
from tests.tiny_lm import tiny_llama_folder
from tests.tui.test_engine import Reports
from tui.chat_events import AnswerFinished, AnswerWritten, ChatRequest, ChatTurn, PromptPrepared, PromptRefused
from tui.engine import MlxEngine
from tui.events import ModelReady, WritingFinished

BREAD = "Let the dough rest overnight in a cool place."
FOUND = Candidates("?", (Candidate(Passage("/d/bread.md", 7, 0, BREAD, (0, len(BREAD)), 3, 2, "Bread", 1), 0),))
SHORT = SamplingSettings(max_tokens=12, seed=1)


@pytest.fixture(scope="module", params=["mixer", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / request.param
    return tiny_llama_folder(place) if request.param == "llama" else tiny_model_folder(place, context_length=256)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def engine(reports: Reports, folder: Path) -> Iterator[MlxEngine]:
    engine = MlxEngine()
    engine.start(reports)
    engine.load(folder)
    reports.until(ModelReady)
    yield engine
    assert engine.stop(60)


def test_a_question_is_prepared_looked_at_and_answered(engine: MlxEngine, reports: Reports, folder: Path) -> None:
    turns = (ChatTurn("user", "Hi"), ChatTurn("assistant", "Ho"))
    engine.prepare(ChatRequest(1, "How long?", turns, FOUND, max_tokens=12))
    prepared = reports.next()
    assert isinstance(prepared, PromptPrepared)
    assert (prepared.serial, prepared.answer_tokens) == (1, 12)
    assert [(source.number, source.path, source.line, source.page) for source in prepared.sources] == [
        (1, "/d/bread.md", 3, 2)
    ]
    assert prepared.sources[0].tokens == prepared.passage_tokens <= prepared.passage_budget
    assert f"[1] bread.md: Bread\n{BREAD}" in prepared.text
    assert (INSTRUCTION in prepared.text) == (folder.name == "llama")
    engine.answer(1, SHORT)
    *written, finished = reports.until(AnswerFinished)
    assert all(isinstance(event, AnswerWritten) and event.serial == 1 for event in written)
    assert isinstance(finished, AnswerFinished)
    assert finished.reason in ("stop", "length")
    assert finished.progress.prompt_tokens == prepared.tokens


def test_a_passage_that_is_switched_off_is_not_in_the_prompt(engine: MlxEngine, reports: Reports) -> None:
    engine.prepare(ChatRequest(1, "How long?", (), FOUND, frozenset({1})))
    prepared = reports.next()
    assert isinstance(prepared, PromptPrepared)
    assert BREAD not in prepared.text
    assert prepared.sources[0].left_out == "switched off"


def test_a_question_that_is_too_long_is_refused_in_one_line(engine: MlxEngine, reports: Reports) -> None:
    engine.prepare(ChatRequest(1, "why " * 1000))
    refused = reports.next()
    assert isinstance(refused, PromptRefused)
    assert refused.reason.startswith("the question takes ")


def test_an_answer_without_its_prompt_fails_and_says_so(engine: MlxEngine, reports: Reports) -> None:
    engine.answer(7, SHORT)
    finished = reports.next()
    assert isinstance(finished, AnswerFinished)
    assert (finished.reason, finished.detail) == ("failed", "the model has changed since; ask again")


def test_the_write_screen_writes_with_either_kind(engine: MlxEngine, reports: Reports) -> None:
    engine.write(3, "Once", SHORT)
    *_, finished = reports.until(WritingFinished)
    assert isinstance(finished, WritingFinished)
    assert (finished.run, finished.progress.tokens > 0) == (3, True)
