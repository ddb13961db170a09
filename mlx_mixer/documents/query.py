"""What the user typed -> what SQLite is asked. No character of it reaches FTS5 outside a quoted string.

The grammar: words, ``"a phrase"`` that must occur, ``-word`` and ``-"a phrase"`` that must not, and the fields of
`mlx_mixer.documents.filters` (``path:``, ``type:``, ``after:``, ``before:``, ``in:``; values may be quoted, ``-`` turns
them round). Words are joined with OR (an implicit AND finds nothing for nearly every question), common words dropped.
Nothing is an error: what is no filter is searched as words, and a note says so where it looks like one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from mlx_mixer.documents.filters import FIELDS, FilterParser, Filters
from mlx_mixer.documents.words import STOP_WORDS
from mlx_mixer.word_cutting import cjk_pairs, has_cjk, script_runs, split_identifier, words_of

MAX_QUERY_CHARACTERS = 4096
MAX_TERMS = 32

# Minus, field and quoted text; or anything without a space.
_ITEM = re.compile(r'(-?)(?:([A-Za-z]+):)?"([^"]*)"?|(\S+)')
_FIELD = re.compile(r"(-?)([A-Za-z]+):(.*)", re.DOTALL)
# What looks like a field and is none: one colon, and not the beginning of an address, a drive or a scope.
_LIKE_FIELD = re.compile(r"-?([a-z]{2,12}):[^:/\\]+")
# Joins words into one name: snake_case, dotted.names, kebab-case, paths/, C++::scopes, addr@host.
_NAME_JOINT = re.compile(r"\w[_./:@\\-]+\w")
_INNER_CAPITAL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2,}[a-z]{2,}")


@dataclass(frozen=True)
class Query:
    """A parsed query.

    Attributes:
        text: The query without exclusions and fields, for the embedder.
        terms: What may occur, most telling first as typed; each a word or a joined name, lower-cased.
        parts: Words inside the names among `terms`, searched as well.
        phrases: What must occur.
        excluded: What must not.
        is_exact: Whether the user seems to look for a spelling (a quotation or an identifier), not for a meaning.
        prefix: The last word, where it may be unfinished.
        filters: Which files are looked at.
        notes: What could not be taken as it was meant, one line each.
    """

    text: str
    terms: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    is_exact: bool = False
    prefix: str | None = None
    filters: Filters = field(default_factory=Filters)
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.terms or self.phrases)

    @property
    def words(self) -> tuple[str, ...]:
        """What the query is made of: its phrases and terms."""
        return (*self.phrases, *self.terms)

    def with_terms(self, terms: tuple[str, ...]) -> "Query":
        """The same query with only some of its terms and parts searched."""
        kept = set(terms)
        return replace(
            self,
            terms=tuple(term for term in self.terms if term in kept),
            parts=tuple(part for part in self.parts if part in kept),
        )

    def match_expression(self) -> str:
        """The FTS5 expression; never call it on an empty query."""
        wanted = [match_term(term) for term in (*self.phrases, *self.terms, *self.parts)]
        if self.prefix:
            wanted.append(f"{quote(self.prefix)} *")
        expression = " OR ".join(wanted)
        if self.phrases:
            # The second half repeats the phrases so that other words add to the score without being required.
            required = " AND ".join(match_term(phrase) for phrase in self.phrases)
            expression = f"({required}) AND ({expression})"
        if self.excluded:
            expression = f"({expression}) NOT ({self.exclusion_expression()})"
        return expression

    def exclusion_expression(self) -> str:
        return " OR ".join(match_term(term) for term in self.excluded)


def quote(text: str) -> str:
    """Quote a string for FTS5, which tokenizes what is inside and interprets nothing of it."""
    return '"' + text.replace('"', '""') + '"'


def match_term(term: str) -> str:
    """Return the FTS5 expression for a word, a name or a phrase."""
    if not has_cjk(term):
        return quote(term)
    runs = [run for word in words_of(term) for run in script_runs(word)]
    if len(runs) == 1 and len(runs[0]) == 1:
        return f"{quote(term)} *"  # the index has every letter as the first of a pair
    pairs = " ".join(" ".join(cjk_pairs(run)) if has_cjk(run) else run for run in runs)
    return quote(pairs) if len(runs) == 1 else f"({quote(term)} OR {quote(pairs)})"


def parse_query(text: str, *, prefix: bool = False, today: date | None = None) -> Query:
    """Parse any text; nothing a user can type is an error.

    Args:
        text: What was typed; at most `MAX_QUERY_CHARACTERS` are looked at.
        prefix: Whether the last word may be unfinished (search while typing).
        today: The day that relative dates count from; that of the clock by default.
    """
    text = _cleaned(text[:MAX_QUERY_CHARACTERS])
    fields = FilterParser() if today is None else FilterParser(today)
    phrases: dict[str, None] = {}
    excluded: dict[str, None] = {}
    words: list[str] = []
    kept: list[str] = []
    for negated, content, is_quoted in _items(text, fields):
        if not words_of(content):
            continue
        if negated:
            excluded[content.lower()] = None
            continue
        kept.append(content)
        if is_quoted:
            phrases[content.lower()] = None
        else:
            words.append(content)
    terms, parts = _terms(words)
    unfinished = words and prefix and not text[-1:].isspace() and text.endswith(words[-1]) and not has_cjk(words[-1])
    return Query(
        text=" ".join(kept),
        terms=terms,
        parts=parts,
        phrases=tuple(phrases)[:MAX_TERMS],
        excluded=tuple(excluded)[:MAX_TERMS],
        is_exact=bool(phrases) or (bool(words) and all(is_identifier(word) for word in words)),
        prefix=words_of(words[-1])[-1].lower() if unfinished else None,
        filters=fields.filters,
        notes=tuple(fields.notes),
    )


def _items(text: str, fields: FilterParser) -> Iterator[tuple[bool, str, bool]]:
    """Yield ``(negated, content, quoted)`` for what is not a filter; filters go to `fields`."""
    for minus, name, quoted, word in _ITEM.findall(text):
        if word:
            negated = word.startswith("-") and len(word) > 1
            match = _FIELD.fullmatch(word)
            if match and fields.take(match[2], match[3], negated=negated):
                continue
            _note_unknown(word, fields)
            yield negated, word.lstrip("-") if negated else word, False
        elif not (name and fields.take(name, quoted, negated=bool(minus))):
            if name:
                _note_unknown(f"{name}:{quoted}", fields)
                yield bool(minus), name, False
            yield bool(minus), quoted, True


def _note_unknown(word: str, fields: FilterParser) -> None:
    match = _LIKE_FIELD.fullmatch(word)
    if match and match[1] not in FIELDS:
        known = ", ".join(f"{name}:" for name in FIELDS)
        fields.notes.append(f"{match[1]}: is no filter, so it is searched as words; there are {known}")


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
        if has_cjk(word):
            terms.update(dict.fromkeys(_terms_with_cjk(pieces)))
            continue
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


def _terms_with_cjk(pieces: list[str]) -> list[str]:
    """A run of CJK letters is a sentence without spaces: its pairs may occur, not the whole of it."""
    runs = [run for piece in pieces for run in script_runs(piece)]
    return [term.lower() for run in runs for term in (cjk_pairs(run) if has_cjk(run) else [run])]


def _cleaned(text: str) -> str:
    """Replace what SQLite cannot take: NUL ends a string early, lone surrogates cannot be encoded."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
