"""Which files a search looks at: path, type, time and folder, as conditions on the table `files`.

Conditions hold before the best are taken, in every leg: a search of one folder finds what is there however much better
the rest of the library matches.
"""

import os
import re
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from itertools import chain

FIELDS = ("path", "type", "after", "before", "in")

# What people call kinds of files -> suffixes.
TYPES: dict[str, tuple[str, ...]] = {
    "markdown": ("md", "markdown", "mdown", "mkd"),
    "md": ("md", "markdown", "mdown", "mkd"),
    "text": ("txt", "text", "log"),
    "python": ("py", "pyi", "pyw"),
    "py": ("py", "pyi", "pyw"),
    "javascript": ("js", "jsx", "mjs", "cjs"),
    "js": ("js", "jsx", "mjs", "cjs"),
    "typescript": ("ts", "tsx", "mts"),
    "ts": ("ts", "tsx", "mts"),
    "c": ("c", "h"),
    "cpp": ("cc", "cpp", "cxx", "hh", "hpp", "h"),
    "rust": ("rs",),
    "shell": ("sh", "bash", "zsh", "fish"),
    "html": ("html", "htm", "xhtml"),
    "word": ("docx", "odt", "rtf"),
    "sheet": ("xlsx", "ods", "csv", "tsv"),
    "slides": ("pptx", "odp"),
    "mail": ("eml", "mbox"),
    "book": ("epub",),
    "notebook": ("ipynb",),
    "latex": ("tex", "latex"),
    "yaml": ("yaml", "yml"),
}
_CODE = """
    c cc cpp cs css cxx go h hh hpp java jl js jsx kt lua m mjs mm php pl pm py pyi r rb rs scala sh sql swift ts tsx
    zig
"""
TYPES["code"] = tuple(_CODE.split())
TYPES["doc"] = TYPES["docs"] = tuple(
    chain(*(TYPES[kind] for kind in ("md", "text", "html", "word", "slides", "book", "latex")), ("pdf", "rst"))
)

_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_AGO = re.compile(r"(\d{1,5})([dwmy])")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}

Condition = tuple[str, list[object]]


@dataclass(frozen=True)
class Filters:
    """Conditions on files; all of them hold. Several values of one kind are alternatives, `not_` ones exclude.

    Attributes:
        path: Parts of paths, any case; with ``*`` or ``?`` a pattern for the whole path or the end of it.
        type: Suffixes without dot, lower case.
        root: Names or paths of folders that were added.
        after: Unix time from which on the file was changed.
        before: Unix time before which it was.
    """

    path: tuple[str, ...] = ()
    not_path: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    not_type: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    not_root: tuple[str, ...] = ()
    after: float | None = None
    before: float | None = None

    @property
    def is_empty(self) -> bool:
        return self == NO_FILTERS

    def __and__(self, other: "Filters") -> "Filters":
        """Both at once; alternatives of one kind are pooled, and the narrower of two times holds."""
        pooled = {
            item.name: getattr(self, item.name) + getattr(other, item.name)
            for item in fields(self)
            if item.name not in ("after", "before")
        }
        after = [time for time in (self.after, other.after) if time is not None]
        before = [time for time in (self.before, other.before) if time is not None]
        return Filters(**pooled, after=max(after, default=None), before=min(before, default=None))

    def condition(self) -> Condition:
        """The SQL condition on a row of `files` named ``f``, and its parameters; always true without filters."""
        parts: list[Condition] = []
        for values, make in ((self.path, _path_is), (self.type, _type_is), (self.root, _root_is)):
            if values:
                parts.append(_any_of([make(value) for value in values]))
        for values, make in ((self.not_path, _path_is), (self.not_type, _type_is), (self.not_root, _root_is)):
            if values:
                sql, parameters = _any_of([make(value) for value in values])
                parts.append((f"NOT {sql}", parameters))
        if self.after is not None:
            parts.append(("f.modified >= ?", [self.after]))
        if self.before is not None:
            parts.append(("f.modified < ?", [self.before]))
        sql = " AND ".join(part for part, _ in parts)
        return sql or "1", [parameter for _, parameters in parts for parameter in parameters]


NO_FILTERS = Filters()


