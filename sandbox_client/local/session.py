"""Starts a session on this machine: agent and runtime as processes on loopback, with the cluster's protocol and TLS.

The agent is started, never imported; docs/pod-contract.md describes the interface. process_guard.py owns the processes,
so that they end with this process in any case, even if it is killed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import json
import os
import secrets
import shutil
import site
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SessionFailed
from sandbox_client.local.check import check_options
from sandbox_client.local.control import START_TIMEOUT, Control
from sandbox_client.models.sizes import read_size
from sandbox_client.options import ignore
from sandbox_client.stored.leases import hold_workspace
from sandbox_client.transport.endpoint import Endpoint
from sandbox_proto import tracing
from sandbox_proto.v1 import session_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_client.options import LocalOptions

SERVER_NAME: Final = "local.sandboxsessions.dev"
_INHERITED: Final = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "PYTHONPATH", "TMPDIR", "SANDBOX_NODE", "SANDBOX_ZYGOTE_PRELOAD",
    "SANDBOX_TYPE_CHECKER", "SANDBOX_REFLECTION",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
_INHERITED_PREFIXES: Final = ("LC_", "PIP_", "npm_config_", "NPM_CONFIG_", "UV_")
_MAX_FOLDER_BYTES: Final = 80
"""Maximum of the folder's path. A unix socket's path has at most 107 bytes, and `/link/runtime.sock` is appended."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of a session. Each one is temporary if None.

    Attributes:
        workspace: The folder that the code works in.
        store: The folder that replaces object storage.
        home: HOME of the code.
        logs: The folder of the processes' logs, and of the record, if the session has a name.
    """

    workspace: Path | None = None
    store: Path | None = None
    home: Path | None = None
    logs: Path | None = None


@dataclass(frozen=True, slots=True)
class RunningSession:
    """A session's processes.

    Attributes:
        endpoint: The address for clients.
        resources: Ends the session when it is closed.
        control: The agent's control port.
        folder: The folder with sockets and certificates, which the process guard removes at the end.
        guard: The process guard.
    """

    endpoint: Endpoint
    resources: contextlib.AsyncExitStack
    control: Control
    folder: Path
    guard: subprocess.Popen[bytes]


async def start_local(
    workspace: str | os.PathLike[str] | None, store: str | os.PathLike[str] | None, options: LocalOptions
) -> tuple[Endpoint, contextlib.AsyncExitStack]:
    """Start a session that ends with this process.

    Args:
        workspace: The folder that the code works in; a temporary one if None.
        store: The folder that replaces object storage; a temporary one if None.
        options: Every option of LocalOptions.

    Returns:
        The session's endpoint, and a stack whose closing ends the session.

    Raises:
        SessionFailed: The [local] extra is missing, or a process did not start.
        InvalidArgument: An option is wrong.
    """
    uid = str(uuid.uuid4())
    workspace, store = (None if path is None else Path(path) for path in (workspace, store))
    session = await start_session(Places(workspace, store), uid, options)
    if options["keep_variables"]:
        session.resources.push_async_callback(session.control.save_last, uid)
    return session.endpoint, session.resources


async def start_session(places: Places, session_uid: str, options: LocalOptions) -> RunningSession:
    """Start a session's processes and bind them. Errors as for `start_local`.

    Args:
        places: The session's folders.
        session_uid: The session's uid. If its last run used the same HOME, the agent leaves the workspace as it is
            and does not restore the stored files.
        options: Every option of LocalOptions.
    """
    check_options(places.workspace, places.store, options)
    on_progress = options["on_progress"] or ignore
    resources = contextlib.AsyncExitStack()
    try:
        record = places.logs / "session.json" if places.logs else None
        resources.enter_context(hold_workspace(places.store, options["name"], record))
        folder = _make_folder()
        resources.push_async_callback(asyncio.to_thread, shutil.rmtree, folder, ignore_errors=True)
        logs = places.logs or folder
        on_progress("Starting the agent and the runtime")
        guard = _start_guard(logs, _plan(folder, places))
        resources.push_async_callback(_end_guard, guard)
        ports = await _wait_ports(folder, logs, guard)
        on_progress("Preparing the interpreters")
        token = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        control = Control(folder / "tls", ports["control_port"], SERVER_NAME, lambda: _logs(logs))
        request = _bind_request(_folder_of(places.store, folder / "store"), session_uid, options, token)
        await control.bind(request, on_progress)
        certificate = (folder / "tls" / "ca.crt").read_bytes()
    except BaseException:
        await resources.aclose()
        raise
    on_progress("Ready")
    endpoint = local_endpoint(f"127.0.0.1:{ports['grpc_port']}", certificate, token)
    return RunningSession(endpoint, resources, control, folder, guard)


def local_endpoint(address: str, ca_certificate: bytes, token: str) -> Endpoint:
    """Return the endpoint of an agent on this machine."""
    # There is no network in between: an agent that does not answer has ended.
    return Endpoint(address, SERVER_NAME, ca_certificate, token, returns_within=0.0)


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sandbox-"))
    if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/tmp"))
    for name in ("link", "tls", "home", "store", "workspace"):
        (folder / name).mkdir()
    return folder


def _plan(folder: Path, places: Places) -> dict[str, Any]:
    """Build the `Plan` for process_guard.py."""
    link = {"SANDBOX_LINK_DIR": str(folder / "link")}
    home = str(_folder_of(places.home, folder / "home"))
    runtime = {
        **link,
        "SANDBOX_WORKSPACE": str(_folder_of(places.workspace, folder / "workspace")),
        "SANDBOX_HOME": home,
        "HOME": home,
    }
    agent = {
        **link,
        "SANDBOX_TLS_DIR": str(folder / "tls"),
        "SANDBOX_GRPC_PORT": "0",
        "SANDBOX_CONTROL_PORT": "0",
        "SANDBOX_HEALTH_PORT": "0",
        "SANDBOX_LISTEN_ADDRESS": "127.0.0.1",
        "SANDBOX_READY_FILE": str(folder / "ready.json"),
        "HOME": str(folder / "tls"),
        **_tracing(),
    }
    make_certificates = ["sandbox_agent.server.local_certificates", str(folder / "tls"), SERVER_NAME]
    return {
        "folder": str(folder),
        "logs": str(places.logs or folder),
        "processes": [
            _process("runtime", ["sandbox_runtime"], runtime),
            _process("certificates", make_certificates, {}, once=True),
            _process("agent", ["sandbox_agent", "serve"], agent, after="certificates"),
        ],
    }


def _tracing() -> dict[str, str]:
    """Return the agent's tracing variables. Empty unless this process traces and OTEL_* variables name an endpoint."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("OTEL_") and value}
    target = variables.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not target or not tracing.is_on():
        return {}
    # This variable names the application, not the agent.
    variables.pop("OTEL_SERVICE_NAME", None)
    return {**variables, "SANDBOX_TRACING": "1"}


