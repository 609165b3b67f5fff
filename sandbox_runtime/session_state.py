"""What the runtime knows of its session, shared by its operations."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox_link.protocol import OperationError
from sandbox_runtime.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox_runtime.restart_file import Marks


@dataclass(slots=True)
class State:
    """One runtime.

    Attributes:
        root: The workspace's root, symlinks resolved.
        base_environment: What every interpreter and command starts from.
        runtime_id: New at each start.
        session_uid: Empty until `configure`.
        marks: What outlives this process.
        env: The session's environment.
        limits: The session's limits, changed in place.
    """

    root: Path
    base_environment: dict[str, str]
    marks: Marks
    runtime_id: str = field(default_factory=lambda: secrets.token_hex(8))
    session_uid: str = ""
    env: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        """The environment of an interpreter or command, before the mark of its tree."""
        return {**self.base_environment, **self.env, **extra}

    def resolve_cwd(self, cwd: str) -> Path:
        """A working directory inside the workspace, from a path relative to its root (or absolute inside it).

        Raises:
            OperationError: It leaves the root, does not exist, or is no folder. Field `cwd`.
        """
        if "\0" in cwd:
            raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`cwd` holds a NUL character", "cwd")
        try:
            path = (self.root / cwd).resolve()
        except (OSError, RuntimeError):
            raise OperationError(
                "INVALID_ARGUMENT", "INVALID_ARGUMENT", f"`cwd` cannot be resolved: {cwd}", "cwd"
            ) from None
        if path != self.root and self.root not in path.parents:
            message = f"`cwd` leaves the workspace: {cwd}; give a path relative to its root"
            raise OperationError("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", message, "cwd")
        if not path.exists():
            raise OperationError("NOT_FOUND", "FILE_NOT_FOUND", f"`cwd` does not exist: {cwd}", "cwd")
        if not path.is_dir():
            raise OperationError("INVALID_ARGUMENT", "NOT_A_DIRECTORY", f"`cwd` is not a folder: {cwd}", "cwd")
        return path

    def read_timeout(self, value: object) -> float:
        """A `timeout` argument in seconds; the session's limit where there is none.

        Raises:
            OperationError: It is no positive number, or beyond the limit. Field `timeout`.
        """
        limit = self.limits.execution_timeout
        if value is None:
            return limit
        # `not 0 < value` also refuses NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
            message = f"`timeout` must be above 0 and at most {limit:g} s"
            raise OperationError("INVALID_ARGUMENT", "INVALID_TIMEOUT", message, "timeout")
        return float(value)
