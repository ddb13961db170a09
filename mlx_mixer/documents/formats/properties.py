"""Titles that office formats keep beside their text, by the Dublin Core."""

from contextlib import suppress
from xml.parsers.expat import ExpatError

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import heading_words
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml


def core_title(archive: Archive, name: str = "docProps/core.xml") -> str:
    """Return the title in a part of an archive, or an empty string."""
    found = _Title()
    if name in archive.names:
        with suppress(ExpatError):
            parse_xml(archive.pieces(name), found)
    return heading_words("".join(found.parts))


class _Title(Handler):
    """The text of the first ``dc:title``."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._is_open = False
        self._is_done = False

    def start(self, name: str, _: Attributes, /) -> None:
        self._is_open = name == "title" and not self._is_done

    def end(self, _: str, /) -> None:
        self._is_done = self._is_done or self._is_open
        self._is_open = False

    def text(self, text: str, /) -> None:
        if self._is_open:
            self.parts.append(text)
