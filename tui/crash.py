"""What is kept when something goes wrong: where it happened, never what was being read or written.

Messages of exceptions, local variables and arguments can hold the user's own text, so a report names exception types
and places in the code.
"""

import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

MAX_LOG_BYTES = 1_000_000


def report(error: BaseException) -> str:
    """Return the chain of an exception as types and places."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        lines.append(type(current).__name__)
        frames = traceback.extract_tb(current.__traceback__)
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(lines)


def write_report(error: BaseException, log_file: Path) -> None:
    """Append a report to the log; a log that cannot be written is no reason for a second failure."""
    text = f"{datetime.now(UTC).isoformat(timespec='seconds')} {report(error)}\n"
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("a", encoding="utf-8") as log:
            log.write(text)
    except OSError:
        logging.getLogger(__name__).warning("the log cannot be written")


def trim_log(log_file: Path) -> None:
    """Start the log afresh when it has grown beyond `MAX_LOG_BYTES`."""
    if log_file.is_file() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.unlink()