def _process(
    name: str, module: Sequence[str], env: Mapping[str, str], *, after: str = "", once: bool = False
) -> dict[str, Any]:
    environment = {**inherited_environment(), "PYTHONUNBUFFERED": "1", **env}
    return {"name": name, "argv": [sys.executable, "-m", *module], "env": environment, "after": after, "once": once}


def inherited_environment() -> dict[str, str]:
    """Return the part of this process's environment that a session gets. The rest may hold credentials."""
    inherited = {
        key: value for key, value in os.environ.items() if key in _INHERITED or key.startswith(_INHERITED_PREFIXES)
    }
    return {**inherited, **_user_site()}


def _user_site() -> dict[str, str]:
    """Return the variable that lets a process with another HOME see packages of `pip install --user`."""
    return {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}


def _folder_of(path: Path | None, fallback: Path) -> Path:
    folder = (path or fallback).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _start_guard(logs: Path, plan: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("process_guard.py")
    with (logs / "process_guard.log").open("ab") as log:
        guard = subprocess.Popen(
            [sys.executable, "-I", str(script)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach only the caller, which then closes the session in order.
            start_new_session=True,
        )
    if guard.stdin is not None:
        guard.stdin.write(json.dumps(plan).encode() + b"\n")
        guard.stdin.flush()
    return guard


async def _end_guard(guard: subprocess.Popen[bytes]) -> None:
    def end() -> None:
        if guard.stdin is not None:
            guard.stdin.close()
        try:
            guard.wait(20)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()

    await asyncio.shield(asyncio.to_thread(end))


async def _wait_ports(folder: Path, logs: Path, guard: subprocess.Popen[bytes]) -> dict[str, int]:
    """Wait until the agent listens and return its ports."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    ready, exited = folder / "ready.json", folder / "exited.json"
    while asyncio.get_running_loop().time() < deadline:
        if exited.exists():
            name = json.loads(exited.read_text())["name"]
            raise SessionFailed(f"the {name} process ended early:\n{_log_end(logs, name)}", reason="PROCESS_EXITED")
        if guard.poll() is not None:
            raise SessionFailed(f"the process guard ended:\n{_log_end(logs, 'process_guard')}", reason="PROCESS_EXITED")
        with contextlib.suppress(FileNotFoundError, ValueError):
            ports: dict[str, int] = json.loads(ready.read_text())
            return ports
        await asyncio.sleep(0.01)
    message = f"the agent was not ready within {START_TIMEOUT:g} s\n{_logs(logs)}"
    raise SessionFailed(message, reason="START_TIMEOUT")


def _logs(logs: Path) -> str:
    return "\n".join(f"{name}: {_log_end(logs, name)}" for name in ("agent", "runtime"))


def _log_end(logs: Path, name: str) -> str:
    try:
        lines = (logs / f"{name}.log").read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-20:]) or "(its log is empty)"


def _bind_request(store: Path, session_uid: str, options: LocalOptions, token: str) -> session_pb2.BindRequest:
    timeout = options["execution_timeout"]
    return session_pb2.BindRequest(
        session_uid=session_uid,
        session_name=f"local/{options['name']}",
        token_sha256=hashlib.sha256(token.encode()).digest(),
        env=options["env"],
        limits=session_pb2.Limits(
            execution_timeout=None if timeout is None else dt.timedelta(seconds=timeout),
            deny_network=options["egress"] == "none",
            memory_bytes=read_size(options["memory_limit"], "memory_limit") or _default_memory(),
            file_bytes=read_size(options["file_size_limit"], "file_size_limit") or 0,
        ),
        workspace=session_pb2.WorkspaceBinding(
            directory=session_pb2.DirectoryStore(path=str(store)),
            key_prefix=f"local/{options['name']}/",
            save_on_change=options["sync"] == "on_change",
        ),
        lifecycle=session_pb2.Lifecycle(keep_variables=options["keep_variables"]),
    )


def _default_memory() -> int:
    """Return three quarters of the machine's memory, so that a runaway cell does not take other processes down."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
