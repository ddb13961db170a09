"""What a run leaves for people and programs to read: a page, a summary, a model card."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import mlx.core as mx
import numpy as np
import pytest
from huggingface_hub import ModelCard
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_mixer.training.language_run import train_language
from mlx_mixer.training.plot import Line, line_chart, nice_ticks
from mlx_mixer.training.record import RunRecord
from mlx_mixer.training.run_report import duration, report_html
from tests.mlx_mixer.training.runs import ignore, language_run, write_data

SVG = "{http://www.w3.org/2000/svg}"
# A name that is markup in a page and in a table.
NAME = "a<b>&|model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mx.disable_compile()
    data = write_data(tmp_path_factory.mktemp("reports") / "secret-data")
    run = language_run(data, data.parent / NAME, steps=60, validate_every=20)
    train_language(replace(run, valid=[data / "pairs.jsonl"]), resume=False, report=ignore, narrate=ignore)
    mx.enable_compile()
    return data.parent / NAME


class Page(HTMLParser):
    """What a browser would show, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def entries(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def test_the_page_stands_alone_and_shows_the_course(trained: Path) -> None:
    text = (trained / "training_report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == []
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert NAME in page.shown
    pictures = [ElementTree.fromstring(picture) for picture in re.findall(r"<svg.*?</svg>", text, re.S)]
    titles = ["".join(node.itertext()) for picture in pictures for node in picture.iter(f"{SVG}text")]
    for title in ("loss, nats", "bits per byte of held-out text", "learning rate"):
        assert title in titles
    loss = pictures[0].find(f"{SVG}polyline")
    assert loss is not None
    places = np.array([place.split(",") for place in loss.attrib["points"].split()], float)
    losses = [entry["loss"] for entry in entries(trained) if "loss" in entry]
    # Down the page is down in loss, on one scale.
    np.testing.assert_allclose(np.corrcoef(places[:, 1], losses)[0, 1], -1, atol=1e-3)
    assert len(pictures[1].findall(f"{SVG}circle")) == 3


def test_the_summary_holds_the_figures_of_the_log(trained: Path) -> None:
    summary = json.loads((trained / "training_report.json").read_text())
    steps = [entry for entry in entries(trained) if "loss" in entry]
    scores = {entry["step"]: entry["score"] for entry in entries(trained) if "score" in entry}
    assert summary["steps"] == 60
    assert summary["tokens"] == sum(entry["tokens"] for entry in steps)
    assert summary["loss"] == pytest.approx(np.mean([entry["loss"] for entry in steps[-50:]]), abs=1e-4)
    assert summary["best_step"] == max(scores, key=lambda step: scores[step])
    assert summary["settings"]["kind"] == summary["kind"] == "language"


def test_the_card_is_one_for_the_hub_and_names_no_file_of_the_user(trained: Path) -> None:
    card = ModelCard.load(trained / "README.md")
    assert card.data.library_name == "mlx"
    assert card.data.pipeline_tag == "text-generation"
    best = max(entry["score"] for entry in entries(trained) if "score" in entry)
    assert f"Best validation: {-best:.4f} bits per byte of held-out text" in card.text
    assert "| texts | 120 |" in card.text
    assert "secret-data" not in card.content
    assert str(trained.parent) not in card.content
    assert "a&lt;b>&\\|model" in card.text


def test_a_run_without_validation_says_that_nothing_was_measured() -> None:
    steps = [{"step": step, "loss": 2.0, "learning_rate": 0.1, "tokens": 10, "seconds": 0.5} for step in (1, 2)]
    record = RunRecord({"kind": "retrieval"}, steps)
    assert record.best is None
    assert record.summary()["tokens_per_second"] == 20
    assert report_html("x", record, {}).count("<svg") == 2


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
@example(0.0, 5e-324)
@example(1e6, 1e-9)
def test_ticks_enclose_what_is_shown_at_even_steps(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 9
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + span - 1e-6 * step
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-6)


@pytest.mark.parametrize("points", [[(1.0, 2.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, -3.0), (9.0, 1e-9)]])
def test_few_and_flat_lines_are_drawn(points: list[tuple[float, float]]) -> None:
    root = ElementTree.fromstring(line_chart([Line(points, "a line")]))
    line = root.find(f"{SVG}polyline")
    assert line is not None
    numbers = [float(value) for place in line.attrib["points"].split() for value in place.split(",")]
    assert np.isfinite(numbers).all()
    assert min(numbers) >= 0
    assert max(numbers) <= 900


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (11_100, "3 h 05 min")]
)
def test_lengths_of_time_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
