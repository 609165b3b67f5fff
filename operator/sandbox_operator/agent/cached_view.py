"""What is known of an agent without asking it: that a pod just claimed is blank, and what Bind has just answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox_operator.agent.client import AgentView
    from sandbox_operator.watch.work_queue import Key


class AgentNews:
    """The last answer for a session, each to be used once."""

    def __init__(self) -> None:
        self._views: dict[Key, tuple[str, AgentView]] = {}

    def put(self, key: Key, server_name: str, view: AgentView) -> None:
        """An agent told this."""
        self._views[key] = (server_name, view)

    def take(self, key: Key, server_name: str) -> AgentView | None:
        """What this agent told since the last time; None: ask it."""
        name, view = self._views.pop(key, ("", None))
        return view if name == server_name else None
