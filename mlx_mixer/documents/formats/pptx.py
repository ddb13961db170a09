"""PowerPoint presentations (Office Open XML): a page for each slide, its title as heading, its notes below."""

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.flow import Flow
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.formats.properties import core_title
from mlx_mixer.documents.formats.relations import targets
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml

_PRESENTATION = "ppt/presentation.xml"
_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr"})


def read(data: bytes, out: Builder) -> None:
    """Put a presentation into `out`."""
    archive = Archive(data, out)
    out.title = core_title(archive)
    order = _Order()
    parse_xml(archive.pieces(_PRESENTATION), order)
    parts = targets(archive, _PRESENTATION)
    slides = [parts[relation] for relation in order.slides if parts.get(relation) in archive.names]
    for number, slide in enumerate(slides[: out.limits.pages], 1):
        out.page("slide", str(number))
        title = _SlideTitle()
        parse_xml(archive.pieces(slide), title)
        out.heading(1, "".join(title.parts) or f"Slide {number}", is_shown=bool(title.parts))
        parse_xml(archive.pieces(slide), _SlideText(out))
        for notes in targets(archive, slide, "/notesSlide").values():
            if notes in archive.names:
                out.heading(2, "Notes", is_shown=False)
                parse_xml(archive.pieces(notes), _SlideText(out))
    if len(slides) > out.limits.pages:
        raise FullError(f"only the first {out.limits.pages:,} of {len(slides):,} slides")


class _Order(Handler):
    """The relations of the slides, in the order they are shown."""

    def __init__(self) -> None:
        self.slides: list[str] = []

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "sldId":
            self.slides.append(attributes.get("id", ""))


class _SlideTitle(Handler):
    """The text of the shape that is the slide's title."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._in_title = False
        self._in_text = False

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "ph":
            self._in_title = attributes.get("type") in _TITLES
        elif name == "br" and self._in_title:
            self.parts.append(" ")
        self._in_text = name == "t"

    def end(self, name: str, /) -> None:
        self._in_text = False
        if name == "sp":
            self._in_title = False

    def text(self, text: str, /) -> None:
        if self._in_title and self._in_text:
            self.parts.append(text)


class _SlideText(Handler):
    """Everything else on the slide."""

    def __init__(self, out: Builder) -> None:
        self._flow = Flow(out)
        self._is_left_out = False
        self._in_text = False

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "ph":
            self._is_left_out = attributes.get("type") in _TITLES | _FURNITURE
        elif name == "p":
            self._flow.start_paragraph()
        elif name in ("br", "tab"):
            self._flow.text("\n")
        elif name == "tbl":
            self._flow.start_table()
        elif name == "tr":
            self._flow.start_row()
        elif name == "tc":
            self._flow.start_cell()
        self._in_text = name == "t"

    def end(self, name: str, /) -> None:
        self._in_text = False
        if name == "p":
            self._flow.end_paragraph()
        elif name == "sp":
            self._is_left_out = False
        elif name == "tc":
            self._flow.end_cell()
        elif name == "tbl":
            self._flow.end_table()

    def text(self, text: str, /) -> None:
        if self._in_text and not self._is_left_out:
            self._flow.text(text)
