"""What this agent knows of storage, and what the sandbox remembers of it over an agent's restart.

Errors: OperationError of the runtime, StorageError, ManifestError.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sandbox_agent.storage.base_state import Knowledge
from sandbox_agent.storage.sandbox.files import Holding
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_agent.storage.base_state import Parts
    from sandbox_agent.storage.repository.repository import HeadState

_log = logging.getLogger(__name__)


class Recollection:
    """Knowledge, and how it was come by. Its callers see to it that one at a time changes it.

    Attributes:
        knowledge: None until something was read.
        uncertain: What will be known if a commit whose answer was lost holds.
        synced_at: When the known generation was committed, ISO 8601; empty where nothing is known.
    """

    def __init__(self, parts: Parts) -> None:
        self.knowledge: Knowledge | None = None
        self.uncertain: Knowledge | None = None
        self.synced_at = ""
        self._parts = parts

    async def keep(self, knowledge: Knowledge) -> None:
        """Learn it, and have the sandbox remember which commit it holds."""
        self.learn(knowledge)
        holding = Holding(knowledge.commit, is_whole=knowledge.held >= knowledge.entries.keys())
        try:
            await self._parts.files.remember(holding)
        except OperationError as error:
            # The next agent then sees an older commit: it goes on where that is our own, and else asks for a restore.
            _log.warning("the sandbox does not know its commit", extra={"reason": error.reason, "error": error.message})

    def learn(self, knowledge: Knowledge) -> None:
        """This is what is known now."""
        self.knowledge, self.uncertain = knowledge, None
        self.synced_at = knowledge.commit[2]

    def match(self, state: HeadState) -> Knowledge | None:
        """What is known, brought up to a commit of our own whose answer was lost."""
        if self.uncertain is not None and self.uncertain.commit == state.head.commit:
            self.learn(self.uncertain)
        return self.knowledge

    async def recall(self) -> Knowledge:
        """What is known; found out where nothing is."""
        if self.knowledge is None:
            return await self.adopt(await self._parts.generations.read_head())
        return self.knowledge

    async def adopt(self, state: HeadState) -> Knowledge:
        """Take over what is stored: this agent is new, the sandbox is not.

        A file that is missing here was removed here only if the sandbox had it. What another writer saved since the
        sandbox's commit is not taken over: a push would replace it unseen.
        """
        holding = await self._parts.files.recall()
        is_own = state.head.writer == self._parts.writer
        if holding is not None and holding.commit != state.head.commit and not is_own:
            knowledge = Knowledge(holding.commit)
            self.learn(knowledge)
            return knowledge
        manifest = await self._parts.generations.read_manifest(state.head)
        entries = manifest.by_path()
        held = frozenset(entries) if (is_own if holding is None else holding.is_whole) else frozenset()
        knowledge = Knowledge(state.head.commit, entries, entries, held=held)
        self.learn(knowledge)
        return knowledge
