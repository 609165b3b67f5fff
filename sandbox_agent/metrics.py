"""What the agent measures, in Prometheus's text format. Pure. It tells nothing that is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox_agent.storage.workspace import Workspace


def render_metrics(workspace: Workspace | None) -> str:
    """How the saving of changes goes; nothing where changes are not saved unasked."""
    saving = workspace.on_change if workspace is not None else None
    if saving is None:
        return ""
    families = (
        ("sandbox_workspace_lag_seconds", "gauge", "Since the first change that is not saved.", f"{saving.lag:.3f}"),
        ("sandbox_workspace_pushes_total", "counter", "Pushes of changes that ended well.", str(saving.pushes)),
        ("sandbox_workspace_push_failures_total", "counter", "Pushes of changes that failed.", str(saving.failures)),
    )
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, text, value in families
    )
