"""The names that the SDK exports, and the signatures and help of the calls that share options."""

import inspect
import subprocess
import sys

import pytest

import sandbox_client
from sandbox_client import AsyncProcesses, AsyncSandbox, Processes, Sandbox
from sandbox_client.options import (
    CONNECT_DEFAULTS,
    LOCAL_DEFAULTS,
    RUN_DEFAULTS,
    ConnectOptions,
    LocalOptions,
    RunOptions,
    complete,
)

NAMES = """
AsyncCluster AsyncProcess AsyncProcesses AsyncSandbox AsyncStoredWorkspaces Cluster CodeError CommandResult Completed
Conflict Context Contexts DataCorrupted DeadlineExceeded Diagnostic Endpoint Execution Exited FailedPrecondition
FileChange FileFailure FileInfo Files InvalidArgument KeptVariables LineMatch LostVariable NotFound NotSupported
PermissionDenied Process ProcessInfo ProcessOutput Processes Progress PushReport ResourceExhausted RestoreReport Result
Sandbox SandboxError SandboxUnavailable SearchReport SessionFailed SessionInfo Started Status Stderr Stdout StoredFile
StoredWorkspace StoredWorkspaces TreeReport TypesChecked Unauthenticated Workspace WorkspaceStatus
"""
GATEWAY = {"gateway": None, "api_key": None}
CLUSTER = {
    "namespace": None,
    "kubeconfig": None,
    "kube_context": None,
    "in_cluster": None,
    "timeout": 120.0,
    "on_phase": None,
    **GATEWAY,
}
SESSION_SETTINGS = """
template env idle_timeout lifetime on_idle egress resources workspace keep_variables labels spec
"""
SESSION = dict.fromkeys(SESSION_SETTINGS.split())
COMMAND = {"cwd": "", "env": None, "timeout": None, "stdin": b"", "request_id": None}
CALLBACKS = {"on_stdout": None, "on_stderr": None}
DEFAULTS = {
    "local": {
        "workspace": None,
        "store": None,
        "name": "default",
        "env": None,
        "egress": "public",
        "execution_timeout": 300.0,
        "memory_limit": None,
        "file_size_limit": None,
        "sync": "manual",
        "keep_variables": False,
        "on_progress": None,
    },
    "connect": {"wake": True, **CLUSTER},
    "create": {"name": None, "ephemeral": None, **SESSION, **CLUSTER},
    "list": {"labels": None, "namespace": None, "kubeconfig": None, "kube_context": None, **GATEWAY},
    "suspend": {"timeout": 120.0},
    "resume": {"expires": None, "timeout": 120.0},
    "run": {**COMMAND, **CALLBACKS, "end_with_client": False, "on_cancel": "interrupt"},
    "stream_command": {**COMMAND, "end_with_client": False},
    "start": {**COMMAND, "keep_input": True, "terminal": None, "tag": ""},
}
CALLS = [
    *((class_, name) for class_ in (AsyncSandbox, Sandbox) for name in DEFAULTS if name != "start"),
    (AsyncProcesses, "start"),
    (Processes, "start"),
]


def test_the_exported_names_are_those_that_users_rely_on():
    assert sandbox_client.__all__ == NAMES.split()
    assert all(hasattr(sandbox_client, name) for name in NAMES.split())


@pytest.mark.parametrize(("class_", "name"), CALLS)
def test_the_signature_and_the_help_of_a_call_show_each_option_with_its_default(class_, name):
    call = getattr(class_, name)
    parameters = inspect.signature(call).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    assert defaults == DEFAULTS[name]
    assert not [each for each in parameters if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    described = {line.split(":")[0].strip() for line in inspect.getdoc(call).splitlines() if line.startswith("    ")}
    assert set(defaults) <= described
    assert "**options" not in described


@pytest.mark.parametrize(
    ("options", "defaults"),
    [(LocalOptions, LOCAL_DEFAULTS), (ConnectOptions, CONNECT_DEFAULTS), (RunOptions, RUN_DEFAULTS)],
)
def test_each_option_has_a_default_and_a_description(options, defaults):
    assert list(options.__annotations__) == list(defaults)
    # Python 3.13 removes a docstring's indentation.
    described = [line.strip().partition(":")[0] for line in options.__doc__.splitlines()]
    assert [name for name in defaults if name not in described] == []


def test_missing_options_get_their_default_and_unknown_ones_are_named():
    assert complete({"cwd": "x"}, RUN_DEFAULTS) == {**COMMAND, "cwd": "x"}
    with pytest.raises(TypeError, match="unknown option tiemout; the options are cwd, env, timeout, stdin, request_id"):
        complete({"tiemout": 1}, RUN_DEFAULTS)


async def test_an_unknown_option_of_a_command_is_refused_before_it_runs(agent, sandbox):
    with pytest.raises(TypeError, match="tiemout"):
        await sandbox.run("ls", tiemout=1)
    with pytest.raises(TypeError, match="tiemout"):
        await sandbox.processes.start("ls", tiemout=1)
    assert agent.calls.total() == 0


def test_the_sdk_can_be_imported_without_docstrings():
    script = "import inspect, sandbox_client; print(inspect.signature(sandbox_client.Sandbox.local).parameters['sync'])"
    done = subprocess.run([sys.executable, "-OO", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("= 'manual'")
