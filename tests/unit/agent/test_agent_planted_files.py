"""Files that the sandbox plants where the agent looks: the folder of the link is all that the two share."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc, session_pb2, session_pb2_grpc

ROOT = Path(__file__).parents[3]
MODULES = ("json", "asyncio", "struct", "grpc", "google", "sandbox_agent", "sandbox_link", "sandbox_proto")
MODULES += ("sitecustomize", "usercustomize", "botocore", "ssl")
TOKEN = "t" * 43


def plant(folder: Path, marker: Path) -> None:
    """Put modules, startup files and libraries into a folder. Each leaves a mark if it is used."""
    code = f"open({str(marker)!r}, 'a').write(__name__ + chr(10))\n"
    for name in MODULES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
        (folder / f"{name}.pth").write_text(f"import os; open({str(marker)!r}, 'a').write('pth')\n")
    for name in ("tls.crt", "tls.key", "ca.crt", ".pythonrc.py", "pyvenv.cfg", "libc.so.6", "openssl.cnf", ".netrc"):
        (folder / name).write_text(code)
    (folder / "stream.sock").mkdir()


@pytest.fixture
def planted(tmp_path):
    folder = tmp_path / "planted"
    folder.mkdir()
    plant(folder, tmp_path / "marker")
    return folder


async def serve(folder, certificates, tmp_path, bind_request, channel_options, *, path=()):
    """Run the agent's command with this folder as its link, and make a call on each port."""
    ready = tmp_path / "ready.json"
    ready.unlink(missing_ok=True)
    roots = [*path, ROOT, ROOT / "proto"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, roots)),
        "SANDBOX_LINK_DIR": str(folder),
        "SANDBOX_TLS_DIR": str(certificates),
        "SANDBOX_LISTEN_ADDRESS": "127.0.0.1",
        "SANDBOX_READY_FILE": str(ready),
        **dict.fromkeys(("SANDBOX_GRPC_PORT", "SANDBOX_CONTROL_PORT", "SANDBOX_HEALTH_PORT"), "0"),
    }
    # As the image's command does, in whatever folder it is started.
    command = tmp_path / "bin" / "sandbox-agent"
    command.parent.mkdir(exist_ok=True)
    command.write_text("from sandbox_agent.__main__ import main\nmain()\n")
    agent = await asyncio.create_subprocess_exec(
        sys.executable, command, "serve", env=environment, cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while not ready.exists():
                if agent.returncode is not None:
                    return
                await asyncio.sleep(0.02)
        ports = json.loads(ready.read_text())
        credentials, options = channel_options(None, certificates, "operator")
        async with grpc.aio.secure_channel(f"127.0.0.1:{ports['control_port']}", credentials, options) as control:
            await session_pb2_grpc.SessionServiceStub(control).Bind(bind_request)
            await session_pb2_grpc.SessionServiceStub(control).Describe(session_pb2.DescribeRequest())
        credentials, options = channel_options(TOKEN, certificates, None)
        async with grpc.aio.secure_channel(f"127.0.0.1:{ports['grpc_port']}", credentials, options) as caller:
            stub = interpreter_pb2_grpc.InterpreterServiceStub(caller)
            await stub.ListContexts(interpreter_pb2.ListContextsRequest())
    finally:
        if agent.returncode is None:
            agent.kill()
        await agent.wait()


async def test_the_agent_uses_nothing_from_the_links_folder(
    planted, certificates, tmp_path, bind_request, channel_options, scripted
):
    async with scripted.ScriptedRuntime(planted / "runtime.sock") as runtime:
        runtime.handlers["context.list"] = scripted.answer({"contexts": []})
        await serve(planted, certificates, tmp_path, bind_request, channel_options)
        assert runtime.opened[-1]["op"] == "context.list"
    assert not (tmp_path / "marker").exists()


async def test_the_planted_files_would_leave_a_mark(planted, certificates, tmp_path, bind_request, channel_options):
    """On the search path they do, so the test above can fail."""
    await serve(planted, certificates, tmp_path, bind_request, channel_options, path=[planted])
    assert (tmp_path / "marker").exists()
