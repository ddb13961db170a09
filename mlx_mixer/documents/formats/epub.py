"""EPUB books: the chapters of the spine, in the order they are read."""

import posixpath
from urllib.parse import unquote

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.html import decode_html, put_html
from mlx_mixer.documents.formats.properties import core_title
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml
from mlx_mixer.documents.unreadable import UnreadableError

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


def read(data: bytes, out: Builder) -> None:
    """Put a book into `out`.

    Raises:
        UnreadableError: If its chapters are encrypted.
    """
    archive = Archive(data, out)
    container = _Elements("rootfile")
    parse_xml(archive.pieces(_CONTAINER), container)
    package = next(attributes["full-path"] for attributes in container.found if "full-path" in attributes)
    out.title = core_title(archive, package)
    parts = _Elements("item", "itemref")
    parse_xml(archive.pieces(package), parts)
    folder = posixpath.dirname(package)
    items = {item["id"]: item["href"] for item in parts.found if "id" in item and "href" in item}
    chapters = [
        posixpath.normpath(posixpath.join(folder, unquote(items[reference["idref"]])))
        for reference in parts.found
        if reference.get("idref") in items
    ]
    locked = _encrypted(archive)
    if locked and all(chapter in locked for chapter in chapters):
        raise UnreadableError("copy-protected (DRM)")
    for chapter in dict.fromkeys(chapters):
        if chapter in archive.names and chapter not in locked:
            put_html(decode_html(archive.read(chapter))[0], out)


def _encrypted(archive: Archive) -> set[str]:
    """Return the names of the parts that are encrypted; obfuscated fonts are among them in free books."""
    found = _Elements("CipherReference")
    if _ENCRYPTION in archive.names:
        parse_xml(archive.pieces(_ENCRYPTION), found)
    return {unquote(attributes.get("URI", "")) for attributes in found.found}


class _Elements(Handler):
    """The attributes of every element with one of these names."""

    def __init__(self, *names: str) -> None:
        self.found: list[Attributes] = []
        self._names = names

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name in self._names:
            self.found.append(attributes)
