"""The script that makes arrays of training pairs for the vectors and blocks that find."""

import gzip
import json
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from mlx_mixer.checkpoint import default_model_path
from mlx_mixer.word_tokenizer import WordTokenizer, stems_of

SCRIPT = default_model_path().parent / "finder_data.py"
# Vectors of 384 numbers need as many texts.
CORPUS, SECTIONS, WORDS, BUCKETS = 250, 150, 60, 1024
SHORT, WIDE, WORDLESS = range(3)
LONG = range(3, 10)
# Spans that are looked up among all that a passage has.
CHECKED = 60
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")
VOCABULARY = [*(first + second for first in SYLLABLES for second in SYLLABLES), "BakeMoli", "--", "(Limo),"]
# One piece and one stem each.
WIDE_WORDS = ["x" * 20, "y" * 20]

Arrays = dict[str, npt.NDArray[Any]]
Record = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """What one side has of all texts, and how it reads any."""

    passages: list[list[int]]
    queries: list[list[int]]
    cuts: list[list[int]]
    read: Callable[[str], list[int]]
    around: tuple[list[int], list[int]]

    def expected(self, text: str, most: int) -> list[int]:
        first, last = self.around
        return [*first, *self.read(text)[: most - len(first) - len(last)], *last] or [0]

    def spans(self, words: list[str]) -> dict[tuple[int, int], str]:
        """Every span of 3 to 15 words, by where its ids stand among those of all words."""
        ends = [len(self.around[0]) + len(self.read(" ".join(words[:count]))) for count in range(len(words) + 1)]
        return {
            (ends[at], ends[at + size]): " ".join(words[at : at + size])
            for size in range(3, 16)
            for at in range(len(words) - size)
        }


def made_records() -> list[Record]:
    drawn = np.random.default_rng(1)
    # Too short for spans by a word, of more characters than are seen, and of more ids; without them, some are just long
    # enough for spans.
    counts = {SHORT: 23, WIDE: 60, WORDLESS: 3, **dict.fromkeys(LONG, 600)}
    words_of = {WIDE: WIDE_WORDS, WORDLESS: ["--"]}
    records: list[Record] = []
    for number in range(CORPUS + SECTIONS):
        words = drawn.choice(words_of.get(number, VOCABULARY), counts.get(number, int(drawn.integers(24, 60))))
        lines = [" ".join(line) for line in np.array_split(words, 2)]
        raw, hard = (" ".join(drawn.choice(VOCABULARY, 80 if number in LONG else 3)) for _ in range(2))
        # The path of an only heading is that heading.
        queries = {"query_raw": raw, "query_hard": [hard, f" {raw.upper()}", None][number % 3]}
        records.append({"passage": "\n ".join(lines), **queries})
    return records


