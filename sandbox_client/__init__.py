"""The SDK and the `sandbox` command: sessions on this machine, or in a cluster.

A name is imported when it is first used. `sandbox --help` and shell completion use none, and so take no time for gRPC.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox_client.cluster.client import AsyncCluster
    from sandbox_client.errors import (
        Conflict,
        DataCorrupted,
        DeadlineExceeded,
        FailedPrecondition,
        InvalidArgument,
        NotFound,
        NotSupported,
        PermissionDenied,
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
    from sandbox_client.stored.workspaces import AsyncStoredWorkspaces, StoredWorkspace
    from sandbox_client.sync.cluster import Cluster, StoredWorkspaces
    from sandbox_client.sync.sandbox import Contexts, Files, Process, Processes, Sandbox, Workspace
    from sandbox_client.transfer.folders import TreeReport
    from sandbox_client.transport.endpoint import Endpoint

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
    "PermissionDenied",
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

_NAMES: Final = {
    "cluster.client": "AsyncCluster",
    "transfer.folders": "TreeReport",
    "errors": (
        "Conflict DataCorrupted DeadlineExceeded FailedPrecondition InvalidArgument NotFound NotSupported "
        "PermissionDenied ResourceExhausted SandboxError SandboxUnavailable SessionFailed Unauthenticated"
    ),
    "lifecycle.session_info": "SessionInfo",
    "models.context": "Context",
    "models.events": "Completed Exited Started Stderr Stdout TypesChecked",
    "models.file_info": "FileInfo",
    "models.process_info": "ProcessInfo ProcessOutput",
    "models.results": "CodeError CommandResult Diagnostic Execution Result Status",
    "models.saved_variables": "KeptVariables LostVariable",
    "models.workspace_status": "FileFailure Progress PushReport RestoreReport StoredFile WorkspaceStatus",
    "processes": "AsyncProcess AsyncProcesses",
    "sandbox": "AsyncSandbox",
    "search": "FileChange LineMatch SearchReport",
    "stored.workspaces": "AsyncStoredWorkspaces StoredWorkspace",
    "sync.cluster": "Cluster StoredWorkspaces",
    "sync.sandbox": "Contexts Files Process Processes Sandbox Workspace",
    "transport.endpoint": "Endpoint",
}
_MODULE_OF: Final = {name: module for module, names in _NAMES.items() for name in names.split()}
_MODULES: Final = {module.partition(".")[0] for module in _NAMES}

if not TYPE_CHECKING:  # a type checker knows the names from above

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        elif name in _MODULES:
            value = importlib.import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
