"""What must outlive the runtime's process as the workspace does: that it was restored, and which commit it holds.

Kept in HOME, which lives as long as the workspace. User code can change it; that misleads nobody but its own session.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAX_SIZE: Final = 4096


class Marks:
    """One workspace's marks.

    Attributes:
        restored: Whether the workspace was restored.
        commit: The commit it holds, as the agent put it; empty where none was said.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session_uid = ""
        self.restored = False
        self.commit = ""

    def bind(self, session_uid: str) -> None:
        """Take what an earlier process left for this session; nothing of another one's."""
        if session_uid == self._session_uid:
            return
        left = self._load()
        is_ours = left.get("session_uid") == session_uid
        self._session_uid = session_uid
        self.restored = is_ours and left.get("restored") is True
        commit = left.get("commit")
        self.commit = commit if is_ours and isinstance(commit, str) else ""

    def note(self, *, restored: bool | None = None, commit: str | None = None) -> None:
        """Remember. A full disk is no reason to fail: this process still knows."""
        self.restored = self.restored if restored is None else restored
        self.commit = self.commit if commit is None else commit
        text = json.dumps({"session_uid": self._session_uid, "restored": self.restored, "commit": self.commit})
        part = self._path.with_name(f"{self._path.name}.part")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text)
            part.replace(self._path)

    def _load(self) -> dict[str, Any]:
        try:
            with self._path.open() as file:
                value = json.loads(file.read(_MAX_SIZE))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}
