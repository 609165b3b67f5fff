"""The MCP door with the official client, over sessions of this machine."""

import asyncio
import base64
import contextlib
import json

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.exceptions import MCPError

from sandbox_gateway.doors.mcp.names import default_session
from sandbox_gateway.gateway import Settings
from tests.support.simple_gateway import RunningGateway, SimpleAccess

CHART = "import matplotlib.pyplot as p; p.plot([1, 2]); p.show()"


@pytest.fixture(scope="module")
def gateway():
    with RunningGateway(["mcp"]) as running:
        yield running


@contextlib.asynccontextmanager
async def connect(gateway, key="one", *, mode="auto", **headers):
    headers = {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def call(client, name, **arguments):
    result = await client.call_tool(name, arguments)
    assert result.content[0].type == "text"
    return result


async def run(client, code, **arguments):
    result = await call(client, "execute_code", code=code, **arguments)
    return result.content[0].text


@pytest.fixture(params=["auto", "legacy"])
def mode(request):
    return request.param


async def test_a_user_has_the_seven_tools_and_one_session(gateway, mode):
    async with connect(gateway, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert len(tools) == 7
        assert all("session" in tool.input_schema["properties"] for tool in tools.values())
        assert "x" not in await run(client, "x = 41")
        assert await run(client, "print(x + 1)") == "42\n"
    # Another connection, and so maybe another replica, has the same session.
    async with connect(gateway, mode=mode) as client:
        assert await run(client, "print(x + 1)") == "42\n"
    assert ("one", default_session(SimpleAccess().derive("mcp-session", "one"))) in gateway.backend.sessions


async def test_pictures_errors_and_progress_arrive(gateway, mode):
    seen = []

    async def on_progress(done, total, _message):
        seen.append((done, total))

    async with connect(gateway, mode=mode) as client:
        shown = await call(client, "execute_code", code=CHART)
        assert base64.b64decode(shown.content[1].data).startswith(b"\x89PNG")
        failed = await call(client, "execute_code", code="1 / 0")
        assert failed.is_error
        assert "ZeroDivisionError" in json.loads(failed.content[0].text)["error"]
        content = [{"path": f"f{number}.txt", "text": "x"} for number in range(3)]
        await call(client, "file_operations", operation="write", content=content)
        pushed = await client.call_tool("ci_push_to_workspace", {}, progress_callback=on_progress)
        assert json.loads(pushed.content[0].text)["status"] == "success"
    assert seen
    assert seen[-1][0] == seen[-1][1]


async def test_conversations_are_apart_by_header_or_argument(gateway, mode):
    async with connect(gateway, mode=mode, Sandbox_Session=f"first-{mode}") as client:
        tools = (await client.list_tools()).tools
        assert not any("session" in tool.input_schema["properties"] for tool in tools)
        await run(client, "y = 1")
        refused = await call(client, "execute_code", code="y", session="second")
        assert refused.is_error
        assert "leave out session" in refused.content[0].text
    async with connect(gateway, mode=mode) as client:
        assert "NameError" in await run(client, "y")
        assert "1" in await run(client, "y", session=f"first-{mode}")
        assert "NameError" in await run(client, "y", session=f"second-{mode}")


async def test_a_session_of_another_namespace_is_another_one(gateway):
    async with connect(gateway, Sandbox_Session="shared-name") as client:
        await run(client, "z = 1")
        await call(client, "workspace_write", path="code-interpreter/secret.txt", content="hidden")
    async with connect(gateway, "other", Sandbox_Session="shared-name") as client:
        assert "NameError" in await run(client, "z")
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError):
            await client.read_resource("workspace://shared-name/code-interpreter/secret.txt")


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "../x", "x" * 64])
async def test_a_wrong_name_of_a_session_is_refused(gateway, name):
    async with connect(gateway) as client:
        refused = await call(client, "execute_code", code="1", session=name)
    assert refused.is_error
    assert json.loads(refused.content[0].text)["field"] == "session"


