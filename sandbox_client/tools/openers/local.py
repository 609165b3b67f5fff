"""Opens sessions on this machine for the tools: new ones, or one by its name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import Conflict, NotFound, SandboxError
from sandbox_client.models.sizes import read_size
from sandbox_client.options import LOCAL_DEFAULTS
from sandbox_client.sandbox import AsyncSandbox
from sandbox_client.tools.facts import SessionFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.cluster.api import ClusterOptions

_DEFAULT_TIME_LIMIT: Final = 300.0
"""Seconds of a cell or command, if a local session has no other limit."""
_CREATE_ATTEMPTS: Final = 3


class LocalSessions:
    """A callable that opens local sessions. They share one store, so that pushed files outlive each session.

    Args:
        store: The folder for pushed files. Default: a temporary folder that `close` removes.
        options: Options of `AsyncSandbox.local`.
    """

    def __init__(self, store: str | os.PathLike[str] | None, options: dict[str, Any]) -> None:
        self._store = None if store is None else Path(store)
        self._temporary: Path | None = None
        self._options = options

    async def __call__(self) -> AsyncSandbox:
        """Start a session."""
        if self._store is None:
            self._store = self._temporary = Path(tempfile.mkdtemp(prefix="sandbox-store-"))
        return await AsyncSandbox.local(store=self._store, **self._options)

    async def facts(self) -> SessionFacts:
        """Return what is known about the sessions."""
        return _facts_of(self._options)

    def close(self) -> None:
        """Remove the temporary store. Idempotent."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._store = self._temporary = None


def local_sessions(
    store: str | os.PathLike[str] | None = None,
    *,
    workspace: str | os.PathLike[str] | None = None,
    egress: Literal["public", "none"] = "public",
    execution_timeout: float | None = None,
    memory_limit: int | str | None = None,
    file_size_limit: int | str | None = None,
    env: Mapping[str, str] | None = None,
    sync: Literal["manual", "on_change"] = "manual",
    keep_variables: bool = False,
) -> LocalSessions:
    """Return an opener of local sessions for SandboxTools. Use it only for code that you trust.

    Arguments are those of `AsyncSandbox.local`, with one other default: without `memory_limit`, a session may use half
    of the memory that is available now, and at most 4 GiB, so that the machine stays usable.

    Raises:
        InvalidArgument: `memory_limit` or `file_size_limit` is neither a number of bytes nor a quantity such as `2Gi`.
    """
    options: dict[str, Any] = {
        "memory_limit": read_size(memory_limit, "memory_limit") or default_memory(),
        "workspace": workspace,
        "egress": egress,
        "execution_timeout": execution_timeout,
        "sync": sync,
        "keep_variables": keep_variables,
    }
    if (file_size := read_size(file_size_limit, "file_size_limit")) is not None:
        options["file_size_limit"] = file_size
    if env is not None:
        options["env"] = env
    return LocalSessions(store, options)


def default_memory(meminfo: str = "/proc/meminfo") -> int:
    """Return half of the available memory in bytes, at least 512 MiB and at most 4 GiB.

    Args:
        meminfo: The kernel's file. Without it, half of the machine's whole memory counts.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(meminfo).read_text().splitlines()
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return max(512 << 20, min(available // 2, 4 << 30))


def _facts_of(options: Mapping[str, Any]) -> SessionFacts:
    return SessionFacts(
        is_isolated=False,
        network=options["egress"],
        time_limit=options["execution_timeout"] or _DEFAULT_TIME_LIMIT,
        memory_limit=read_size(options["memory_limit"], "memory_limit"),
    )


class NamedLocalSession:
    """A callable that connects to `local/NAME`. It creates the session if there is none, and resumes a suspended one.

    Args:
        name: The session's name, without `local/`.
        options: Options of a cluster, of which none may be set.
        timeout: Seconds to wait while another program changes the session.
        keep_variables: Whether a session that is created here keeps Python variables when it is suspended.
    """

    def __init__(
        self, name: str, options: ClusterOptions | None = None, *, timeout: float, keep_variables: bool
    ) -> None:
        self._name = name
        self._options: dict[str, Any] = {} if options is None else dataclasses.asdict(options)
        self._timeout = timeout
        self._keep_variables = keep_variables

    async def __call__(self) -> AsyncSandbox:
        """Return a sandbox. Errors as for `AsyncSandbox.connect` and `create_local`."""
        for _ in range(_CREATE_ATTEMPTS):
            with contextlib.suppress(NotFound):
                return await self._connect()
            # Another program may create it at the same moment.
            with contextlib.suppress(Conflict):
                return await AsyncSandbox.create_local(self._name, keep_variables=self._keep_variables)
        return await self._connect()

    async def facts(self) -> SessionFacts:
        """Return what is known about the session, or about the one that this would create."""
        from sandbox_client.local.named.registry import Registry  # noqa: PLC0415 - only for named sessions

        options: Mapping[str, Any] = LOCAL_DEFAULTS
        with contextlib.suppress(SandboxError, OSError):
            options = {**LOCAL_DEFAULTS, **Registry().read(self._name).options}
        return _facts_of(options)

    async def _connect(self) -> AsyncSandbox:
        return await AsyncSandbox.connect(f"local/{self._name}", timeout=self._timeout, **self._options)
