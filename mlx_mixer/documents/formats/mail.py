"""Messages and mailboxes: who wrote what to whom, and everything attached that a reader takes."""

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage

from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.html import put_html
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.unreadable import UnreadableError

# A line that starts a message in a mailbox (RFC 4155); in a body such a line is quoted with ">".
_SEPARATOR = re.compile(rb"^From [^\r\n]{1,500}\r?\n", re.MULTILINE)
_QUOTED_FROM = re.compile(r"^>(>*From )", re.MULTILINE)
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MAX_HEADER = 1_000
_MAX_PARTS = 500


def read(data: bytes, out: Builder) -> None:
    """Put one message into `out`."""
    message = _parse(data)
    if not any(name in message for name in _SHOWN):
        raise UnreadableError("damaged message: it has no sender, date or subject")
    out.title = _header(message, "Subject")
    _put_message(message, out)


def read_mailbox(data: bytes, out: Builder) -> None:
    """Put every message of a mailbox into `out`, a page for each."""
    for number, message in enumerate(_messages(data), 1):
        if number > out.limits.pages:
            raise FullError(f"only the first {out.limits.pages:,} messages")
        out.page("message", str(number))
        parsed = _parse(message)
        out.heading(1, _header(parsed, "Subject") or "(no subject)", is_shown=False)
        _put_message(parsed, out)


def _messages(data: bytes) -> Iterator[bytes]:
    starts = [(match.start(), match.end()) for match in _SEPARATOR.finditer(data)]
    if not starts or data[: starts[0][0]].strip():
        raise UnreadableError("damaged mailbox: it does not start with a message")
    for (_, start), (end, _) in zip(starts, [*starts[1:], (len(data), 0)], strict=True):
        yield data[start:end]


def _parse(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=policy.default)


def _put_message(message: EmailMessage, out: Builder) -> None:
    shown = [(name, _header(message, name)) for name in _SHOWN]
    out.paragraph("\n".join(f"{name}: {value}" for name, value in shown if value))
    body = _body(message)
    if body is not None:
        text = _text(body)
        if body.get_content_subtype() == "html":
            title = out.title
            out.title = out.title or "message"  # a page's own title is not the message's
            put_html(text, out)
            out.title = title
        else:
            out.paragraph(_QUOTED_FROM.sub(r"\1", text))
    for part in _attachments(message, body):
        _put_attachment(part, out)


def _body(message: EmailMessage) -> EmailMessage | None:
    """The part that a reader sees first: plain text where there is any."""
    body = message.get_body(("plain", "html"))
    return body if isinstance(body, EmailMessage) else None


def _attachments(message: EmailMessage, body: EmailMessage | None) -> Iterator[EmailMessage]:
    """The parts besides the body; not the parts of an attached message, which is read as a whole."""
    pending, count = [message], 0
    while pending:
        part = pending.pop()
        count += 1
        if count > _MAX_PARTS:
            raise FullError(f"only the first {_MAX_PARTS} parts of a message")
        if part.get_content_type() == "message/rfc822":
            yield part
        elif part.is_multipart():
            pending.extend(reversed([inner for inner in part.iter_parts() if isinstance(inner, EmailMessage)]))
        elif part is not body and (part.is_attachment() or part.get_filename()):
            yield part


def _put_attachment(part: EmailMessage, out: Builder) -> None:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        message = inner[0] if isinstance(inner, list) and inner else None
        if isinstance(message, EmailMessage) and out.may_attach():
            with out.under(_header(message, "Subject") or "attached message"):
                _put_message(message, out)
        return
    content = part.get_payload(decode=True)
    if isinstance(content, bytes) and content:
        out.attach(part.get_filename() or "attachment", content)


def _text(part: EmailMessage) -> str:
    content = part.get_payload(decode=True)
    data = content if isinstance(content, bytes) else b""
    charset = part.get_content_charset("utf-8")
    try:
        return data.decode(charset, "replace")
    except LookupError:
        return data.decode("latin-1")


def _header(message: EmailMessage, name: str) -> str:
    """A header on one line; the standard library stumbles over some that are not by the rules."""
    try:
        value = str(message.get(name, ""))
    except Exception:
        value = ""
    return " ".join(value[:_MAX_HEADER].split())
