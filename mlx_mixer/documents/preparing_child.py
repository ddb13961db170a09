"""The child process that prepares documents beside the one that stores them: run as a module, ends with its parent."""

import os
import signal
import struct
import sys

from mlx_mixer.documents.child_pipes import EXIT_MEMORY, serve, write_all
from mlx_mixer.documents.prepare import prepare_text
from mlx_mixer.documents.prepared import pack_prepared
from mlx_mixer.documents.readers import reader_named

# Bytes of the reply that follows.
REPLY_HEADER = struct.Struct("<I")


def seconds_for(size: int) -> float:
    """How long a file of so many bytes may take: a hundred times what it usually does, and 20 s."""
    return 20.0 + size / 60_000


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end or dies.

    Args:
        arguments: Descriptor of the requests, of the replies, limit on the memory in bytes.
    """
    requests, replies_to = serve(arguments)
    while True:
        name, data = requests.get()
        # The parent kills a little earlier; this is for when it no longer can.
        signal.setitimer(signal.ITIMER_REAL, seconds_for(len(data)) + 5)
        try:
            reply = pack_prepared(prepare_text(data, b"", reader_named(name)))
        except MemoryError:
            os._exit(EXIT_MEMORY)
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_all(replies_to, REPLY_HEADER.pack(len(reply)) + reply)


if __name__ == "__main__":
    main(sys.argv[1:])
