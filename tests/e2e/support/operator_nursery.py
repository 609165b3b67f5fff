"""Starts operators by fork, one at a time: what an operator imports costs seconds of a core, a fork nothing.

Each line of standard input is the environment of the next operator, as JSON. Its process id is written when it runs,
and its exit code (negative: a signal) when it ended, each as a line.
"""

import json
import os
import sys

import sandbox_operator.app.application  # noqa: F401 - here, so that no operator has to
from sandbox_operator.__main__ import main


def serve() -> None:
    """Serve until the end of standard input."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.environ.update(json.loads(line))
            os.dup2(2, 1)
            os._exit(main(["run"]))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
