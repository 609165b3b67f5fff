"""What the measures share: a session of ours, a Jupyter kernel, an echo server, each started when first asked for."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.sides.bare import Bare
from benchmarks.sides.jupyter import Kernel
from benchmarks.sides.session import Session
from sandbox_client.sync.loop_thread import LoopThread

if TYPE_CHECKING:
    from types import TracebackType


class Lab:
    """Opens what the measures need, and closes it all at the end.

    Attributes:
        is_quick: Fewer rounds, smaller transfers.
    """

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self._open = contextlib.ExitStack()
        # One loop for all: gRPC lets any loop of a process take the events of another, which costs a wake-up.
        self._loop = LoopThread()
        self._open.callback(self._loop.stop)

    @cached_property
    def session(self) -> Session:
        """A local session of ours, its interpreters warm."""
        return self._open.enter_context(Session(self._loop))

    @cached_property
    def kernel(self) -> Kernel:
        """A Jupyter kernel, warm."""
        return self._open.enter_context(Kernel())

    @cached_property
    def bare(self) -> Bare:
        """Bare gRPC in another process."""
        return self._open.enter_context(Bare(self._loop))

    @cached_property
    def folder(self) -> Path:
        """For files; goes away with the lab."""
        return Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-bench-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
