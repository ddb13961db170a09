"""The process in which foreign tokenizers are taken in, kept alive between inputs.

Reads lines of JSON, [SOURCE, OUT], and answers each with one line: what `convert.words.tokenizer_child.take_in` said.
The product starts a process for each tokenizer. Here one takes in many, as a fork of this one, which has the libraries
loaded and makes another when the library has taken that one down.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from convert.words.tokenizer_child import limit_memory, take_in

VOCAB_SIZE = 1000
SECONDS = 5.0  # on the processor


def answer(source: Path, out: Path) -> dict[str, Any]:
    try:
        return take_in(source, out, VOCAB_SIZE)
    except BaseException as error:  # how the Rust library panics
        return {"panic": type(error).__name__}


def serve() -> None:
    """Answer until there are no more lines, or until the library takes this process with it."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        source, out = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = answer(Path(source), Path(out))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(found), flush=True)


def main() -> None:
    limit_memory()
    code = 1
    while code:
        child = os.fork()
        if child == 0:
            serve()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            print(json.dumps({"hang" if code == -signal.SIGPROF else "crash": code}), flush=True)


if __name__ == "__main__":
    main()
