"""The base: the remote state that this sandbox last saw, and what is known of the sandbox's own files.

Errors: OperationError of the runtime, StorageError, ManifestError.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.sandbox.files import RecordedCommit
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.repository.head import CommitId
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import HeadState
    from sandbox_agent.storage.sandbox.file_info import LocalEntry, Signature

NO_COMMIT: Final = (0, "", "")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """The remote state that this sandbox last saw. Replaced as a whole, never changed."""

    commit: CommitId = NO_COMMIT
    """The last commit that this sandbox saw."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """Stored entries by path, including what other writers added since that commit."""
    committed: dict[str, Entry] | None = None
    """The entries of that commit alone. None if unknown; the same object as `entries` if nothing was added."""
    signatures: dict[str, Signature] = field(default_factory=dict)
    """Signatures of files whose content is the stored one, by path."""
    in_sandbox: frozenset[str] = frozenset()
    """Stored paths that the sandbox has or had. If the sandbox lacks one, it was deleted there."""
    conflicts: frozenset[str] = frozenset()
    """Stored paths of which the sandbox has another version. Neither version replaces the other."""
    unchanged: Mapping[str, LocalEntry] = field(default_factory=dict)
    """Files that matched their entry at the last push, by path. Scans return the same object for an unchanged file."""

    @property
    def generation(self) -> int:
        """The commit's generation number."""
        return self.commit[0]


class BaseTracker:
    """The current base. Not safe for concurrent use: `Workspace` uses it under its mutex.

    Attributes:
        base: None until the first read.
        unconfirmed: The base to adopt if a commit, whose answer is missing, turns out to have succeeded.
        synced_at: When the base's snapshot was committed, ISO 8601; empty if unknown.
        uploading: Paths that a running push uploads; None if no push is running.
        saved_bytes: Bytes of the files that successful pushes have uploaded since Bind.
    """

    def __init__(self, context: WorkspaceContext) -> None:
        self.base: Base | None = None
        self.unconfirmed: Base | None = None
        self.synced_at = ""
        self.uploading: frozenset[str] | None = None
        self.saved_bytes = 0
        self._context = context

    async def save(self, base: Base) -> None:
        """Replace the base, and record its commit in the sandbox."""
        self._replace(base)
        recorded = RecordedCommit(base.commit, is_whole=base.in_sandbox >= base.entries.keys())
        try:
            await self._context.files.record_commit(recorded)
        except OperationError as error:
            # The next agent then reads an older commit. It continues if HEAD is this session's own commit. Otherwise
            # it asks for a restore.
            _log.warning(
                "could not record the commit in the sandbox", extra={"reason": error.reason, "error": error.message}
            )

    def resolve_uncertain_commit(self, state: HeadState) -> Base | None:
        """Return the base, if any. If HEAD shows that an unconfirmed commit succeeded, adopt its base first."""
        if self.unconfirmed is not None and self.unconfirmed.commit == state.head.commit:
            self._replace(self.unconfirmed)
        return self.base

    async def load(self) -> Base:
        """Return the base. Read it from storage and the sandbox if this agent has not done so yet."""
        if self.base is None:
            return await self.adopt(await self._context.repository.read_head())
        return self.base

    async def adopt(self, state: HeadState) -> Base:
        """Build the base of a new agent, whose sandbox may be older, and return it.

        A missing file counts as deleted only if the sandbox had it. Changes that another writer saved since the
        sandbox's commit are not adopted: a push would replace them unseen.
        """
        recorded = await self._context.files.read_commit()
        is_own = state.head.writer == self._context.writer
        if recorded is not None and recorded.commit != state.head.commit and not is_own:
            return self._replace(Base(recorded.commit))
        manifest = await self._context.repository.read_manifest(state.head)
        entries = manifest.by_path()
        in_sandbox = frozenset(entries) if (is_own if recorded is None else recorded.is_whole) else frozenset()
        return self._replace(Base(state.head.commit, entries, entries, in_sandbox=in_sandbox))

    @contextlib.contextmanager
    def pushing(self) -> Iterator[None]:
        """Mark the body as a running push, whose outcome is unconfirmed until `save`."""
        self.unconfirmed, self.uploading = None, frozenset()
        try:
            yield
        finally:
            self.uploading = None

    def _replace(self, base: Base) -> Base:
        self.base, self.unconfirmed = base, None
        self.synced_at = base.commit[2]
        return base
