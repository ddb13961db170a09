"""The strings of Python source, put where they do not look like code.

Nearly every string of several lines starts on a line without another quote or a number sign before it, so it is found
by plain searching; a pattern decides about the rest, from the start of that line on.
"""

import re

# Each alternative matches wherever it can start, so that the time is in proportion.
TRIPLE_DOUBLE = r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*+(?:"""|\Z)'
TRIPLE_SINGLE = r"'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*+(?:'''|\Z)"
SIMPLE = r'"(?:[^"\\\n]|\\.)*+"?' + r"|'(?:[^'\\\n]|\\.)*+'?"
_COMMENT_OR_STRING = re.compile(rf"#[^\n]*|{TRIPLE_DOUBLE}|{TRIPLE_SINGLE}|{SIMPLE}", re.DOTALL)
# What may begin a string of several lines, or carry a simple one to the next line.
_SIGNS = ('"""', "'''", "\\\n")


def with_strings_in_one_line(text: str) -> str:
    """Replace the line ends inside of strings by spaces, so that every line left is a line of code."""
    parts: list[str] = []
    done = position = 0
    upcoming = {sign: text.find(sign) for sign in _SIGNS}
    while True:
        for sign, at in upcoming.items():
            if 0 <= at < position:
                upcoming[sign] = text.find(sign, position)
        places = [at for at in upcoming.values() if at >= 0]
        if not places:
            return "".join([*parts, text[done:]]) if parts else text
        start, end = _string_at(text, min(places), position)
        if (line_end := text.find("\n", start, end)) >= 0 and text[start] in "\"'":
            parts += [text[done:line_end], text[line_end:end].replace("\n", " ")]
            done = end
        position = end


def without_strings(code: str) -> str:
    """Empty every string and remove every comment of code whose strings lie in one line each; its lines stay."""
    return _COMMENT_OR_STRING.sub(lambda match: "" if match[0][0] == "#" else match[0][0] * 2, code)


def _string_at(text: str, sign: int, known: int) -> tuple[int, int]:
    """Span of the string or comment that holds a sign, or of the sign; what starts at `known` is in neither."""
    line = max(text.rfind("\n", 0, sign) + 1, known)
    before = text[line:sign]
    if '"' in before or "'" in before or "#" in before:
        while match := _COMMENT_OR_STRING.search(text, line):
            if match.end() > sign:
                return match.span() if match.start() <= sign else (sign, sign + 2)
            line = match.end()
        return sign, sign + 2
    if text[sign] == "\\":  # a statement that goes on
        return sign, sign + 2
    close = text.find(text[sign : sign + 3], sign + 3)
    if close < 0 or text.find("\\", sign, close) >= 0:
        match = _COMMENT_OR_STRING.match(text, sign)
        assert match is not None
        return match.span()
    return sign, close + 3