@dataclass
class FilterParser:
    """Collects the fields of one query.

    Attributes:
        today: The day that relative dates count from.
        filters: What was understood so far.
        notes: What was not, for people.
    """

    today: date = field(default_factory=date.today)
    filters: Filters = NO_FILTERS
    notes: list[str] = field(default_factory=list)

    def take(self, name: str, value: str, *, negated: bool) -> bool:
        """Take in ``name:value``; False where that is no filter, so that it is searched as words."""
        name = name.lower()
        if name not in FIELDS or not value.strip():
            return False
        if name in ("after", "before"):
            return self._take_date(name, value, negated=negated)
        column = {"path": "path", "type": "type", "in": "root"}[name]
        values = suffixes(value) if name == "type" else (value,)
        column = f"not_{column}" if negated else column
        self.filters = replace(self.filters, **{column: getattr(self.filters, column) + values})
        return True

    def _take_date(self, name: str, value: str, *, negated: bool) -> bool:
        moment = parse_moment(value, self.today)
        if moment is None:
            self.notes.append(
                f"{name}:{value} is no date, so it is searched as words; write 2026-01-31, 2026-01, today, yesterday "
                "or 7d"
            )
            return False
        is_after = (name == "after") != negated
        self.filters &= Filters(after=moment) if is_after else Filters(before=moment)
        return True


def suffixes(kind: str) -> tuple[str, ...]:
    """Return the suffixes that a type stands for; an unknown type is a suffix itself."""
    kind = kind.strip().lower().lstrip("*.")
    return TYPES.get(kind, (kind,))


def parse_moment(text: str, today: date) -> float | None:
    """Return the Unix time at which a day, month or year begins here, or that of some days ago; None for other text.

    Args:
        text: ``2026-01-31``, ``2026-01``, ``2026``, ``today``, ``yesterday``, or a number of days, weeks, months (of 30
            days) or years (of 365) ago: ``7d``, ``2w``, ``3m``, ``1y``.
        today: The day at hand.
    """
    text = text.strip().lower()
    try:
        if text in ("today", "yesterday"):
            day = today - timedelta(days=text == "yesterday")
        elif match := _AGO.fullmatch(text):
            day = today - timedelta(days=int(match[1]) * _DAYS[match[2]])
        elif match := _DAY.fullmatch(text):
            day = date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
        else:
            return None
        return datetime(day.year, day.month, day.day).astimezone().timestamp()
    except (ValueError, OverflowError):  # no such day, or before what the system can count
        return None


def _any_of(conditions: list[Condition]) -> Condition:
    sql = " OR ".join(part for part, _ in conditions)
    return f"({sql})", [parameter for _, parameters in conditions for parameter in parameters]


def _path_is(value: str) -> Condition:
    # A path is bytes: SQLite reads them as text here, whatever they are.
    text = _expanded(value).lower()
    if any(character in text for character in "*?"):
        pattern = text.replace("[", "[[]")
        anchored = pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"
        return "lower(CAST(f.path AS TEXT)) GLOB ?", [anchored]
    return "instr(lower(CAST(f.path AS TEXT)), ?) > 0", [text]


def _type_is(suffix: str) -> Condition:
    return "f.suffix = ?", [suffix]


def _root_is(value: str) -> Condition:
    text = _expanded(value).rstrip("/") or "/"
    if "/" in text:
        folder = os.fsencode(os.path.abspath(text))  # noqa: PTH100  (links are not followed: names are compared)
        below = folder.rstrip(b"/") + b"/"
        return "(f.path = ? OR substr(f.path, 1, ?) = ?)", [folder, len(below), below]
    # The last part of the root's path. SQLite's lower() knows ASCII only, which errs towards finding less.
    return (
        "f.root IN (SELECT id FROM roots WHERE lower(CAST(path AS TEXT)) = ?1 OR lower(CAST(path AS TEXT)) GLOB ?1)"
    ).replace("?1", "?"), [text.lower(), "*/" + re.sub(r"([\[*?])", r"[\1]", text.lower())]


def _expanded(value: str) -> str:
    return os.path.expanduser(value) if value.startswith("~") else value  # noqa: PTH111  (text, not a path)
