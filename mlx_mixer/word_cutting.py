"""How text falls into words: runs of letters and digits, parts of camelCase names, pairs of CJK letters."""

import re
from functools import cache

WORD = re.compile(r"[^\W_]+")
_CAMEL_PART = re.compile(r"[A-Z][A-Z0-9]*(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")

# Han, kana and hangul: letters that are written without a space after each word, or with endings joined to it.
_CJK = (
    "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc-\u30fe\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003134f"
)


def words_of(text: str) -> list[str]:
    """Return the runs of letters and digits, as SQLite's unicode61 tokenizer would cut them (nearly), in order."""
    return WORD.findall(text)


def split_identifier(word: str) -> list[str]:
    """Return the parts of a camelCase word: ``HTTPServer`` -> ``HTTP``, ``Server``; others come back whole."""
    parts = _CAMEL_PART.findall(word)
    return parts if len("".join(parts)) == len(word) else [word]


def camel_pieces(word: str) -> list[str]:
    """The parts of a camelCase word; none for another one."""
    # Nearly every word is told apart without a pattern: lower case after its first letter, or capitals throughout.
    if word[1:].islower() or word.isupper() or len(word) < 3:
        return []
    pieces = split_identifier(word)
    return pieces if len(pieces) > 1 else []


def has_cjk(text: str) -> bool:
    """Whether a text has Chinese, Japanese or Korean letters."""
    return not text.isascii() and _cjk_run().search(text) is not None


def script_runs(word: str) -> list[str]:
    """Cut a word where CJK letters meet others."""
    return _script_run().findall(word)


def cjk_pairs(run: str) -> list[str]:
    """Return the pairs of neighbouring letters of a CJK run; the letter itself where it is alone."""
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def cjk_index_words(run: str) -> list[str]:
    """Return the pairs of a CJK run and its last letter, so that every letter begins a word of the index."""
    return [run[i : i + 2] for i in range(len(run))]


# Compiled when first needed: that takes as long as loading all other modules that cut texts does.
@cache
def _cjk_run() -> "re.Pattern[str]":
    return re.compile(f"[{_CJK}]+")


@cache
def _script_run() -> "re.Pattern[str]":
    return re.compile(f"[{_CJK}]+|[^{_CJK}]+")
