"""What the user typed -> what SQLite is asked. No character of it reaches FTS5 outside a quoted string.

The grammar: words, ``"a phrase"`` that must occur, ``-word`` and ``-"a phrase"`` that must not. Words are joined with
OR (an implicit AND finds nothing for nearly every question), common words dropped.
"""

import re
from dataclasses import dataclass

from mlx_mixer.documents.words import STOP_WORDS, split_identifier, words_of

MAX_QUERY_CHARACTERS = 4096
MAX_TERMS = 32

_ITEM = re.compile(r'(-?)"([^"]*)"?|(\S+)')
# Joins words into one name: snake_case, dotted.names, kebab-case, paths/, C++::scopes, addr@host.
_NAME_JOINT = re.compile(r"\w[_./:@\\-]+\w")
_INNER_CAPITAL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2,}[a-z]{2,}")


@dataclass(frozen=True)
class Query:
    """A parsed query.

    Attributes:
        text: The query without exclusions, for the embedder.
        terms: What may occur, most telling first as typed; each a word or a joined name, lower-cased.
        parts: Words inside the names among `terms`, searched as well.
        phrases: What must occur.
        excluded: What must not.
        is_exact: Whether the user seems to look for a spelling (a quotation or an identifier), not for a meaning.
        prefix: The last word, where it may be unfinished.
    """

    text: str
    terms: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    is_exact: bool = False
    prefix: str | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.terms or self.phrases)

    def match_expression(self) -> str:
        """The FTS5 expression; never call it on an empty query."""
        wanted = [quote(term) for term in (*self.phrases, *self.terms, *self.parts)]
        if self.prefix:
            wanted.append(f"{quote(self.prefix)} *")
        expression = " OR ".join(wanted)
        if self.phrases:
            # The second half repeats the phrases so that other words add to the score without being required.
            required = " AND ".join(quote(phrase) for phrase in self.phrases)
            expression = f"({required}) AND ({expression})"
        if self.excluded:
            expression = f"({expression}) NOT ({self.exclusion_expression()})"
        return expression

    def exclusion_expression(self) -> str:
        return " OR ".join(quote(term) for term in self.excluded)


def quote(text: str) -> str:
    """Quote a string for FTS5, which tokenizes what is inside and interprets nothing of it."""
    return '"' + text.replace('"', '""') + '"'


def parse_query(text: str, *, prefix: bool = False) -> Query:
    """Parse any text; nothing a user can type is an error.

    Args:
        text: What was typed; at most `MAX_QUERY_CHARACTERS` are looked at.
        prefix: Whether the last word may be unfinished (search while typing).
    """
    text = _cleaned(text[:MAX_QUERY_CHARACTERS])
    phrases: dict[str, None] = {}
    excluded: dict[str, None] = {}
    words: list[str] = []
    kept: list[str] = []
    for minus, quoted, word in _ITEM.findall(text):
        negated = bool(minus) or (word.startswith("-") and len(word) > 1)
        content = quoted or word.lstrip("-" if negated else "")
        if not words_of(content):
            continue
        if negated:
            excluded[content.lower()] = None
            continue
        kept.append(content)
        if quoted:
            phrases[quoted.lower()] = None
        else:
            words.append(content)
    terms, parts = _terms(words)
    unfinished = words and prefix and not text[-1:].isspace() and text.endswith(words[-1])
    return Query(
        text=" ".join(kept),
        terms=terms,
        parts=parts,
        phrases=tuple(phrases)[:MAX_TERMS],
        excluded=tuple(excluded)[:MAX_TERMS],
        is_exact=bool(phrases) or (bool(words) and all(is_identifier(word) for word in words)),
        prefix=words_of(words[-1])[-1].lower() if unfinished else None,
    )


def is_identifier(word: str) -> bool:
    """Whether a word is the spelling of a name: joined by punctuation, camelCase, or called like ``name()``."""
    bare = word.rstrip(".,;:!?")
    return bool(_NAME_JOINT.search(bare) or _INNER_CAPITAL.search(bare) or bare.endswith("()"))


def _terms(words: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the terms and the parts of names among them; stop-words count only where there is nothing else."""
    terms: dict[str, None] = {}
    parts: dict[str, None] = {}
    for word in words:
        pieces = words_of(word)
        term = " ".join(pieces).lower()
        # "don't" and "model's" are not names: only the first piece says something.
        if "'" in word or "’" in word:
            term = pieces[0].lower()
            pieces = pieces[:1]
        terms[term] = None
        split = [part.lower() for piece in pieces for part in split_identifier(piece)]
        if len(split) > 1:
            parts.update(dict.fromkeys(part for part in split if len(part) > 1 and part not in STOP_WORDS))
    telling = [term for term in terms if term not in STOP_WORDS] or list(terms)
    extra = [part for part in parts if part not in terms]
    return tuple(telling[:MAX_TERMS]), tuple(extra[:MAX_TERMS])


def _cleaned(text: str) -> str:
    """Replace what SQLite cannot take: NUL ends a string early, lone surrogates cannot be encoded."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
