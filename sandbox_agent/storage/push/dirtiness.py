"""Whether a sandbox has something that storage does not. Cheap: no content is read, so a file may only look changed.

Errors: OperationError of the runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_agent.storage.push.plan import list_differing

if TYPE_CHECKING:
    from sandbox_agent.storage.base_state import Knowledge, Parts


async def is_dirty(parts: Parts, knowledge: Knowledge) -> bool:
    """Whether a push of everything would find something to do, or something that it may not do."""
    if knowledge.conflicts:
        return True
    scanned = await parts.files.scan_again(parts.excluded)
    if any(True for _ in list_differing(scanned.values(), knowledge.entries, knowledge.signatures)):
        return True
    for path in knowledge.held.difference(scanned):
        entry = knowledge.entries.get(path)
        if entry is not None and not await parts.files.is_there(path, entry.type):
            return True
    return False
