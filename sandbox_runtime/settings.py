"""Reads the runtime's environment variables and the arguments of `configure`. Pure.

Errors: OperationError (INVALID_ARGUMENT) for a malformed `configure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_link.protocol import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("python", "javascript", "typescript", "bash")
_DEFAULT_PRELOAD: Final = "numpy,pandas,matplotlib.pyplot"


@dataclass(frozen=True, slots=True)
class Settings:
    """The runtime's environment variables (docs/pod-contract.md).

    Attributes:
        link_dir: Folder of `runtime.sock`.
        workspace: Root of the workspace.
        home: HOME of user code; gets a venv and an npm prefix.
        preload: Modules that the preloaded zygote imports. Missing ones are skipped.
        stop_seconds: Seconds that an agent may still save files after SIGTERM.
        deny_network: The value that `configure` will probably set. If it sets another one, all processes are replaced.
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
    """Limits of a session. `configure` changes them in place, so that all holders see the new values.

    Attributes:
        execution_timeout: Maximum and default seconds of an execution or command.
        output_bytes: Output of an execution or command. More is dropped in the middle.
        processes: Processes of the sandbox's user (best effort: `SessionState.process_limit`).
        file_bytes: Bytes of one file.
        memory_bytes: Memory of all processes together. 0 means that only the container's cgroup limits it.
        languages: Allowed languages. Empty allows all.
        deny_network: True if user code may only open AF_UNIX sockets.
    """

    execution_timeout: float = 300.0
    output_bytes: int = 128 << 20
    processes: int = 512
    file_bytes: int = 5 << 30
    memory_bytes: int = 0
    languages: tuple[str, ...] = ()
    deny_network: bool = False

    def update(self, values: Mapping[str, Any]) -> None:
        """Apply the limits of a `configure`. A number that is absent or zero keeps its value.

        Raises:
            OperationError: A value has the wrong type or sign. Then nothing has changed.
        """
        timeout = _number(values, "execution_timeout", (int, float))
        numbers = {
            name: _number(values, name, (int,)) for name in ("output_bytes", "processes", "file_bytes", "memory_bytes")
        }
        languages = values.get("languages") or ()
        if not isinstance(languages, list | tuple) or any(name not in LANGUAGES for name in languages):
            raise invalid("languages", f"`languages` must be a list of {', '.join(LANGUAGES)}")
        self.execution_timeout = float(timeout) or self.execution_timeout
        for name, number in numbers.items():
            setattr(self, name, int(number) or getattr(self, name))
        self.languages = tuple(languages)
        self.deny_network = bool(values.get("deny_network", False))


def read_env(value: Any) -> dict[str, str]:
    """Return an `env` argument. None is an empty environment.

    Raises:
        OperationError: It is not an object of strings, or has a name or value that no environment can have.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("env", "`env` is not an object")
    for name, text in value.items():
        if not isinstance(text, str) or not name or "=" in name or "\0" in name + text:
            raise invalid("env", f"`env` cannot have {name[:64]!r}: use a name without `=`, and no NUL characters")
    return dict(value)


def _number(values: Mapping[str, Any], name: str, types: tuple[type, ...]) -> float:
    value: Any = values.get(name) or 0
    if not isinstance(value, bool) and isinstance(value, types):
        number = cast("float", value)
        # The comparison also refuses NaN.
        if 0 <= number < float("inf"):
            return number
    kind = "an integer" if types == (int,) else "a number"
    raise invalid(name, f"`{name}` must be {kind} of at least 0")
