"""Messages, mailboxes, and what is attached to them."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.formats.reading import part_of, read
from tests.mlx_mixer.documents.formats.written import mail_box, message, pdf, word


def test_a_message_shows_who_wrote_what() -> None:
    mail = message("Ötters", "They are back.\n")
    mail.add_alternative("<p>They are <b>back</b>, in HTML.", subtype="html")
    document = read("a.eml", bytes(mail))
    assert document.title == "Ötters"
    assert document.text == (
        "From: Ada <ada@example.org>\nTo: grace@example.org\nDate: Sat, 09 Mar 2024 10:00:00 +0000\n"
        "Subject: Ötters\n\nThey are back.\n\n"
    )


def test_a_message_of_html_alone_is_read_as_html() -> None:
    mail = message()
    mail.set_content("<title>Newsletter</title><h1>Seals</h1><p>A <b>seal</b> was seen.", subtype="html")
    document = read("a.eml", bytes(mail))
    assert "A seal was seen." in document.text
    assert document.title == "Otters"


def test_attachments_are_read_by_their_own_readers() -> None:
    mail = message(
        report__pdf=pdf(["first page", "second page"]), paper__docx=word(), notes__md=b"# A\n\ntext\n\n## B\n\nmore",
        picture__png=b"\x89PNG", code__py=b"def f():\n    return 1\n", broken__pdf=b"%PDF-1.4 no",
    )  # fmt: skip
    document = read("a.eml", bytes(mail))
    starts = {section.heading: section.start for section in document.sections}
    assert document.text[starts["report.pdf", "page 2"] :].startswith("second page")
    assert document.text[starts["paper.docx", "Harbour", "Counting"] :].startswith("Counting")
    assert document.text[starts["notes.md", "A", "B"] :].startswith("## B")
    assert document.text[starts["code.py", "def f"] :].startswith("def f")
    assert "Attachment: picture.png\n\n(not read: not text (.png))" in document.text
    assert "(not read: damaged PDF" in document.text
    assert (document.pages, document.title) == ((), "Otters")


def test_an_attached_secret_is_not_read() -> None:
    document = read("a.eml", bytes(message(id_rsa=b"hidden words", notes__txt=b"-----BEGIN PRIVATE KEY-----\nhidden")))
    assert "hidden" not in document.text


def test_an_attached_message_is_part_of_the_document() -> None:
    outer = message("Outer", "see below")
    outer.add_attachment(message("Inner", "the inner words", notes__txt=b"of the inner message"))
    document = read("a.eml", bytes(outer))
    assert part_of(document, "of the inner message").heading[:1] in (("Inner",), ())
    assert ("Inner", "notes.txt") in [section.heading for section in document.sections]


def test_messages_in_messages_end_somewhere() -> None:
    mail = message("Innermost", "never seen")
    for depth in range(20):
        outer = message(f"Level {depth}", "x")
        outer.add_attachment(mail)
        mail = outer
    document = read("a.eml", bytes(mail))
    assert "Level 16" in document.text
    assert "never seen" not in document.text


def test_many_attachments_are_named_but_not_all_read() -> None:
    mail = message(**{f"n{number}__txt": b"words %d." % number for number in range(30)})
    document = read("a.eml", bytes(mail), Limits(attachments=10))
    assert "words 9." in document.text
    assert "words 10." not in document.text
    assert "Attachment: n29.txt" in document.text


def test_a_mailbox_has_a_page_for_each_message(tmp_path: Path) -> None:
    mails = [message(f"Subject {number}", f"Body {number}.\nFrom here on\n") for number in range(1, 4)]
    document = read("a.mbox", mail_box(mails, tmp_path))
    assert document.page_kind == "message"
    for number in range(1, 4):
        part = part_of(document, f"Body {number}.\nFrom here on")
        assert (part.page, part.heading) == (number, (f"Subject {number}",))


def test_messages_beyond_the_limit_are_noted(tmp_path: Path) -> None:
    document = read("a.mbox", mail_box([message()] * 3, tmp_path), Limits(pages=2))
    assert document.note == "partial: only the first 2 messages"


@pytest.mark.parametrize("charset", ["latin-1", "utf-8", "koi8-r", "no-such-charset", "hex"])
def test_a_body_is_decoded_or_at_least_kept(charset: str) -> None:
    mail = b"From: a@b\nSubject: x\nContent-Type: text/plain; charset=" + charset.encode() + b"\n\nplain words \xe9\n"
    assert "plain words" in read("a.eml", mail).text


def test_what_is_no_message_is_damaged() -> None:
    with pytest.raises(UnreadableError, match="no sender"):
        read("a.eml", b"just some words\n")
    with pytest.raises(UnreadableError, match="damaged mailbox"):
        read("a.mbox", b"just some words\n")


def test_a_header_out_of_all_rules_costs_nothing_else() -> None:
    mail = b"From: \xff\xfe=?utf-8?b?!!!?=, <<>>@\nSubject: =?x?q?=\nDate: never\n\nthe body\n"
    assert "the body" in read("a.eml", mail).text


def test_an_empty_message_has_its_headers() -> None:
    mail = EmailMessage()
    mail["Subject"] = "only a subject"
    assert "only a subject" in read("a.eml", bytes(mail)).text
