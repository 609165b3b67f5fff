"""The collaborators that pushes and restores of a workspace share. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_agent.storage.repository.repository import Repository
    from sandbox_agent.storage.sandbox.files import SandboxFiles

DEFAULT_EXCLUDE: Final = (
    ".cache",
    "__pycache__",
    "node_modules",
    ".venv",
    ".ipynb_checkpoints",
    "*.sandbox-part",
)


@dataclass(frozen=True, slots=True)
class WorkspaceContext:
    """The collaborators of one workspace's pushes and restores."""

    store: ObjectStore
    keys: Keys
    repository: Repository
    files: SandboxFiles
    writer: str
    """The session's name and uid. They distinguish its own interrupted push from another session's."""
    exclude: tuple[str, ...]
    """Patterns from the binding, besides the default ones."""
    now: Callable[[], str]
    """Returns the time as ISO 8601 with a zone."""
    max_bytes: int = 0
    """Bytes of all files that pushes save, the size of the volume. 0: no limit."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """Patterns that a push of everything leaves out. A scan with the same patterns continues the last one."""
        return (*DEFAULT_EXCLUDE, *self.exclude)