def save_pieces(file: Path) -> Tokenizer:
    """A tokenizer like BERT's, with few pieces."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *SYLLABLES, *(f"##{part}" for part in SYLLABLES), *"-(),"]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    # Published files cut texts and fill them up.
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def seen(record: Record) -> list[str]:
    """Words between spaces of the first 1,050 characters, the last one whole."""
    text = re.sub(r"\s+", " ", record["passage"])
    return (text if len(text) <= 1050 else text[: text.rindex(" ", 0, 1050)]).split(" ")


def headings(record: Record) -> list[str]:
    raw, hard = record["query_raw"], record["query_hard"]
    return [raw] if hard is None or hard.strip().lower() == raw.lower() else [raw, hard]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return made_records()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> Path:
    folder = tmp_path_factory.mktemp("finder")
    save_pieces(folder / "tokenizer.json")
    files = {"--corpus": records[:CORPUS], "--sections": records[CORPUS:]}
    arguments = [SCRIPT, folder, folder / "out", "--words", WORDS]
    for option, part in files.items():
        with gzip.open(folder / f"{option}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in part)
        arguments += [option, folder / f"{option}.jsonl.gz"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return folder / "out"


@pytest.fixture(scope="module")
def arrays(folder: Path) -> Arrays:
    return dict(np.load(folder / "finder.npz"))


@pytest.fixture(scope="module")
def sides(folder: Path, arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Side]:
    words = WordTokenizer((folder / "words.txt").read_text().splitlines(), BUCKETS)
    pieces = save_pieces(tmp_path_factory.mktemp("pieces") / "tokenizer.json")

    def side(kind: str, read: Callable[[str], list[int]], around: tuple[list[int], list[int]]) -> Side:
        passages, queries = (
            [ids.tolist() for ids in np.split(arrays[f"{kind}_{plural}"], arrays[f"{kind}_{one}_ends"])[:-1]]
            for one, plural in (("passage", "passages"), ("query", "queries"))
        )
        return Side(passages, queries, arrays[f"{kind}_cuts"].tolist(), read, around)

    return {
        "word": side("word", lambda text: words.encode([text])[0], ([], [])),
        "piece": side("piece", lambda text: pieces.encode(text, add_special_tokens=False).ids, ([2], [3])),
    }


def test_the_commonest_stems_have_vectors_of_their_own(folder: Path, arrays: Arrays, records: list[Record]) -> None:
    words_of = [set(re.findall(r"\w+", " ".join(seen(record)))) for record in records]
    held = Counter(stem for words in words_of for stem in {stem for word in words for stem in stems_of(word)})
    commonest = sorted(held, key=lambda stem: (-held[stem], stem))[:WORDS]
    assert (folder / "words.txt").read_text().splitlines() == commonest
    assert arrays["table"].shape == (WORDS + BUCKETS, 384)
    # What many passages hold says little.
    assert arrays["token_weight"][0] < arrays["token_weight"][WORDS - 1]


def test_passages_are_what_each_side_reads(arrays: Arrays, sides: dict[str, Side], records: list[Record]) -> None:
    for side in sides.values():
        assert side.passages == [side.expected(" ".join(seen(record)), 256) for record in records]
        assert {len(side.passages[number]) for number in LONG} == {256}
        assert len(side.passages[WIDE]) < 256
    assert sides["word"].passages[WORDLESS] == [0]
    assert arrays["of_corpus"].tolist() == [True] * CORPUS + [False] * SECTIONS


def test_headings_come_first_among_the_queries_of_a_passage(
    arrays: Arrays, sides: dict[str, Side], records: list[Record]
) -> None:
    owners = arrays["owners"].tolist()
    spans = [2 if len(seen(record)) >= 24 else 0 for record in records]
    assert owners == [
        number for number, record in enumerate(records) for _ in range(len(headings(record)) + spans[number])
    ]
    for side in sides.values():
        assert len(side.queries) == len(side.cuts) == len(owners)
        for number, record in enumerate(records):
            first, given = owners.index(number), headings(record)
            found = side.queries[first : first + len(given)]
            assert found == [side.expected(query, 64) for query in given]
            assert side.cuts[first : first + len(given)] == [[0, 0]] * len(given)


def test_the_ids_within_a_cut_are_those_of_the_span(
    arrays: Arrays, sides: dict[str, Side], records: list[Record]
) -> None:
    spans = [place for place, cut in enumerate(sides["piece"].cuts) if cut != [0, 0]]
    read: dict[int, set[str]] = {place: set() for place in spans[-CHECKED:]}
    for side in sides.values():
        first, last = map(len, side.around)
        for place in spans:
            owner, (start, end) = arrays["owners"][place], side.cuts[place]
            passage, inside = side.passages[owner], side.queries[place][first : len(side.queries[place]) - last]
            if owner in LONG:
                # What is not seen of the passage cannot be cut out of it.
                assert passage[start:end] == inside[: end - start]
                assert start <= end <= len(passage) - last
                continue
            assert passage[start:end] == inside
            if place in read:
                span = side.spans(seen(records[owner]))[start, end]
                assert side.queries[place] == side.expected(span, 64)
                read[place].add(" ".join(re.findall(r"\w+", span)))
    # Both sides are asked for the same words; dashes are none.
    assert all(len(found) <= 1 for found in read.values())
    assert len(set().union(*read.values())) > CHECKED * 0.9
