"""What pushes and restores of a workspace share: what they work with, and what is known of storage. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.push.plan import Local, Signature
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import Generations
    from sandbox_agent.storage.sandbox.files import SandboxFiles

CONFLICT: Final = (
    "WORKSPACE_CONFLICT: it changed here and in storage, and neither replaces the other: "
    "rename yours to keep both, or restore to take the stored one"
)
DEFAULT_EXCLUDE: Final = (
    ".cache",
    "__pycache__",
    "node_modules",
    ".venv",
    ".ipynb_checkpoints",
    "*.sandbox-part",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What pushes and restores of a workspace work with."""

    store: ObjectStore
    keys: Keys
    generations: Generations
    files: SandboxFiles
    writer: str
    exclude: tuple[str, ...]
    now: Callable[[], str]
    """ISO 8601 with a zone."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """Patterns that whoever saves everything leaves out. Scans with the same ones remember what they have seen."""
        return (*DEFAULT_EXCLUDE, *self.exclude)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What this sandbox knows of storage. Replaced as a whole, never changed."""

    commit: tuple[int, str, str]
    """Which commit it is about."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """What is stored, others' additions included, by path."""
    committed: dict[str, Entry] | None = None
    """The entries of that commit alone; None: not known. The same object as `entries` where nobody added anything."""
    signatures: dict[str, Signature] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    """Paths of it that the sandbox has had."""
    conflicts: frozenset[str] = frozenset()
    """Paths of it of which the sandbox has another version, which nothing saves until the two are one again."""
    settled: Mapping[str, Local] = field(default_factory=dict)
    """What the last push found to be as its entry says, by path: a scan that has the same object has nothing new."""

    @property
    def generation(self) -> int:
        """The generation it is about."""
        return self.commit[0]
