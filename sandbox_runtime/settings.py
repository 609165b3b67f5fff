"""What the runtime is told by its environment and by `configure`. Pure.

Errors: OperationError (INVALID_ARGUMENT) for a `configure` that is not well formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("python", "javascript", "typescript")
_DEFAULT_PRELOAD: Final = "numpy,pandas,matplotlib.pyplot"


@dataclass(frozen=True, slots=True)
class Settings:
    """The runtime's environment variables (docs/pod-contract.md).

    Attributes:
        link_dir: Folder of `runtime.sock`.
        workspace: Root of the workspace.
        home: HOME of user code; gets a venv and an npm prefix.
        preload: Modules that the preloading zygote imports; missing ones are skipped.
        stop_seconds: How long an agent may still save files after this process was told to stop.
        deny_network: What `configure` will probably say: with another value each process that waits is replaced.
    """

    link_dir: Path
    workspace: Path
    home: Path
    preload: tuple[str, ...]
    stop_seconds: float = 0.0
    deny_network: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables, with the defaults of the pod contract."""
        preload = environ.get("SANDBOX_ZYGOTE_PRELOAD", _DEFAULT_PRELOAD)
        return cls(
            link_dir=Path(environ.get("SANDBOX_LINK_DIR") or "/run/sandbox"),
            workspace=Path(environ.get("SANDBOX_WORKSPACE") or "/workspace"),
            home=Path(environ.get("SANDBOX_HOME") or "/home/sandbox"),
            preload=tuple(name.strip() for name in preload.split(",") if name.strip()),
            stop_seconds=float(environ.get("SANDBOX_STOP_SECONDS") or 0),
            deny_network=environ.get("SANDBOX_DENY_NETWORK") == "1",
        )


@dataclass(slots=True)
class Limits:
    """Limits of a session; changed in place by `configure`, so that whoever holds it sees the new values.

    Attributes:
        execution_timeout: Seconds that an execution or command may take at most, and takes where nothing is said.
        output_bytes: Output of an execution or command; more is dropped in the middle.
        processes: Processes of the sandbox's user (best effort, see `Supervisor`).
        file_bytes: Bytes of one file.
        memory_bytes: Memory of all processes together; 0: what the container's cgroup allows.
        languages: Allowed languages; empty: all.
        deny_network: Refuse user code all sockets but AF_UNIX.
    """

    execution_timeout: float = 300.0
    output_bytes: int = 128 << 20
    processes: int = 512
    file_bytes: int = 5 << 30
    memory_bytes: int = 0
    languages: tuple[str, ...] = ()
    deny_network: bool = False

    def update(self, values: Mapping[str, Any]) -> None:
        """Take over what `configure` says; absent and zero mean the default.

        Raises:
            OperationError: A value has the wrong type or sign; nothing was changed then.
        """
        timeout = _number(values, "execution_timeout", (int, float))
        numbers = {
            name: _number(values, name, (int,)) for name in ("output_bytes", "processes", "file_bytes", "memory_bytes")
        }
        languages = values.get("languages") or ()
        if not isinstance(languages, list | tuple) or any(name not in LANGUAGES for name in languages):
            raise _invalid("languages")
        self.execution_timeout = float(timeout) or self.execution_timeout
        for name, number in numbers.items():
            setattr(self, name, int(number) or getattr(self, name))
        self.languages = tuple(languages)
        self.deny_network = bool(values.get("deny_network", False))


def read_env(value: Any) -> dict[str, str]:
    """Check an `env` argument.

    Raises:
        OperationError: It is not an object of strings that an environment can hold.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid("env")
    for name, text in value.items():
        if not isinstance(text, str) or not name or "=" in name or "\0" in name + text:
            raise _invalid("env")
    return dict(value)


def _number(values: Mapping[str, Any], name: str, types: tuple[type, ...]) -> float:
    value: Any = values.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, types):
        raise _invalid(name)
    number = cast("float", value)
    # The comparison also refuses NaN.
    if not 0 <= number < float("inf"):
        raise _invalid(name)
    return number


def _invalid(field: str) -> OperationError:
    return OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", f"`{field}` is not valid", field)
