"""How the parts of an Office Open XML file point at each other (ECMA-376 part 2, 9.3)."""

import posixpath

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml


def targets(archive: Archive, part: str, kind: str = "") -> dict[str, str]:
    """Return relation id -> name of the part it points at.

    Args:
        archive: Where the part lies.
        part: Whose relations are wanted.
        kind: How the type of relation must end, ``notesSlide`` say.
    """
    folder, name = posixpath.split(part)
    found = _Relations(folder, kind)
    relations = f"{folder}/_rels/{name}.rels"
    if relations in archive.names:
        parse_xml(archive.pieces(relations), found)
    return found.targets


class _Relations(Handler):
    def __init__(self, folder: str, kind: str) -> None:
        self.targets: dict[str, str] = {}
        self._folder = folder
        self._kind = kind

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "Relationship" and attributes.get("Type", "").endswith(self._kind):
            target = posixpath.normpath(posixpath.join("/" + self._folder, attributes.get("Target", "")))
            self.targets[attributes.get("Id", "")] = target.lstrip("/")