async def test_saved_files_are_resources(gateway, mode):
    async with connect(gateway, mode=mode, Sandbox_Session=f"files-{mode}") as client:
        # A list creates no session.
        assert (await client.list_resources()).resources == []
        assert ("one", f"files-{mode}") not in gateway.backend.sessions
        await call(client, "workspace_write", path="code-interpreter/a b/ü.csv", content="x,y\n")
        binary = base64.b64encode(b"\0\1").decode()
        await call(client, "workspace_write", path="code-interpreter/b.bin", content=binary, encoding="base64")
        listed = (await client.list_resources()).resources
        assert [(each.title, each.name, each.mime_type, each.size) for each in listed] == [
            ("code-interpreter/a b/ü.csv", "ü.csv", "text/csv", 4),
            ("code-interpreter/b.bin", "b.bin", "application/octet-stream", 2),
        ]
        text, blob = [(await client.read_resource(each.uri)).contents[0] for each in listed]
        assert (text.text, str(text.uri)) == ("x,y\n", str(listed[0].uri))
        assert base64.b64decode(blob.blob) == b"\0\1"
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "workspace://{session}/{+path}"
        for uri in ("workspace://files/missing", "workspace://none/x", "file:///etc/passwd", "workspace:///x"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


async def test_a_deleted_session_is_replaced_and_the_model_learns_it(gateway):
    async with connect(gateway, Sandbox_Session="gone") as client:
        await run(client, "kept = 1")
        caller = type("Caller", (), {"namespace": "one"})
        on_its_loop = asyncio.run_coroutine_threadsafe(gateway.backend.delete(caller, "gone"), gateway.loop)
        await asyncio.wrap_future(on_its_loop)
        text = await run(client, "print('again')")
    assert "again" in text
    assert "a new one was started" in text


async def test_a_cancelled_call_interrupts_its_cell_and_keeps_the_variables(gateway):
    async with connect(gateway, Sandbox_Session="cancelled") as client:
        await run(client, "kept = 42")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await run(client, "import time; time.sleep(100)")
        async with asyncio.timeout(20):
            assert await run(client, "print(kept)") == "42\n"


async def test_the_end_of_an_older_clients_connection_cancels_nothing(gateway):
    async with connect(gateway, mode="legacy", Sandbox_Session="older") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await run(client, "import time; time.sleep(5); kept = 42")
    async with connect(gateway, mode="legacy", Sandbox_Session="older") as client:
        # Cells run one after another.
        assert await run(client, "print(kept)") == "42\n"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic b25lOg=="}, {"Authorization": "Bearer"}],
    ids=str,
)
async def test_a_request_without_a_valid_token_is_refused(gateway, headers):
    async with httpx2.AsyncClient() as http:
        refused = await http.post(f"{gateway.url}/mcp", headers=headers, json={})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json()["error"] == "invalid_token"


async def test_without_an_issuer_there_is_no_metadata(gateway):
    async with httpx2.AsyncClient() as http:
        assert (await http.get(f"{gateway.url}/.well-known/oauth-protected-resource/mcp")).status_code == 404
        refused = await http.post(f"{gateway.url}/mcp", json={})
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_a_client_without_a_token_learns_the_issuer():
    settings = Settings(url="https://boxes.test", issuer="https://login.test")
    with RunningGateway(["mcp"], settings=settings) as gateway:
        async with httpx2.AsyncClient() as http:
            refused = await http.post(f"{gateway.url}/mcp", json={})
            shown = [
                (await http.get(f"{gateway.url}/.well-known/oauth-protected-resource{path}")).json()
                for path in ("/mcp", "")
            ]
    url = "https://boxes.test/.well-known/oauth-protected-resource/mcp"
    assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{url}"'
    parsed = [ProtectedResourceMetadata.model_validate(each) for each in shown]
    assert [(str(each.resource), list(map(str, each.authorization_servers))) for each in parsed] == [
        ("https://boxes.test/mcp", ["https://login.test"])
    ] * 2
