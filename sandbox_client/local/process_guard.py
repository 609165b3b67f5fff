"""The parent of a local session's processes. It starts them, and kills all of them when the session ends in any way.

It runs as a script: `python -I process_guard.py`, with one line of JSON (a `Plan`) on standard input. Standard input
ends when the SDK closes it, or when the SDK's process dies, even by SIGKILL. The guard then kills every process below
it and removes the folder. It uses the standard library only, and no threads: it sets a death signal between fork and
exec, which is not safe in a process with threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""


class ProcessPlan(TypedDict):
    """One process. It starts after the process named `after` has exited with 0. `once`: it should exit with 0."""

    name: str
    argv: list[str]
    env: dict[str, str]
    after: str
    once: bool


class Plan(TypedDict):
    """The processes to run. `logs` gets a `<name>.log` for each, `folder` `exited.json` when one ends unexpectedly."""

    folder: str
    logs: str
    processes: list[ProcessPlan]


def prctl(option: int, value: int) -> None:
    """Set a process attribute on Linux. Elsewhere, processes end only with standard input."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class ProcessGuard:
    """The processes of one session."""

    def __init__(self, plan: Plan) -> None:
        self._folder = Path(plan["folder"])
        self._logs = Path(plan["logs"])
        self._waiting = list(plan["processes"])
        self._running: dict[str, tuple[ProcessPlan, subprocess.Popen[bytes]]] = {}
        self._done: set[str] = {""}

    def start_due(self) -> None:
        """Start the processes that wait for no other one."""
        for process in [process for process in self._waiting if process["after"] in self._done]:
            self._waiting.remove(process)
            with (self._logs / f"{process['name']}.log").open("ab") as log:
                self._running[process["name"]] = (
                    process,
                    subprocess.Popen(
                        process["argv"],
                        env=process["env"],
                        cwd=self._folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - no threads here
                    ),
                )

    def collect(self) -> None:
        """Reap the processes that ended, and start those that waited for them."""
        for name, (process, running) in list(self._running.items()):
            code = running.poll()
            if code is None:
                continue
            del self._running[name]
            if process["once"] and code == 0:
                self._done.add(name)
                self.start_due()
            else:
                self._report_exit({"name": name, "code": code})

    def _report_exit(self, fact: dict[str, Any]) -> None:
        partial = self._folder / "exited.json.partial"
        partial.write_text(json.dumps(fact))
        partial.replace(self._folder / "exited.json")

    def end(self) -> None:
        """Terminate the processes, kill those that remain below this process, and remove the folder."""
        for _, running in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                running.terminate()
        deadline = time.monotonic() + GRACE
        for _, running in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(max(0.0, deadline - time.monotonic()))
        _kill_descendants()
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill_descendants() -> None:
    """Kill children until none is left. As a subreaper, this process inherits every orphan, so that reaches all."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), signal.SIGKILL)
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if reaped == 0:
            time.sleep(0.005)


def main() -> None:
    """Run the plan until standard input ends."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # Only the end of standard input may end a session. A stray signal must not end the SDK's processes.
        signal.signal(number, lambda *_: None)
    guard = ProcessGuard(json.loads(sys.stdin.readline()))
    try:
        guard.start_due()
        while True:
            ready, _, _ = select.select([0, wake_read], [], [])
            if 0 in ready and not os.read(0, 4096):
                return
            if wake_read in ready:
                os.read(wake_read, 4096)
            guard.collect()
    finally:
        guard.end()


if __name__ == "__main__":
    main()
