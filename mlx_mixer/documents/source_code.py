"""Source code of other languages than Python into sections, by the lines that define something.

No grammar is used: a definition is a line that looks like one, what it holds is what is indented deeper, and it ends
where a line of its own indentation closes it. That is right for code as people and formatters lay it out, takes a
hundredth of a parser's time, and where it is wrong a passage has a wrong heading and nothing is lost.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import MappingProxyType

from mlx_mixer.documents.structure import ReadDocument, Section

_MAX_NAME = 80
# Bounded everywhere, so that no line takes more than time in proportion.
_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|unsafe|inline|virtual|override"
    r"|open|sealed|data|partial|declare|suspend|inner|companion|fileprivate|mutating|constexpr|explicit|synchronized"
    r"|local|readonly|pub(?:\([^)\n]{1,40}\))?|extern(?:[ \t]\"C\")?|@\w{1,40}(?:\([^)\n]{0,80}\))?)[ \t]{1,8}){0,8}"
)
_CONTROL = r"(?!(?:if|for|while|switch|return|else|do|catch|throw|new|case|typedef|using|goto|sizeof|await|yield)\b)"
_TYPE = (
    r"(?P<kind>class|struct|enum(?:[ \t]class)?|interface|trait|mod|module|namespace|union|protocol|extension|object"
    r"|record|type|actor|macro_rules!)[ \t]{1,8}(?P<name>[\w$.:]{1,80})(?![\w$.:])(?![ \t]{0,8}[;*&(])"
)
_IMPL = r"(?P<impl>impl\b[^{;\n]{1,120})"
_FUNCTION = (
    r"(?P<fkind>func|fun|fn|function\*?)[ \t]{1,8}(?:\([^)\n]{0,80}\)[ \t]{0,8}|<[^>\n]{0,80}>[ \t]{0,8})?"
    r"(?P<fname>[\w$.:]{1,80})"
)
_ASSIGNED = (
    r"(?:const|let|var)[ \t]{1,8}(?P<aname>[\w$]{1,80})[ \t]{0,8}=[ \t]{0,8}(?:async[ \t]{0,8})?"
    r"(?:function\b|\([^()\n]{0,200}\)[^=\n]{0,80}=>|[\w$]{1,80}[ \t]{0,8}=>)"
)
# ``int main(void)`` and ``void Foo::bar() const {``, but no call and no declaration: those end with a semicolon.
_TYPED = (
    _CONTROL + r"[\w$][\w$:<>,.*&?~\[\] \t]{0,160}?[ \t*&](?P<tname>~?[A-Za-z_$][\w$:~]{0,80})\("
    r"[^;{}\n]{0,300}(?:\{[^\n]{0,200})?$"
)
_METHOD = _CONTROL + r"(?:(?:get|set|\*)[ \t]{0,8})?(?P<mname>#?[A-Za-z_$][\w$]{0,80})\([^;{}\n]{0,300}\{$"
_CREATE = (
    r"(?P<kind>(?i:create)(?:[ \t]{1,8}(?i:or[ \t]{1,8}replace|temp|temporary|unique|virtual|materialized)){0,3}"
    r"[ \t]{1,8}(?i:table|view|function|procedure|index|trigger|type|schema))[ \t]{1,8}"
    r"(?i:if[ \t]{1,8}not[ \t]{1,8}exists[ \t]{1,8})?(?P<name>[\w.\"`\[\]]{1,80})"
)
_CLOSING = r"(?P<close>[})\]]|end\b)"

_LANGUAGES = MappingProxyType(
    {
        # name: suffixes, what defines something there
        "c": (".c .h .cc .cpp .cxx .hpp .hh .hxx .m .mm .cu .cuh .metal .ino", (_TYPE, _TYPED)),
        "java": (".java .cs .scala .groovy .gradle .dart .proto", (_TYPE, _TYPED)),
        "javascript": (".js .mjs .cjs .jsx .ts .mts .cts .tsx .vue .svelte", (_TYPE, _FUNCTION, _ASSIGNED, _METHOD)),
        "go": (".go", (_FUNCTION, r"(?P<kind>type)[ \t]{1,8}(?P<name>\w{1,80})")),
        "rust": (".rs", (_TYPE, _IMPL, _FUNCTION)),
        "swift": (".swift .kt .kts .php", (_TYPE, _FUNCTION)),
        "ruby": (".rb .rake .cr", (r"(?P<kind>class|module|def)[ \t]{1,8}(?P<name>[\w:.?!=]{1,80})",)),
        "elixir": (".ex .exs", (r"(?P<kind>defmodule|defprotocol|defp?|defmacro)[ \t]{1,8}(?P<name>[\w.?!]{1,80})",)),
        "julia": (".jl", (r"(?P<kind>module|(?:mutable )?struct|function|macro)[ \t]{1,8}(?P<name>[\w.!]{1,80})",)),
        "lua": (".lua", (_FUNCTION,)),
        "shell": (
            ".sh .bash .zsh .ksh .fish",
            (r"function[ \t]{1,8}(?P<fname>[\w.:-]{1,80})", r"(?P<mname>[\w.:-]{1,80})[ \t]{0,8}\(\)"),
        ),
        "perl": (".pl .pm", (r"(?P<kind>package|sub)[ \t]{1,8}(?P<name>[\w:]{1,80})",)),
        "r": (".r", (r"(?P<mname>[\w.]{1,80})[ \t]{0,8}(?:<-|=)[ \t]{0,8}function\b",)),
        "sql": (".sql .ddl", (_CREATE,)),
        "ini": (".ini .cfg .conf .toml .desktop .service", (r"\[{1,2}(?P<bare>[^\]\[\n]{1,80})\]{1,2}[ \t]{0,80}$",)),
        "yaml": (".yaml .yml", (r"(?<![ \t])(?P<bare>[\w./-]{1,80}):[ \t]{0,80}$",)),
    }
)
# What may stand right above a definition and belongs to it: comments, attributes, decorators.
_ABOVE = re.compile(r"[ \t]*(?://|/\*|\*|#(?!include|define|if|endif|else)|--|@|\[\[?\w|;;|%)")
_HOLDS_FUNCTIONS = re.compile(
    r"(?:class|struct|interface|trait|mod|module|namespace|object|record|protocol|extension|impl"
    r"|actor|enum|union|defmodule|defprotocol|package)\b"
)


def languages() -> Iterator[tuple[str, list[str], Callable[[str], ReadDocument]]]:
    """Yield ``(name, suffixes, read)`` of every language."""
    for name, (suffixes, _) in _LANGUAGES.items():
        yield name, suffixes.split(), partial(read_source, name)


@cache
def _pattern(language: str) -> "re.Pattern[str]":
    """Compiled when first needed: all of them together take longer than the rest of a start."""
    definitions = _LANGUAGES[language][1]
    return re.compile(rf"^([ \t]{{0,40}})(?:{_CLOSING}|{_MODIFIERS}(?:{'|'.join(definitions)}))", re.MULTILINE)


def read_source(language: str, text: str) -> ReadDocument:
    """Split before every definition that is not inside a function, the comment above it included."""
    sections: dict[int, tuple[str, ...]] = {0: ()}
    path: list[tuple[int, str]] = []  # indentation and name of the definitions that are open
    for match in _pattern(language).finditer(text):
        indentation = len(match[1])
        if match["close"]:
            if path and path[-1][0] >= indentation:
                path = [entry for entry in path if entry[0] < indentation]
                sections[_next_line(text, match.end())] = _names(path)
            continue
        open_around = [entry for entry in path if entry[0] < indentation]
        if open_around and not _HOLDS_FUNCTIONS.match(open_around[-1][1]):
            continue
        path = [*open_around, (indentation, _name(match))]
        sections[_start_with_comment(text, match.start())] = _names(path)
    return ReadDocument(
        text, "", tuple(Section(start, heading) for start, heading in sorted(sections.items()) if start < len(text))
    )


def _name(match: "re.Match[str]") -> str:
    """``class Name``, ``impl Trait for Type``, ``fn name``, ``name()``, or a part's bare name."""
    found = {key: value.strip() for key, value in match.groupdict().items() if value}
    for kind, name in (("kind", "name"), ("fkind", "fname")):
        if kind in found:
            return f"{found[kind]} {found[name]}"[:_MAX_NAME]
    for whole in ("impl", "bare"):
        if whole in found:
            return found[whole][:_MAX_NAME]
    return next(f"{found[key]}()" for key in ("tname", "aname", "mname", "fname") if key in found)[:_MAX_NAME]


def _names(path: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(name for _, name in path)


def _next_line(text: str, position: int) -> int:
    return (text.find("\n", position) + 1) or len(text)


def _start_with_comment(text: str, start: int) -> int:
    while start:
        above = text.rfind("\n", 0, start - 1) + 1
        if not _ABOVE.match(text, above, start):
            break
        start = above
    return start
