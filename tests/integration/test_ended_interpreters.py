"""An interpreter that ends between two calls: SDK, tools, MCP and command line say so with the next call, and why."""

import asyncio
import os
import subprocess
import sys
import time

import pytest
from mcp import Client

from sandbox_client import AsyncSandbox
from sandbox_client.tools import SandboxTools
from sandbox_client.tools.mcp_server import build_server

GROW = """
import threading
def grow():
    kept = []
    while True: kept.append(bytearray(8 << 20))
threading.Timer(1, grow).start()
"""
DEATHS = {
    "exit code": ("python", "import os, threading\nthreading.Timer(1, os._exit, (7,)).start()", "with exit code 7."),
    "signal": ("python", "import os, threading\nthreading.Timer(1, os.kill, (os.getpid(), 11)).start()", "by SIGSEGV."),
    "memory": (
        "python",
        GROW,
        "because it ran out of memory.",
    ),
    "javascript": ("javascript", "setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000); 0", "by SIGKILL."),
    "abort": ("javascript", "setTimeout(() => process.abort(), 1000); 0", "by SIGABRT."),
}


async def until_dead(sandbox, language):
    async with asyncio.timeout(60):
        while next(each for each in await sandbox.contexts.list() if each.id == language).execution_count:  # noqa: ASYNC110 - the session tells nobody
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("language", "code", "cause"), DEATHS.values(), ids=DEATHS)
async def test_sdk_tools_and_mcp_name_the_cause(tmp_path, language, code, cause):
    sandbox = await AsyncSandbox.local(tmp_path, memory_limit="1Gi")

    async def open_session():
        return sandbox

    async with SandboxTools(open_session) as tools, Client(await build_server(tools)) as client:

        async def by_sdk(code):
            execution = await sandbox.run_code(code, language)
            assert execution.context_restarted == ("since the previous cell" in execution.stderr)
            return str(execution)

        async def by_tools(code):
            return (await tools.execute_code(code, language)).text

        async def by_mcp(code):
            called = await client.call_tool("execute_code", {"code": code, "language": language})
            return called.content[0].text

        for call in (by_sdk, by_tools, by_mcp):
            await call(code)
            await until_dead(sandbox, language)
            text = await call("6 * 7")
            assert f"since the previous cell, {cause} Its variables are lost." in text
            assert "42" in text
            assert "Waiting for the debugger" not in text
            assert "since the previous cell" not in await call("6 * 7")


def test_the_command_line_names_the_cause(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("SANDBOX_STATE", str(tmp_path / "state"))

    def sandbox(*words):
        command = [sys.executable, "-m", "sandbox_client", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

    name = f"ended-{os.getpid()}"
    assert sandbox("create", "--local", name).returncode == 0
    try:
        words = ("run", "--session", f"local/{name}", "-c")
        assert sandbox(*words, DEATHS["exit code"][1]).returncode == 0
        time.sleep(3)
        done = sandbox(*words, "print(6 * 7)")
        assert (done.returncode, done.stdout) == (0, "42\n")
        assert "since the previous cell, with exit code 7. Its variables are lost.\n" in done.stderr
        assert "since the previous cell" not in sandbox(*words, "1").stderr
    finally:
        sandbox("delete", f"local/{name}")
