"""An agent and a runtime as two processes on loopback, as in a pod: each may be killed, stopped and started again."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import grpc

from sandbox_agent.server.local_certificates import issue_local_certificates
from sandbox_client import AsyncSandbox, Endpoint
from sandbox_proto.v1 import session_pb2, session_pb2_grpc

SERVER_NAME = "agent.test"
TOKEN = "t" * 43


class Pod:
    """A runtime and an agent, bound to the session `local/one` with a directory as its store.

    Args:
        folder: Gets link, workspace, home and certificates of its own.
        store: The bucket; shared by the pods of one session.
        keep_variables: Whether a drain saves variables.
        environment: More variables for both.
    """

    def __init__(
        self, folder: Path, store: Path | None = None, *, keep_variables: bool = False, **environment: str
    ) -> None:
        self.folder = folder
        self.store = store or folder / "store"
        self.keep_variables = keep_variables
        self.environment = environment
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        for name in ("link", "workspace", "home"):
            (folder / name).mkdir(parents=True)
        issue_local_certificates(folder / "tls", SERVER_NAME)
        self.ready = folder / "ready.json"

    async def start(self, name: str, *module: str) -> None:
        """Start one of the two."""
        environment = {
            **os.environ,
            "SANDBOX_LINK_DIR": str(self.folder / "link"),
            "SANDBOX_WORKSPACE": str(self.folder / "workspace"),
            "SANDBOX_HOME": str(self.folder / "home"),
            "SANDBOX_ZYGOTE_PRELOAD": "",
            "SANDBOX_TLS_DIR": str(self.folder / "tls"),
            "SANDBOX_LISTEN_ADDRESS": "127.0.0.1",
            "SANDBOX_GRPC_PORT": "0",
            "SANDBOX_CONTROL_PORT": "0",
            "SANDBOX_HEALTH_PORT": "0",
            "SANDBOX_READY_FILE": str(self.ready),
            **self.environment,
        }
        self.processes[name] = await asyncio.create_subprocess_exec(sys.executable, "-m", *module, env=environment)

    async def start_runtime(self) -> None:
        """Start the runtime, without waiting for it."""
        await self.start("runtime", "sandbox_runtime")

    async def start_agent(self) -> None:
        """Start the agent, and wait until it listens."""
        self.ready.unlink(missing_ok=True)
        await self.start("agent", "sandbox_agent", "serve")
        async with asyncio.timeout(20):
            while not self.ready.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)

    async def kill(self, name: str) -> None:
        """SIGKILL one of the two."""
        process = self.processes.pop(name)
        process.kill()
        await process.wait()

    async def terminate(self, *names: str) -> None:
        """SIGTERM them at once, as the kubelet does, and wait for their ends."""
        processes = [self.processes.pop(name) for name in names]
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))

    async def call(self, method: str, request: Any) -> Any:
        """A call of SessionService."""
        tls = self.folder / "tls"
        credentials = grpc.ssl_channel_credentials(
            *((tls / name).read_bytes() for name in ("ca.crt", "operator.key", "operator.crt"))
        )
        address = f"127.0.0.1:{json.loads(self.ready.read_text())['control_port']}"
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        async with grpc.aio.secure_channel(address, credentials, options) as channel:
            return await getattr(session_pb2_grpc.SessionServiceStub(channel), method)(request, timeout=60)

    async def bind(self) -> None:
        """Give the agent its session."""
        store = session_pb2.DirectoryStore(path=str(self.store))
        request = session_pb2.BindRequest(
            session_uid="uid",
            session_name="local/one",
            token_sha256=hashlib.sha256(TOKEN.encode()).digest(),
            workspace=session_pb2.WorkspaceBinding(directory=store, key_prefix="p/"),
            lifecycle=session_pb2.Lifecycle(keep_variables=self.keep_variables),
        )
        await self.call("Bind", request)

    async def begin(self) -> None:
        """Start both and bind."""
        await self.start_runtime()
        await self.start_agent()
        await self.bind()

    def connect(self) -> AsyncSandbox:
        """The SDK, not connected yet."""
        port = json.loads(self.ready.read_text())["grpc_port"]
        certificate = (self.folder / "tls" / "ca.crt").read_bytes()
        return AsyncSandbox(Endpoint(f"127.0.0.1:{port}", SERVER_NAME, certificate, TOKEN))

    async def close(self) -> None:
        """End what runs, the agent first."""
        for name in reversed(list(self.processes)):
            await self.terminate(name)
