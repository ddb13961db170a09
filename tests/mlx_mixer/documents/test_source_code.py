"""Definitions are found where formatters put them, in every language by the same few rules."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.chunk import chunk_document
from mlx_mixer.documents.readers import read_document, reader_for
from mlx_mixer.documents.structure import ReadDocument
from tests.mlx_mixer.documents.formats.reading import check, headings, part_of

C = """#include <stdio.h>
// what main does
int main(int argc, char **argv)
{
    if (argc > 1) {
        helper(argc);
    }
}

static void helper(int n) { return; }
struct point {
    int x;
};
int declared(int);
"""
CPP = """namespace sea {
class Otter : public Animal {
 public:
  Otter();
  int size() const {
    return measure(1);
  }
};

void Otter::swim(int x) const {
  y();
}
}
"""
JAVA = """package sea;
public class Otter {
    /** How large. */
    @Override
    public int size(List<String> a) {
        return measure(a);
    }

    private static void swim() throws Cold {
    }
}
"""
TYPESCRIPT = """export class Otter extends Animal {
  constructor(name: string) {
    if (name) {
    }
  }
  async swim(): Promise<void> {
  }
}
export const dive = async (x: number) => {
  go();
};
export default function top<T>(a: T) {
}
interface Seal {
}
"""
GO = """package sea

// Swim swims.
func (o *Otter) Swim(far int) error {
\treturn nil
}

type Otter struct {
}
"""
RUST = """/// An otter.
#[derive(Debug)]
pub struct Otter {
    x: u32,
}

impl<T> Swims for Otter {
    /// Far.
    pub(crate) async fn swim(&self) -> u32 {
        fn inner() {
        }
        1
    }
}
"""
RUBY = """module Sea
  class Otter < Animal
    # far
    def swim?(x)
      1
    end
  end
end
"""
SQL = """CREATE TABLE IF NOT EXISTS otters (
    name text
);
create or replace view big as
select 1;
"""
CASES = {
    "a.c": (C, ["main()", "helper()", "struct point"]),
    "a.cpp": (CPP, ["namespace sea", "class Otter", "class Otter > size()", "Otter::swim()"]),
    "a.java": (JAVA, ["class Otter", "class Otter > size()", "class Otter > swim()"]),
    "a.ts": (
        TYPESCRIPT,
        [
            "class Otter",
            "class Otter > constructor()",
            "class Otter > swim()",
            "dive()",
            "function top",
            "interface Seal",
        ],
    ),
    "a.go": (GO, ["func Swim", "type Otter"]),
    "a.rs": (RUST, ["struct Otter", "impl<T> Swims for Otter", "impl<T> Swims for Otter > fn swim"]),
    "a.rb": (RUBY, ["module Sea", "module Sea > class Otter", "module Sea > class Otter > def swim?"]),
    "a.sql": (SQL, ["CREATE TABLE otters", "create or replace view big"]),
    "a.kt": ("class A {\n    fun b(): Int {\n    }\n}\n", ["class A", "class A > fun b"]),
    "a.swift": ("extension A: B {\n  public func c() {\n  }\n}\n", ["extension A:", "extension A: > func c"]),
    "a.php": ("<?php\nclass A {\n    public function b() {\n    }\n}\n", ["class A", "class A > function b"]),
    "a.cs": ("namespace A\n{\n    class B\n    {\n    }\n}\n", ["namespace A", "namespace A > class B"]),
    "a.sh": ("#!/bin/sh\ngo() {\n  x\n}\nfunction two {\n}\n", ["go()", "two()"]),
    "a.lua": ("local function a()\nend\nfunction M.b()\nend\n", ["function a", "function M.b"]),
    "a.toml": ("x = 1\n[tool.ruff]\na = 1\n", ["tool.ruff"]),
    "a.yaml": ("on: push\njobs:\n  test:\n    a: 1\n", ["jobs"]),
}


def read(name: str, text: str) -> ReadDocument:
    document, _ = read_document(text.encode(), reader_for(name.encode()))
    assert document.text == text
    check(document)
    return document


@pytest.mark.parametrize("name", CASES)
def test_every_definition_is_a_heading_and_nothing_else_is(name: str) -> None:
    text, expected = CASES[name]
    found = dict.fromkeys(" > ".join(heading) for heading in headings(read(name, text)) if heading)
    assert [heading for heading in found if heading in expected] == expected
    # What is left between two definitions lies under the one around them.
    assert set(found) <= set(expected)


def test_the_comment_above_a_definition_belongs_to_it() -> None:
    document = read("a.rs", RUST)
    assert document.text[document.sections[0].start :].startswith("/// An otter.")
    assert ("impl<T> Swims for Otter", "fn swim") in headings(document)
    start = next(section.start for section in document.sections if section.heading[-1:] == ("fn swim",))
    assert document.text[start:].startswith("    /// Far.")


def test_a_call_or_a_condition_is_no_definition() -> None:
    text = "void f() {\n}\n\n    return call(a,\n        b);\nif (x) {\n}\nelse if (y) {\n}\nfoo(a, b);\n"
    assert {heading for heading in headings(read("a.c", text)) if heading} == {("f()",)}


def test_functions_keep_their_names_although_blank_lines_lie_between_them() -> None:
    body = "    total = total + measure(otter, harbour);\n" * 12
    text = "".join(f"int count{n}(int otter)\n{{\n{body}}}\n\n\n" for n in range(4))
    chunks = chunk_document(read("a.c", text))
    assert [chunk.heading for chunk in chunks] == [(f"count{n}()",) for n in range(4)]
    assert part_of(read("a.c", text), "count2").heading == ("count2()",)


PIECES = st.one_of(
    st.sampled_from(
        ["class A {", "}", "  void f(int x) {", "  }", "fn g() {", "end", "// c", "", "\tdef m", "[x]", "a:"]
    ),
    st.text(string.printable[:95], max_size=30),
)


@given(st.lists(PIECES, min_size=1).map("\n".join).filter(lambda text: text.strip()), st.sampled_from(sorted(CASES)))
@settings(max_examples=100)
def test_any_text_stays_whole(text: str, name: str) -> None:
    document, _ = read_document(text.encode(), reader_for(name.encode()))
    check(document)


LINES = ["x " * 500_000, "(" * 1_000_000, "a(" * 500_000, "public " * 150_000, "\t" * 999_999 + "x"]


@pytest.mark.parametrize("line", LINES, ids=["words", "brackets", "calls", "modifiers", "tabs"])
@pytest.mark.parametrize("name", ["a.cpp", "a.ts", "a.rs"])
def test_no_line_takes_more_than_time_in_proportion(name: str, line: str) -> None:
    """A square of a million characters would run into the time limit of the tests."""
    read = reader_for(name.encode()).read
    assert read is not None
    assert read(line).text == line
