"""One process with the Hub's real client that serves the requests of many tests.

Importing the client takes most of a second, so that a process for each test would take most of a minute. What a process
of its own is about (being killed, ending with its parent, reading the environment) is tested with the real one.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_mixer import errors

ROOT = Path(__file__).parents[2]


class Worker:
    def __init__(self, endpoint: str) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
        environ |= {"HF_ENDPOINT": endpoint, "HF_HUB_DOWNLOAD_TIMEOUT": "2", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environ |= {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ,
        )
        self.progress: list[Mapping[str, Any]] = []

    def ask(self, **request: Any) -> Any:
        """Serve a request; errors are raised as the parent process of a user would raise them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.progress = []
        while line := self._process.stdout.readline():
            message = json.loads(line)
            if "progress" in message:
                self.progress.append(message["progress"])
            elif "error" in message:
                raise getattr(errors, message["kind"])(message["error"])
            else:
                return message["result"]
        raise AssertionError("the worker died")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def main() -> None:
    from convert.hub.child import serve

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def write(line: Mapping[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    for line in sys.stdin:
        request = json.loads(line)
        os.environ.update(request.pop("environ", {"HF_TOKEN": ""}))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (request.pop("largest_file", resource.RLIM_INFINITY), hard))
        serve(request, write)


if __name__ == "__main__":
    main()
