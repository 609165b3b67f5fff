"""Holds the session, the Jupyter kernel and the echo server that measures share. Each starts on first use."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from benchmarks.sides.bare import Bare
from benchmarks.sides.bare_listener import BareListener
from benchmarks.sides.jupyter import Kernel
from benchmarks.sides.session import Session
from sandbox_client.sync.loop_thread import LoopThread

if TYPE_CHECKING:
    from types import TracebackType


class Lab:
    """The resources of the measures. It closes all of them at the end.

    Attributes:
        is_quick: True for fewer rounds and smaller transfers.
    """

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self._open = contextlib.ExitStack()
        # All share one loop. gRPC lets a loop take the events of another loop of the process, which costs a wake-up.
        self._loop = LoopThread()
        self._open.callback(self._loop.stop)

    @cached_property
    def session(self) -> Session:
        """A local session whose interpreters are warm."""
        return self._open.enter_context(Session(self._loop))

    def open_session(self, *, egress: Literal["public", "none"] = "public", agent_module: str = "") -> Session:
        """Start a further local session; `Session` explains the arguments."""
        return self._open.enter_context(Session(self._loop, egress=egress, agent_module=agent_module))

    @cached_property
    def kernel(self) -> Kernel:
        """A warm Jupyter kernel."""
        return self._open.enter_context(Kernel())

    @cached_property
    def bare(self) -> Bare:
        """Bare gRPC in another process."""
        return self._open.enter_context(Bare(self._loop))

    @cached_property
    def bare_listener(self) -> BareListener:
        """A listener that closes every connection."""
        return self._open.enter_context(BareListener())

    @cached_property
    def folder(self) -> Path:
        """A folder for files. It is removed with the lab."""
        return Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-bench-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
