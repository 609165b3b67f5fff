"""State that survives a restart of the runtime: whether the workspace was restored, and its commit.

The file is in HOME, which lives as long as the workspace. User code can change it, which misleads only its own session.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAX_SIZE: Final = 4096


class RestartFile:
    """The state of one workspace.

    Args:
        path: The file, which need not exist.

    Attributes:
        restored: True if the workspace was restored.
        commit: Its commit in storage, as the agent named it. Empty if unknown.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session_uid = ""
        self.restored = False
        self.commit = ""

    def bind(self, session_uid: str) -> None:
        """Read the state that an earlier process saved for this session. The state of another session is ignored."""
        if session_uid == self._session_uid:
            return
        saved = self._load()
        is_ours = saved.get("session_uid") == session_uid
        self._session_uid = session_uid
        self.restored = is_ours and saved.get("restored") is True
        commit = saved.get("commit")
        self.commit = commit if is_ours and isinstance(commit, str) else ""

    def save(self, *, restored: bool | None = None, commit: str | None = None) -> None:
        """Change the state and write the file. Ignores an OSError (such as a full disk): this process has the state."""
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
