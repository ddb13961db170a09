"""The child process that reads documents whose parsers cannot be trusted: run as a module, ends with its parent.

Requests come in on one pipe, replies go out on another, each given as a file descriptor. Standard input, output and
error lead nowhere, so nothing a parser prints reaches the parent's terminal.
"""

import os
import signal
import sys

from mlx_mixer.documents import wire
from mlx_mixer.documents.child_pipes import EXIT_MEMORY, resident_bytes, serve, write_all
from mlx_mixer.documents.formats.dispatch import read_content
from mlx_mixer.documents.readers import reader_named
from mlx_mixer.documents.unreadable import UnreadableError

# One that grew larger than this over a file is not kept for the next.
_MAX_KEPT_BYTES = 256 << 20


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end or dies.

    Args:
        arguments: Descriptor of the requests, of the replies, limit on the memory in bytes, limit on the time for one
            file in seconds.
    """
    requests, replies_to = serve(arguments)
    seconds = float(arguments[3])
    while True:
        name, data = requests.get()
        # The parent kills a little earlier; this is for when it no longer can.
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
        reply = _reply(name, data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        is_last = resident_bytes() > _MAX_KEPT_BYTES
        write_all(replies_to, wire.pack_reply(reply, is_last=is_last))


def _reply(name: str, data: bytes) -> bytes:
    try:
        return wire.pack_document(*read_content(data, reader_named(name)))
    except UnreadableError as error:
        return wire.pack_reason(str(error))
    except MemoryError:
        os._exit(EXIT_MEMORY)


if __name__ == "__main__":
    main(sys.argv[1:])
