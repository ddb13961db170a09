"""XML as a stream of events: by Expat, without entities of the document's own, by local names."""

from collections.abc import Iterable, Iterator
from functools import cache
from xml.parsers import expat  # entity declarations are refused below

from mlx_mixer.documents.formats.damaged import DamagedError

Attributes = dict[str, str]


class Handler:
    """What takes the events, those it has a use for; names are without their namespace."""

    def start(self, name: str, attributes: Attributes, /) -> None:
        """An element starts."""

    def end(self, name: str, /) -> None:
        """An element ends."""

    def text(self, text: str, /) -> None:
        """Text, in pieces of any length."""


def parse_xml(pieces: Iterable[bytes], handler: Handler) -> None:
    """Feed a document to `handler` as it comes in.

    Raises:
        DamagedError: If it declares entities, which no office program does and every XML bomb needs to.
        xml.parsers.expat.ExpatError: If it is not well-formed; what came before has been handled.
    """
    for _ in feed_xml(pieces, handler):
        pass


def feed_xml(pieces: Iterable[bytes], handler: Handler) -> Iterator[None]:
    """`parse_xml` step by step: yield after every piece, so that the caller can take what the handler has so far."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    local_name = cache(_local_name)

    def start(name: str, attributes: Attributes) -> None:
        found = {local_name(key): value for key, value in attributes.items()}
        if len(found) < len(attributes):  # ``id`` and ``r:id``, say: the one with a namespace is the one wanted
            found = {local_name(key): attributes[key] for key in sorted(attributes, key=lambda key: " " in key)}
        handler.start(local_name(name), found)

    def end(name: str) -> None:
        handler.end(local_name(name))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = handler.text
    parser.EntityDeclHandler = _refuse
    for piece in pieces:
        parser.Parse(piece)
        yield
    parser.Parse(b"", True)
    yield


def _local_name(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse(*_: object) -> None:
    raise DamagedError("it declares XML entities")
