"""The SDK and the `sandbox` command: sessions on this machine, or in a cluster."""

import importlib
from typing import TYPE_CHECKING, Any

from sandbox_client.directory_transfer import TreeReport
from sandbox_client.errors import (
    Conflict,
    DataCorrupted,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotSupported,
    ResourceExhausted,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
    Unauthenticated,
)
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_client.models.context import Context
from sandbox_client.models.events import Completed, Exited, Started, Stderr, Stdout, TypesChecked
from sandbox_client.models.file_info import FileInfo
from sandbox_client.models.process_info import ProcessInfo, ProcessOutput
from sandbox_client.models.results import CodeError, CommandResult, Diagnostic, Execution, Result, Status
from sandbox_client.models.saved_variables import KeptVariables, LostVariable
from sandbox_client.models.workspace_status import (
    FileFailure,
    Progress,
    PushReport,
    RestoreReport,
    StoredFile,
    WorkspaceStatus,
)
from sandbox_client.processes import AsyncProcess, AsyncProcesses
from sandbox_client.sandbox import AsyncSandbox
from sandbox_client.search import FileChange, LineMatch, SearchReport
from sandbox_client.sync.sandbox import Contexts, Files, Process, Processes, Sandbox, Workspace
from sandbox_client.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from sandbox_client.cluster.client import AsyncCluster
    from sandbox_client.stored.workspaces import AsyncStoredWorkspaces, StoredWorkspace
    from sandbox_client.sync.cluster import Cluster, StoredWorkspaces

__all__ = [
    "AsyncCluster",
    "AsyncProcess",
    "AsyncProcesses",
    "AsyncSandbox",
    "AsyncStoredWorkspaces",
    "Cluster",
    "CodeError",
    "CommandResult",
    "Completed",
    "Conflict",
    "Context",
    "Contexts",
    "DataCorrupted",
    "DeadlineExceeded",
    "Diagnostic",
    "Endpoint",
    "Execution",
    "Exited",
    "FailedPrecondition",
    "FileChange",
    "FileFailure",
    "FileInfo",
    "Files",
    "InvalidArgument",
    "KeptVariables",
    "LineMatch",
    "LostVariable",
    "NotFound",
    "NotSupported",
    "Process",
    "ProcessInfo",
    "ProcessOutput",
    "Processes",
    "Progress",
    "PushReport",
    "ResourceExhausted",
    "RestoreReport",
    "Result",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailable",
    "SearchReport",
    "SessionFailed",
    "SessionInfo",
    "Started",
    "Status",
    "Stderr",
    "Stdout",
    "StoredFile",
    "StoredWorkspace",
    "StoredWorkspaces",
    "TreeReport",
    "TypesChecked",
    "Unauthenticated",
    "Workspace",
    "WorkspaceStatus",
]


_LAZY = {
    "AsyncCluster": "cluster.client",
    "AsyncStoredWorkspaces": "stored.workspaces",
    "Cluster": "sync.cluster",
    "StoredWorkspace": "stored.workspaces",
    "StoredWorkspaces": "sync.cluster",
}
"""Modules of the names that are imported when they are first used. Most programs do not need them."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
