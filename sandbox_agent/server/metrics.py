"""What the agent measures, in Prometheus's text format. Pure. It tells nothing that is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox_agent.storage.autosave import AutoSave
    from sandbox_agent.storage.workspace import Workspace


def render_metrics(workspace: Workspace | None) -> str:
    """How saving goes; nothing without a workspace, and its lag only where changes are saved unasked."""
    if workspace is None:
        return ""
    saved = str(workspace.saved_bytes)
    families = [("sandbox_workspace_saved_bytes_total", "counter", "Of files that pushes have uploaded.", saved)]
    if workspace.autosave is not None:
        families += _on_change(workspace.autosave)
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, text, value in families
    )


def _on_change(saving: AutoSave) -> list[tuple[str, str, str, str]]:
    return [
        ("sandbox_workspace_lag_seconds", "gauge", "Since the first change that is not saved.", f"{saving.lag:.3f}"),
        ("sandbox_workspace_pushes_total", "counter", "Pushes of changes that ended well.", str(saving.pushes)),
        ("sandbox_workspace_push_failures_total", "counter", "Pushes of changes that failed.", str(saving.failures)),
    ]
