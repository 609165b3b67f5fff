"""The session's state, which the runtime's operations share."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox_link.frames import MAX_JSON
from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.linux.seccomp import Sockets
from sandbox_runtime.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox_runtime.restart_file import RestartFile

_MAX_ENVIRONMENT: Final = MAX_JSON - (64 << 10)
"""Leaves room for the paths in the same frame."""


@dataclass(slots=True)
class SessionState:
    """State of one runtime and its session.

    Attributes:
        root: The workspace's root, symlinks resolved.
        base_environment: The environment that every interpreter and command starts from.
        restart_file: State that survives a restart of the runtime.
        other_roots: The home folder and /tmp, where code may also start.
        runtime_id: Random id of this run of the runtime.
        session_uid: The session's uid. Empty until `configure`.
        env: The session's environment.
        limits: The session's limits, changed in place.
    """

    root: Path
    base_environment: dict[str, str]
    restart_file: RestartFile
    other_roots: tuple[Path, ...] = ()
    runtime_id: str = field(default_factory=lambda: secrets.token_hex(8))
    session_uid: str = ""
    env: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of an interpreter or command, without the mark of its process tree."""
        return {**self.base_environment, **self.env, **extra}

    def check_environment(self, session: Mapping[str, str], context: Mapping[str, str]) -> None:
        """Check that the environment of a context fits into the frame that gives it to an interpreter.

        Args:
            session: The session's environment.
            context: The context's own variables.

        Raises:
            OperationError: It is too large. Field `env`.
        """
        if len(json.dumps({**self.base_environment, **session, **context})) > _MAX_ENVIRONMENT:
            message = f"`env` makes the environment larger than {_MAX_ENVIRONMENT} bytes of JSON; use a file instead"
            raise invalid("env", message)

    @property
    def sockets(self) -> Sockets:
        """The sockets that user code may open.

        Code of a local session runs as the laptop's user, who may open any. Only egress None applies there too.
        """
        if self.limits.deny_network:
            return Sockets.UNIX
        return Sockets.INTERNET if self.is_in_container else Sockets.ANY

    @property
    def is_in_container(self) -> bool:
        """True if the user id has no processes but those of this session."""
        return os.getpid() == 1 and os.getuid() != 0

    def process_limit(self) -> int:
        """Return RLIMIT_NPROC for children, or 0 for none.

        The limit counts the user's processes on the whole machine. It is therefore set only in a container.
        """
        return self.limits.processes if self.is_in_container else 0

    def resolve_cwd(self, cwd: str) -> Path:
        """Return a working directory in the workspace, the home folder or /tmp.

        Args:
            cwd: Relative to the workspace root, or absolute.

        Raises:
            OperationError: It leaves the root, does not exist, or is not a folder. Field `cwd`.
        """
        if "\0" in cwd:
            raise invalid("cwd", "the working directory has a NUL character: remove it")
        try:
            path = (self.root / cwd).resolve()
        except (OSError, RuntimeError):
            raise invalid(
                "cwd", f"the working directory {cwd!r} cannot be resolved: give a path of fewer symlinks"
            ) from None
        roots = [self.root]
        if cwd.startswith("/"):
            roots += [root.resolve() for root in self.other_roots]
        if not any(path.is_relative_to(root) for root in roots):
            message = (
                f"the working directory {cwd!r} is outside the workspace, the home folder and /tmp: "
                "give a path below one of them, or relative to the workspace"
            )
            raise invalid("cwd", message, "PATH_OUTSIDE_WORKSPACE")
        if not path.exists():
            raise OperationError(
                "NOT_FOUND",
                "FILE_NOT_FOUND",
                f"there is no folder {cwd!r} (relative paths are below {self.root}): create it first",
                "cwd",
            )
        if not path.is_dir():
            raise invalid("cwd", f"the working directory {cwd!r} is not a folder: name a folder", "NOT_A_DIRECTORY")
        return path

    def describe_cwd(self, folder: Path) -> str:
        """Return a working directory as clients see it: relative to the workspace, "" for its root, else absolute."""
        if folder == self.root:
            return ""
        return str(folder.relative_to(self.root) if folder.is_relative_to(self.root) else folder)

    def read_timeout(self, value: object) -> float:
        """Return a `timeout` argument in seconds, or the session's limit if it is None.

        Raises:
            OperationError: It is not a positive number, or exceeds the limit. Field `timeout`.
        """
        limit = self.limits.execution_timeout
        if value is None:
            return limit
        # `not 0 < value` also refuses NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
            raise invalid(
                "timeout",
                f"a timeout of {value!r} s is not possible: give more than 0 and at most {limit:g}",
                "INVALID_TIMEOUT",
            )
        return float(value)
