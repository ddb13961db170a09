"""reStructuredText and LaTeX: titles become headings, lines stay where they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.markup import read_asciidoc, read_latex, read_org, read_rst
from tests.mlx_mixer.documents.formats.reading import check, headings

RST = """.. _top:

=========
 Harbour
=========

About :ref:`otters <x>`.

Counting
--------

Every spring.

Deep *down*
~~~~~~~~~~~

Text
with one line
-----
that is underlined by a short rule, and one that is not text::

    ------
    code
    ------

Method
------
"""

LATEX = r"""\documentclass[11pt]{article}
\title{The \emph{Harbour} Book}
\begin{document}
\section{Otters}\label{sec:otters} % a comment
Text with \emph{emphasis}, 50\% and \textbf{bold \emph{both}}.
``Quoted'' --- see~\cite{ada2024}.

\subsection*{How we count}
More.
\chapter{Seals}
\end{document}
"""


def test_titles_of_restructured_text_nest_by_their_adornment() -> None:
    document = read_rst(RST)
    assert document.text == RST
    assert document.title == "Harbour"
    assert headings(document) == [
        (),
        ("Harbour",),
        ("Harbour", "Counting"),
        ("Harbour", "Counting", "Deep *down*"),
        ("Harbour", "with one line"),
        ("Harbour", "Method"),
    ]
    assert document.text[document.sections[1].start :].startswith("=========\n Harbour")


def test_a_title_at_the_very_start_is_the_first_section() -> None:
    assert headings(read_rst("Title\n=====\n\ntext\n")) == [("Title",)]


def test_headlines_of_org_lose_their_keywords_and_tags() -> None:
    text = "#+TITLE: Log\n* TODO Otters :sea:fur:\ntext\n** Counting\n* Seals\n *bold* is text\n"
    document = read_org(text)
    assert (document.text, document.title) == (text, "Log")
    assert headings(document) == [(), ("Otters",), ("Otters", "Counting"), ("Seals",)]


def test_titles_of_asciidoc_nest_by_their_marks() -> None:
    document = read_asciidoc("= Harbour\n\n== Otters\n\ntext\n\n=== Counting\n\n====\nan example\n====\n\n== Seals\n")
    assert document.title == "Harbour"
    assert headings(document) == [
        ("Harbour",), ("Harbour", "Otters"), ("Harbour", "Otters", "Counting"), ("Harbour", "Seals"),
    ]  # fmt: skip


def test_latex_is_read_as_it_would_be_printed() -> None:
    document = read_latex(LATEX)
    assert document.title == "The Harbour Book"
    assert "Text with emphasis, 50% and bold both.\n“Quoted” — see ada2024.\n" in document.text
    assert headings(document) == [(), ("Otters",), ("Otters", "How we count"), ("Seals",)]


def test_lines_of_latex_keep_their_numbers() -> None:
    lines, plain = LATEX.split("\n"), read_latex(LATEX).text.split("\n")
    assert len(lines) == len(plain)
    assert [number for number, line in enumerate(plain) if "More." in line] == [lines.index("More.")]


@given(
    st.lists(st.sampled_from([*RST.split("\n"), *LATEX.split("\n"), "{", "}", "\\", "%"]), min_size=1).map("\n".join)
)
@settings(max_examples=100)
def test_any_mixture_of_lines_is_read(text: str) -> None:
    for document in (read_rst(text), read_latex(text), read_org(text), read_asciidoc(text)):
        if document.text:
            check(document)
        assert document.text.count("\n") == text.count("\n")


HOSTILE = ["=" * 1_000_000, "\\" * 1_000_000, "\\section{" * 100_000, "{" * 1_000_000, "a\n=\n" * 50_000]


@pytest.mark.parametrize("text", HOSTILE, ids=["rule", "backslashes", "sections", "braces", "titles"])
def test_hostile_markup_takes_time_in_proportion(text: str) -> None:
    """A square of a million characters would run into the time limit of the tests."""
    for read in (read_rst, read_org, read_asciidoc):
        assert read(text).text == text
    assert read_latex(text).sections[0].start == 0
