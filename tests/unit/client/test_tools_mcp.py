"""The MCP server, in this process and over HTTP on loopback, against a scripted agent."""

import asyncio
import json
import socket

import pytest
import uvicorn
from click.testing import CliRunner
from mcp import Client

from sandbox_client import AsyncSandbox, InvalidArgument
from sandbox_client.cli import main
from sandbox_client.tools import TOOL_SPECS, SandboxTools
from sandbox_client.tools.mcp_server import build_server, parse_address
from sandbox_testing.fake_agent import completed, output, result, started

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (b"\0\0\0\1" * 2)


@pytest.fixture
async def server(agent):
    async def open_session():
        return AsyncSandbox(agent.endpoint)

    agent.script("plot", [started(), output(b"ok\n"), result({"image/png": PNG}), completed()])
    agent.files.update({f"f{number}": b"x" for number in range(5)})
    async with SandboxTools(open_session) as tools:
        yield await build_server(tools)


async def check(client):
    assert [tool.name for tool in (await client.list_tools()).tools] == [spec.name for spec in TOOL_SPECS]
    text, image = (await client.call_tool("execute_code", {"code": "plot"})).content
    assert (text.text, image.mime_type) == ("ok\n[picture 1]", "image/png")
    failed = await client.call_tool("execute_command", {"command": "x"})
    assert (failed.is_error, json.loads(failed.content[0].text)["exit_code"]) == (True, 3)
    told = []

    async def on_progress(progress, total, _message):
        told.append((progress, total))

    await client.call_tool("ci_push_to_workspace", {"paths": ["f0", "f1", "f2"]}, progress_callback=on_progress)
    assert told[-1] == (3, 3)
    assert told == sorted(told)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_in_this_process_gets_tools_pictures_errors_and_progress(server, mode):
    async with asyncio.timeout(30), Client(server, mode=mode) as client:
        await check(client)


async def test_a_client_over_http_gets_the_same(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(server.streamable_http_app(), log_level="warning", ws="none")
        http = uvicorn.Server(config)
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(30), Client(f"http://127.0.0.1:{port}/mcp") as client:
                await check(client)
        finally:
            http.should_exit = True
            await serving


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("8765", ("127.0.0.1", 8765)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:5", ("::1", 5)),
    ],
)
def test_a_loopback_address_is_taken(address, expected):
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address", ["0.0.0.0:80", "example.org:80", "192.0.2.1:80", "127.0.0.1", "127.0.0.1:x", ":70000"]
)
def test_any_other_address_is_refused(address):
    with pytest.raises(InvalidArgument) as caught:
        parse_address(address)
    assert caught.value.field == "http"


def test_the_command_refuses_an_address_that_others_reach():
    refused = CliRunner().invoke(main, ["mcp", "--http", "0.0.0.0:8765"])
    assert (refused.exit_code, "not a loopback address" in refused.stderr) == (2, True)
