"""`sandbox mcp` as a process: with a client that has no library, and as docs/agents.md configures it."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client

from tests.agents.raw_client import RawClient, check, text_of

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
CONFIGURATIONS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
SERVERS = [next(iter(each.get("mcpServers", each.get("servers")).values())) for each in CONFIGURATIONS]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


async def test_a_server_on_stdio_does_what_a_client_asks_and_cancels():
    async with RawClient.start(sys.executable, "-m", "sandbox_client", "mcp") as client:
        await check(client)


def test_the_page_has_a_configuration_for_each_assistant():
    assert len(SERVERS) == 4
    assert all(f"**{name}**" in PAGE for name in ("Claude Code", "Claude Desktop", "Cursor", "VS Code"))
    assert list(CONFIGURATIONS[3]) == ["servers"]
    assert SERVERS[3]["type"] == "stdio"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: " ".join(server["args"]))
async def test_each_configuration_of_the_page_starts_a_server(server):
    options = {"env": {**os.environ, "PATH": PATH}}
    async with RawClient.start(server["command"], *server["args"], **options) as client:
        tools = (await client.request("tools/list"))["tools"]
        described = next(tool for tool in tools if tool["name"] == "execute_code")["description"]
        facts = {
            "--memory": "may use 2.0 GiB of memory",
            "--egress": "There is no network",
            "--timeout": "stopped after 600 seconds",
        }
        assert len(tools) == 7
        assert [text for option, text in facts.items() if option in server["args"] and text not in described] == []
        assert text_of(await client.call("execute_code", code="print(6 * 7)")) == "42\n"


async def test_variables_and_the_size_of_files_are_options_of_the_server():
    words = ["mcp", "--env", "GREETING=hello=you", "--file-size", "1Mi"]
    async with RawClient.start(sys.executable, "-m", "sandbox_client", *words) as client:
        code = "import os; print(os.environ['GREETING'])"
        assert text_of(await client.call("execute_code", code=code)) == "hello=you\n"
        failed = await client.call("execute_code", code="open('big', 'wb').write(bytes(2 << 20))")
        assert "File too large" in text_of(failed)


@pytest.mark.parametrize(
    "words", [["--env", "A=b"], ["--file-size", "1Mi"], ["--memory", "1Gi"], ["--timeout", "5"]], ids=lambda w: w[0]
)
def test_limits_are_refused_by_name_beside_a_session(words):
    command = [sys.executable, "-m", "sandbox_client", "mcp", "--session", "one", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"{words[0]} cannot be given with --session" in done.stderr


async def test_a_missing_network_is_named_in_cells_and_commands():
    async with RawClient.start(sys.executable, "-m", "sandbox_client", "mcp", "--egress", "none") as client:
        assert "There is no network" in client.greeting["instructions"]
        for name, arguments in [
            ("execute_code", {"code": "import urllib.request as u; u.urlopen('http://example.org')"}),
            ("execute_code", {"code": "import socket; socket.create_connection(('192.0.2.1', 80))"}),
            ("execute_code", {"code": "await fetch('http://example.org')", "language": "javascript"}),
            ("execute_command", {"command": "pip install no-such-package-anywhere"}),
            ("execute_command", {"command": "timeout 5 npm install left-pad"}),
            ("execute_command", {"command": "curl -sS http://example.org"}),
        ]:
            failed = await client.call(name, **arguments)
            assert failed["isError"], failed
            assert "this session has no network" in json.loads(text_of(failed))["error"], failed
        # A pipe hides the exit code.
        piped = await client.call("execute_command", command="curl -sS http://example.org 2>&1 | cat")
        assert "this session has no network" in text_of(piped)
        other = await client.call("execute_code", code="1 / 0")
        assert "network" not in text_of(other)


async def start_http(address):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox_client", "mcp", "--http", address), stderr=asyncio.subprocess.PIPE
    )


async def test_an_http_server_prints_where_it_listens():
    server = await start_http("127.0.0.1:0")
    try:
        url = ""
        while not url:
            found = re.search(rb"listening on (http://127\.0\.0\.1:\d+/mcp)\n", await server.stderr.readline())
            url = found[1].decode() if found else ""
        async with asyncio.timeout(60), Client(url) as client:
            shown = await client.call_tool("execute_code", {"code": "print(6 * 7)"})
        assert shown.content[0].text == "42\n"
    finally:
        server.terminate()
        await server.wait()


async def test_a_busy_port_ends_the_command_with_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = await start_http(f"127.0.0.1:{port}")
        _, told = await server.communicate()
    assert server.returncode not in (0, 1)
    assert f"cannot listen on port {port} of 127.0.0.1: another program listens there" in told.decode()
    assert "Traceback" not in told.decode()
