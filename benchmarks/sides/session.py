"""Our side: a local session with the SDK's blocking and asyncio APIs."""

from __future__ import annotations

import contextlib
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from unittest import mock

import psutil

from sandbox_client import AsyncSandbox, Sandbox, Status
from sandbox_client.local import session as local_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from sandbox_client import Execution
    from sandbox_client.sync.loop_thread import LoopThread

_IDLE_TIMEOUT: Final = 60.0
_LANGUAGES: Final = ("python", "javascript")


class Session:
    """One local session.

    Args:
        loop: Runs the client's calls.
        egress: As in the SDK. With `none` user code has a filter of system calls.
        agent_module: Module to run as the agent's process in place of `sandbox_agent`.
    """

    def __init__(
        self, loop: LoopThread, *, egress: Literal["public", "none"] = "public", agent_module: str = ""
    ) -> None:
        self._open = contextlib.ExitStack()
        self._loop = loop
        self._egress: Literal["public", "none"] = egress
        self._agent_module = agent_module

    def __enter__(self) -> Self:
        before = set(psutil.Process().children())
        with _replaced_agent(self._agent_module):
            self._core = self._loop.run(AsyncSandbox.local(egress=self._egress))
        self._open.callback(lambda: self._loop.run(self._core.close()))
        self.sandbox = Sandbox(self._core, self._loop)
        (self._guard,) = set(psutil.Process().children()) - before
        self._wait_idle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def execute(self, code: str, language: str = "python", context: str | None = None) -> Execution:
        """Run a cell.

        Raises:
            RuntimeError: The cell failed.
        """
        execution = self.sandbox.run_code(code, language, context=context)
        if execution.status is not Status.OK:
            raise RuntimeError(f"our cell ended with {execution.status}: {execution.error or code[:200]}")
        return execution

    def timed(self, code: str, language: str = "python", context: str | None = None) -> float:
        """Run a cell and return the milliseconds until all its output has arrived."""
        start = time.perf_counter()
        self.execute(code, language, context)
        return (time.perf_counter() - start) * 1e3

    def timed_async(self, code: str) -> float:
        """Do the same as `timed`, with the asyncio client."""
        return self._loop.run(self._timed_async(code))

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the session: process guard, agent, runtime, zygotes, interpreters."""
        return [self._guard, *self._guard.children(recursive=True)]

    def cpu_milliseconds(self) -> float:
        """Return the CPU time of the processes that the session had at the first such question, to the nanosecond."""
        used = 0
        for pid in self._pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    used += int(path.read_text().split()[0])
        return used / 1e6

    @cached_property
    def _pids(self) -> list[int]:
        # Finding a process's children takes longer than a call.
        return [process.pid for process in self.processes()]

    def agent(self) -> psutil.Process:
        """Return the agent's process."""
        return next(process for process in self.processes() if "sandbox_agent" in process.cmdline())

    async def _timed_async(self, code: str) -> float:
        start = time.perf_counter()
        execution = await self._core.run_code(code)
        elapsed = (time.perf_counter() - start) * 1e3
        if execution.status is not Status.OK:
            raise RuntimeError(f"our cell ended with {execution.status}: {execution.error}")
        return elapsed

    def _wait_idle(self) -> None:
        """Wait until no work of the start runs in the background, which would distort the samples."""
        for language in _LANGUAGES:
            self.execute("1", language)
        deadline = time.monotonic() + _IDLE_TIMEOUT
        while time.monotonic() < deadline:
            used = sum(_cpu_seconds(process) for process in self.processes())
            time.sleep(0.5)
            if sum(_cpu_seconds(process) for process in self.processes()) - used < 0.03:  # noqa: PLR2004 - 6 % of a core
                return
        raise RuntimeError(f"the session was still busy after {_IDLE_TIMEOUT:g} s")


@contextlib.contextmanager
def _replaced_agent(module: str) -> Iterator[None]:
    """Start agents from another module of this repository."""
    original = local_session._process  # noqa: SLF001 - no option of users starts another agent

    def start(name: str, words: Sequence[str], env: Mapping[str, str], **options: Any) -> dict[str, Any]:
        if name == "agent" and module:
            words, env = [module, *words[1:]], {**env, "PYTHONPATH": str(Path(__file__).parents[2])}
        return original(name, words, env, **options)

    with mock.patch.object(local_session, "_process", start):
        yield


def _cpu_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
